//! What the crate promises at its boundaries, as data.

mod parse;
mod shown;
