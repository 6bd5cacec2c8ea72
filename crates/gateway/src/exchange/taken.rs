//! Takes in the answer to a call that the gateway makes for itself, as its client would have been shown it.

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use mcp::framing::sse::{SseDecoder, SseItem};

use crate::listen::reply::Body;
use crate::listen::streamable::has_media_type;

/// The largest answer that is kept for who asks later.
const LARGEST: usize = 4 << 20;

/// The answer under that id, in a response that is read to its end; else why there is none.
pub(super) async fn answer(response: Response<Body>, id: &str) -> Result<Bytes, String> {
    let (parts, mut body) = response.into_parts();
    let mut taking = match has_media_type(&parts.headers, "text/event-stream") {
        true => Taking::Events(Box::new(SseDecoder::new(LARGEST))),
        false => Taking::Whole(BytesMut::new()),
    };
    let mut found = None;
    let mut is_too_large = false;
    // To its end in any case: who goes before is taken to cancel the call.
    while let Some(part) = next(&mut body).await {
        match taking.push(&part, id) {
            Ok(answer) => found = found.or(answer),
            Err(TooLarge) => is_too_large = true,
        }
    }
    if let Taking::Whole(bytes) = taking {
        let bytes = bytes.freeze();
        found = is_answer(&bytes, id).then_some(bytes);
    }
    match (found, is_too_large) {
        (Some(answer), _) => Ok(answer),
        (None, true) => Err(format!(
            "the call was made, but its answer is larger than {} MiB, which is the most that is kept; it is in the record",
            LARGEST >> 20
        )),
        (None, false) => Err(why(parts.status)),
    }
}

/// Why there is no answer.
fn why(status: StatusCode) -> String {
    match status {
        StatusCode::FORBIDDEN => {
            "the credential ended or was revoked during the call, or the server forbids it".to_owned()
        }
        status if status.is_success() => {
            "the server's answer ended early; what became of the call is not known".to_owned()
        }
        status => {
            format!("the call ended with HTTP status {}; what became of it is not known", status.as_u16())
        }
    }
}

enum Taking {
    Whole(BytesMut),
    Events(Box<SseDecoder>),
    /// It is too large, and read to its end for nothing.
    Lost,
}

struct TooLarge;

impl Taking {
    /// Takes in a part; gives the answer if it was among what the part completes.
    fn push(&mut self, part: &Bytes, id: &str) -> Result<Option<Bytes>, TooLarge> {
        match self {
            Taking::Whole(bytes) if bytes.len() + part.len() > LARGEST => {
                *self = Taking::Lost;
                Err(TooLarge)
            }
            Taking::Lost => Ok(None),
            Taking::Whole(bytes) => {
                bytes.extend_from_slice(part);
                Ok(None)
            }
            Taking::Events(decoder) => {
                decoder.push(part);
                let mut found = None;
                while let Some(item) = decoder.next_item() {
                    if let SseItem::Event(event) = item.map_err(|_| TooLarge)?
                        && is_answer(&event.data, id)
                    {
                        found = Some(event.data);
                    }
                }
                Ok(found)
            }
        }
    }
}

async fn next(body: &mut Body) -> Option<Bytes> {
    match body {
        Body::Whole(bytes) => bytes.take(),
        Body::Stream(parts) => parts.recv().await,
    }
}

fn is_answer(bytes: &[u8], id: &str) -> bool {
    let Ok(frame) = mcp::message::parse(bytes) else { return false };
    let id = mcp::message::IdBuf::of_raw(&crate::account::json_text(id));
    frame.messages().iter().any(|message| message.answered().as_ref() == Some(&id))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderValue, Response, header};
    use mcp::framing::sse::encode_event;
    use tokio::sync::mpsc;

    use super::{LARGEST, answer};
    use crate::listen::reply::Body;

    async fn taken(media_type: &'static str, parts: Vec<Bytes>) -> Result<Bytes, String> {
        let (sender, body) = mpsc::channel(1);
        tokio::spawn(async move {
            for part in parts {
                sender.send(part).await.expect("it is read to its end");
            }
        });
        let mut response = Response::new(Body::Stream(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        answer(response, "tollbook-1").await
    }

    fn message(id: &str, size: usize) -> Bytes {
        format!(r#"{{"jsonrpc":"2.0","id":"{id}","result":{{"text":"{}"}}}}"#, "x".repeat(size)).into()
    }

    #[tokio::test]
    async fn the_answer_is_found_however_it_comes() {
        let (mine, other) = (message("tollbook-1", 9), message("tollbook-2", 9));
        let note = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#);
        let event = |data: &Bytes| encode_event(None, Some("message"), data);
        let whole = taken("application/json", vec![mine.slice(..10), mine.slice(10..)]).await;
        assert_eq!(whole, Ok(mine.clone()));
        let events = vec![event(&note), event(&other), event(&mine), event(&note)];
        assert_eq!(taken("text/event-stream", events).await, Ok(mine.clone()));
        for (media_type, parts) in [
            ("application/json", vec![other.clone()]),
            ("application/json", vec![]),
            ("text/event-stream", vec![event(&note)]),
        ] {
            assert!(taken(media_type, parts).await.is_err_and(|why| why.contains("not known")));
        }
        let large = message("tollbook-1", LARGEST + 2_000);
        for (media_type, parts) in [
            ("application/json", vec![large.clone(), mine.clone()]),
            ("text/event-stream", vec![event(&large), event(&note)]),
        ] {
            assert!(
                taken(media_type, parts).await.is_err_and(|why| why.contains("larger than 4 MiB")),
                "{media_type}"
            );
        }
    }
}
