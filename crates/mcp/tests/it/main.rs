//! What the crate promises at its boundaries, as data.

mod framing;
#[cfg(test)]
mod header;
mod parse;
mod shown;
