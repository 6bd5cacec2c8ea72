//! What leaves: people are told when a call waits for them, and what became of it.
//!
//! `store::state` writes an event with each change of a hold, and one delivery for each destination that wants it. A [`Courier`] takes
//! those of one destination to it, at least once, again and again until they arrive or are dead; [`Exporter`] runs one for each, so
//! that no destination waits for another. Nothing waits for any of them.
//!
//! A notice holds a link, never an action, and no arguments unless an operator says so. What callers and servers wrote is cut, made
//! visible and never read as markup (`notice`, `format`).

mod courier;
mod exporter;
mod format;
mod notice;
mod pace;
mod random;
mod send;
mod settings;
mod text;

pub use courier::{ArgumentSource, Courier, Ground};
pub use exporter::{Counts, Exporter, Meters};
pub use settings::{
    Address, Arguments, DestinationSettings, Mail, MailTls, Secret, SettingsError, SigningKey, Sink, Url,
};
