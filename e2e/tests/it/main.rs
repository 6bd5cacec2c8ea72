//! End to end, through the binary.

mod conformance;
mod foreign;
mod kills;
mod peers;
