//! Bytes cannot be forwarded: they need to be released.

use gateway::HttpUpstream;

async fn forward(upstream: &HttpUpstream, message: bytes::Bytes) {
    drop(upstream.forward(&message, http::HeaderMap::new(), None).await);
}

fn main() {
    let _ = forward;
}
