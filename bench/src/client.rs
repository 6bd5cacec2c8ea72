//! A caller: one connection that is kept, one call at a time.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::message::{self, VERSION};

/// An MCP endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// What it is presented with, as `Authorization`.
    pub(crate) credential: Option<HeaderValue>,
}

/// A connection to an endpoint.
pub(crate) struct Caller {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    target: Target,
}

impl Caller {
    pub(crate) async fn connect(target: &Target) -> anyhow::Result<Caller> {
        let stream = TcpStream::connect(target.address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the sender; an error shows in the call it breaks.
        tokio::spawn(async move { drop(connection.await) });
        let host = HeaderValue::from_str(&target.address.to_string())?;
        Ok(Caller { sender, host, target: target.clone() })
    }

    /// Asks for the list of tools, by which a gateway with policies learns them.
    pub(crate) async fn list(&mut self) -> anyhow::Result<()> {
        self.exchange("tools/list", None, message::list()).await?.collect().await?;
        Ok(())
    }

    /// Sends a call and gives the body of its answer, unread.
    pub(crate) async fn send(&mut self, tool: &'static str, body: Bytes) -> anyhow::Result<Incoming> {
        self.exchange("tools/call", Some(tool), body).await
    }

    async fn exchange(
        &mut self,
        method: &'static str,
        name: Option<&'static str>,
        body: Bytes,
    ) -> anyhow::Result<Incoming> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.path.parse()?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert("mcp-protocol-version", HeaderValue::from_static(VERSION));
        headers.insert("mcp-method", HeaderValue::from_static(method));
        if let Some(name) = name {
            headers.insert("mcp-name", HeaderValue::from_static(name));
        }
        if let Some(credential) = &self.target.credential {
            headers.insert(AUTHORIZATION, credential.clone());
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        if !status.is_success() {
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::bail!("{status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(response.into_body())
    }

    /// Calls and reads the whole answer; gives its size.
    pub(crate) async fn call(&mut self, tool: &'static str, body: Bytes) -> anyhow::Result<u64> {
        let mut body = self.send(tool, body).await?;
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                ensure!(size > 0 || data.starts_with(br#"{"jsonrpc":"2.0","id""#), "not an answer");
                size += data.len() as u64;
            }
        }
        Ok(size)
    }
}
