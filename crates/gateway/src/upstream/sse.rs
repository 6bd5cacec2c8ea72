//! A server that speaks HTTP+SSE of 2024-11-05: one event stream brings everything, messages go to the address that
//! its first event names.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, Uri};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::duplex::{Arrival, End, QUEUE};
use crate::listen::body;
use crate::messages::{Decoder, Item};
use crate::pipeline::Released;
use crate::settings::Limits;
use crate::taking::{Lost, Places};
use crate::upstream::http::{HttpUpstream, Unreachable};

/// Why a connection was not made. The texts go to clients: they name no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error("the server answered {0} where an event stream was asked for")]
    Status(StatusCode),
    #[error("the server's event stream does not begin with an `endpoint` event")]
    NoEndpoint,
    #[error("the server's `endpoint` event names another origin")]
    ForeignEndpoint,
}

/// Opens the event stream and waits for the `endpoint` event.
pub(crate) async fn connect(
    upstream: &Arc<HttpUpstream>,
    limits: &Limits,
    places: &Places,
) -> Result<End<Released>, ConnectError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
    let response = upstream.listen(headers, None).await?;
    if !response.status().is_success() {
        return Err(ConnectError::Status(response.status()));
    }
    let mut events = Events {
        body: response.into_body(),
        decoder: Decoder::events(limits, places),
        silence: limits.silence,
    };
    let endpoint = match events.next().await {
        Some(Ok(Item::Stray { kind, data })) if kind == "endpoint" => resolve(upstream.url(), &data)?,
        _ => return Err(ConnectError::NoEndpoint),
    };
    let (to, from_gateway) = mpsc::channel(QUEUE);
    let (to_gateway, from) = mpsc::channel(QUEUE);
    let upstream = Arc::clone(upstream);
    tokio::spawn(async move {
        let sending = send_messages(&upstream, endpoint, from_gateway, &to_gateway);
        let receiving = receive_messages(events, &to_gateway);
        // Either end closes the connection: dropping the event stream tells the server.
        let reason = tokio::select! {
            () = sending => "the client has left".to_owned(),
            reason = receiving => reason,
        };
        let _ = to_gateway.send(Arrival::Ended(reason)).await;
    });
    Ok(End { to, from })
}

struct Events {
    body: Incoming,
    decoder: Decoder,
    silence: Duration,
}

impl Events {
    /// The next event that has data.
    async fn next(&mut self) -> Option<Result<Item, Lost>> {
        loop {
            match self.decoder.next_item().await {
                Some(Ok(Item::Other(_))) => {}
                Some(event) => return Some(event),
                None => match body::next(&mut self.body, self.silence).await {
                    Ok(Some(part)) => self.decoder.push(&part),
                    Ok(None) | Err(_) => return None,
                },
            }
        }
    }
}

async fn receive_messages(mut events: Events, to_gateway: &mpsc::Sender<Arrival>) -> String {
    while let Some(event) = events.next().await {
        let arrival = match event {
            Ok(Item::Message(message)) => Arrival::Message(message.content),
            Ok(Item::Stray { .. } | Item::Other(_)) => Arrival::Junk("an event of an unknown type"),
            Err(lost) => Arrival::Lost(lost),
        };
        if !arrival.send(to_gateway).await {
            break;
        }
    }
    "the event stream has ended".to_owned()
}

/// Sends each message and drops the connection when the server refuses one: an answer would never come.
async fn send_messages(
    upstream: &HttpUpstream,
    endpoint: Uri,
    mut messages: mpsc::Receiver<Released>,
    to_gateway: &mpsc::Sender<Arrival>,
) {
    while let Some(message) = messages.recv().await {
        match upstream.forward_to(&message, endpoint.clone()).await {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => {
                let reason = format!("the server refused a message with status {}", response.status());
                let _ = to_gateway.send(Arrival::Ended(reason)).await;
                return;
            }
            Err(error) => {
                let _ = to_gateway.send(Arrival::Ended(error.to_string())).await;
                return;
            }
        }
    }
}

/// The address in an `endpoint` event, which must stay at the event stream's origin: a server must not send messages,
/// and the credentials beside them, elsewhere.
fn resolve(stream: &Uri, endpoint: &[u8]) -> Result<Uri, ConnectError> {
    let text = std::str::from_utf8(endpoint).map_err(|_| ConnectError::NoEndpoint)?.trim();
    let given: Uri = if text.starts_with('/') || text.contains("://") {
        text.parse().map_err(|_| ConnectError::NoEndpoint)?
    } else {
        let folder = stream.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{text}").parse().map_err(|_| ConnectError::NoEndpoint)?
    };
    let same_origin = given
        .authority()
        .is_none_or(|authority| Some(authority) == stream.authority() && given.scheme() == stream.scheme());
    if !same_origin {
        return Err(ConnectError::ForeignEndpoint);
    }
    let mut parts = stream.clone().into_parts();
    parts.path_and_query = given.path_and_query().cloned();
    Uri::from_parts(parts).map_err(|_| ConnectError::NoEndpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_stay_at_their_origin() {
        let stream = Uri::from_static("http://localhost:3001/a/sse");
        for (endpoint, expected) in [
            ("/message?sessionId=1", Some("http://localhost:3001/message?sessionId=1")),
            ("message?x=1", Some("http://localhost:3001/a/message?x=1")),
            ("http://localhost:3001/m", Some("http://localhost:3001/m")),
            ("http://localhost:3002/m", None),
            ("https://localhost:3001/m", None),
            ("http://evil.example/m", None),
        ] {
            let resolved = resolve(&stream, endpoint.as_bytes()).ok().map(|uri| uri.to_string());
            assert_eq!(resolved.as_deref(), expected, "{endpoint}");
        }
    }
}
