//! What the crate promises at its boundaries, as data.

mod framing;
#[cfg(test)]
mod header;
#[cfg(test)]
mod mrtr;
mod parse;
mod shown;
