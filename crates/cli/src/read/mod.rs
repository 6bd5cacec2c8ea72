//! Reading what was recorded: `calls`, `replay`, `run`, `index`.
//!
//! Each module has its clap arguments and a `run` that writes to the given output. What was recorded is
//! hostile: everything that came from a payload or a leaf passes through `text` before it is written.

pub(crate) mod calls;
pub(crate) mod index;
pub(crate) mod minted;
pub(crate) mod render;
pub(crate) mod replay;
pub(crate) mod runs;
pub(crate) mod source;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod text;

/// A mistake in what the user typed; `main` exits with 2 for it, as clap does.
#[derive(Debug)]
pub(crate) struct Mistake(pub(crate) String);

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mistake {}
