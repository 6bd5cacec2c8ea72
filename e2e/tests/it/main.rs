//! End to end, through the binary.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "tests end by panicking"
)]

mod again;
mod approvals;
mod backups;
mod callers;
mod conformance;
mod console;
mod desk;
mod faults;
mod first_lists;
mod folders;
mod foreign;
#[cfg(test)]
mod held;
#[cfg(test)]
mod hostile;
mod kills;
mod large;
mod large_streams;
mod limits;
mod logins;
mod news;
mod notices;
mod operators;
mod peers;
mod policies;
mod receipts;
mod releases;
mod reload;
mod replayed;
mod restored;
mod revoked;
mod rounds;
#[cfg(test)]
mod saml;
mod slipped;
mod tasks;
mod upstream_credentials;
mod upstreams;
mod wraps;
