//! What the crate promises at its boundaries, as data.

mod framing;
mod parse;
mod shown;
