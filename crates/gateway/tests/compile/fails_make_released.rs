//! What was not recorded cannot be called released.

fn release(message: bytes::Bytes) -> gateway::Released {
    gateway::Released { frame: message }
}

fn main() {
    let _ = release;
}
