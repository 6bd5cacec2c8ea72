//! Black-box tests of the binary: everything here talks to `tollbook` as its users do.
//!
//! `cargo xtask test` installs the peers and says where the binary is (`TOLLBOOK_BIN`); without that the tests fail and say
//! so. Waiting is on output and on events, never on time.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests end by panicking, with a text that says what to do"
)]

pub mod gateway;
pub mod http;
pub mod load;
pub mod peers;
pub mod rust_client;
pub mod scripted;
pub mod upstream;
