//! `/wrap/NAME`: the gateway's end of `tollbook wrap`, which holds a client's and a stdio server's streams.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
use tokio::sync::mpsc;

use crate::Gateway;
use crate::duplex::{self, Arrival, End, QUEUE};
use crate::listen::Connection;
use crate::listen::reply::{self, Body};
use crate::peer::Peer;
use crate::pipeline::Released;
use crate::runs::Rule;
use crate::scope::Transport;
use crate::tunnel::{self, Tag};

/// Accepts a tunnel and begins its run.
pub(crate) async fn accept(
    gateway: &Arc<Gateway>,
    connection: &Arc<Connection>,
    name: &str,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let upgrades = request.headers().get(header::UPGRADE).is_some_and(|value| value == tunnel::PROTOCOL);
    if !upgrades {
        return reply::text(StatusCode::UPGRADE_REQUIRED, "this address is for `tollbook wrap`");
    }
    if !is_server_name(name) {
        return reply::text(
            StatusCode::BAD_REQUEST,
            "a server's name is 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.`",
        );
    }
    let peer = connection.peer(&gateway.owners).await;
    let upgrade = hyper::upgrade::on(&mut request);
    let gateway = Arc::clone(gateway);
    let name: Arc<str> = Arc::from(name);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => carry(&gateway, name, peer, TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "a wrap went away before its tunnel stood"),
        }
    });
    let mut response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(tunnel::PROTOCOL));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

/// Whether a name may stand in addresses, file names and the record.
pub(crate) fn is_server_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Carries both sides' messages until the server has ended, then ends the run and tells the wrap.
async fn carry<S>(gateway: &Arc<Gateway>, name: Arc<str>, peer: Arc<Peer>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let scope = match gateway.runs.begin(&name, peer, Transport::Wrap, Rule::Wrap).await {
        Ok(scope) => scope,
        // The tunnel closes, and the wrap ends its server: no record, no call.
        Err(error) => return tracing::error!(server = &*name, %error, "a wrapped server was refused"),
    };
    let (reader, writer) = tokio::io::split(stream);
    let (client_arrivals, from_client) = mpsc::channel(QUEUE);
    let (server_arrivals, from_server) = mpsc::channel(QUEUE);
    let (to_client, for_client) = mpsc::channel(QUEUE);
    let (to_server, for_server) = mpsc::channel(QUEUE);
    let limit = gateway.limits.message_bytes;
    let reading = tokio::spawn(read_frames(BufReader::new(reader), limit, client_arrivals, server_arrivals));
    let writing = tokio::spawn(write_frames(BufWriter::new(writer), for_client, for_server));
    let client = End { to: to_client, from: from_client };
    let server = End { to: to_server, from: from_server };
    let reason = duplex::relay(&gateway.pipeline, &scope, client, server).await;
    tracing::debug!(server = &*name, run = %scope.run, reason, "wrap ends");
    gateway.close_run(&scope, "the server has ended").await;
    // The relay has let go of both senders: the writer empties its queues and then says that all is recorded.
    if let Ok(Some(mut writer)) = writing.await {
        // The wrap may be gone.
        let _ = tunnel::write(&mut writer, Tag::ServerEnd, &[]).await;
    }
    reading.abort();
}

async fn read_frames<R: AsyncRead + Unpin>(
    mut reader: R,
    limit: usize,
    client: mpsc::Sender<Arrival>,
    server: mpsc::Sender<Arrival>,
) {
    let reason = loop {
        let (tag, frame) = match tunnel::read(&mut reader, limit).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break "the wrap has gone".to_owned(),
            Err(error) => break format!("the tunnel broke: {error}"),
        };
        let sent = match tag {
            Tag::Client => client.send(Arrival::Message(frame)).await,
            Tag::Server => server.send(Arrival::Message(frame)).await,
            Tag::ClientEnd => {
                client.send(Arrival::Ended("the client has closed its output".to_owned())).await
            }
            Tag::ServerEnd => server.send(Arrival::Ended(String::from_utf8_lossy(&frame).into_owned())).await,
            Tag::Junk => server.send(Arrival::Junk("a line longer than the limit")).await,
        };
        // A side that has ended already takes nothing more.
        drop(sent);
    };
    // As above.
    let _ = client.send(Arrival::Ended(reason.clone())).await;
    let _ = server.send(Arrival::Ended(reason)).await;
}

/// Writes what is for either side; gives the writer back when both have ended, nothing when the wrap has gone.
async fn write_frames<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut for_client: mpsc::Receiver<Released>,
    mut for_server: mpsc::Receiver<Released>,
) -> Option<W> {
    let (mut client_open, mut server_open) = (true, true);
    while client_open || server_open {
        let (tag, frame) = tokio::select! {
            message = for_client.recv(), if client_open => match message {
                Some(message) => (Tag::Client, message.frame().clone()),
                None => {
                    client_open = false;
                    continue;
                }
            },
            message = for_server.recv(), if server_open => match message {
                Some(message) => (Tag::Server, message.frame().clone()),
                None => {
                    server_open = false;
                    (Tag::ClientEnd, Bytes::new())
                }
            },
        };
        tunnel::write(&mut writer, tag, &frame).await.ok()?;
    }
    Some(writer)
}
