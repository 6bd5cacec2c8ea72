//! Judgement on calls: may it run, what goes with it, and why.
//!
//! * [`Bundle::compile`] reads Cedar policies, checks them against the [`Catalog`] of what servers offer and tells all
//!   mistakes with their places. [`Bundle::decide`] judges a [`Question`], [`Bundle::visible`] says what a list may show.
//! * [`pin`] tells whether a tool's definition changed and what is odd about it, [`starter`] writes a first bundle,
//!   [`explain`] says why a question got its judgement, [`what_if`] what a draft would change.
//! * [`budget`] counts what runs have used of the limits that policies set; [`unseen`] shows people what would hide in a text.
//! * Pure: no clock, no I/O. The one crate that knows Cedar; nothing of Cedar's is in its interface.
//! * Fails closed: what cannot be judged is denied.

mod asked;
pub mod binding;
pub mod budget;
mod bundle;
mod catalog;
mod check;
mod decide;
mod diagnostic;
mod est;
pub mod explain;
mod fit;
mod index;
mod limit;
mod needs;
mod obligation;
mod parse;
pub mod pin;
mod question;
mod raw;
mod scan;
mod schema;
pub mod starter;
mod typing;
pub mod unseen;
mod visible;
pub mod what_if;

pub use bundle::{Bundle, Source};
pub use catalog::{Catalog, CatalogError, Hints, Prompt, Server, Tool};
pub use decide::{Approval, Judgement, Verdict};
pub use diagnostic::{Diagnostic, Diagnostics};
pub use limit::{Limit, Limited, Most, Within};
pub use obligation::Recording;
pub use question::{Ask, Caller, Client, Principal, Question, RunFacts};
pub use visible::Listed;
