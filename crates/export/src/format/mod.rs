//! A notice as each kind of destination reads it. Pure.
//!
//! No action is ever in one: a scanner that follows every link of a message decides nothing.

mod email;
mod slack;
mod teams;
mod webhook;

pub(crate) use email::mail;
pub(crate) use slack::slack;
pub(crate) use teams::teams;
pub(crate) use webhook::{Signed, signed};

/// Who reads arguments in parts reads so many characters of each.
const PART: usize = 500;

/// A text in parts of at most [`PART`] characters.
fn parts(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(PART).map(|part| part.iter().collect()).collect()
}
