//! MCP in both eras: bytes in, judged messages out, every byte kept.
//!
//! * [`message::parse`] reads the JSON-RPC envelope over borrowed bytes and refuses what two parsers could understand
//!   differently; [`fields`] picks out the members that a gateway reads.
//! * [`era`] tells the eras apart per request, [`method`] is the closed list of methods, [`header`] checks the headers that
//!   repeat the body.
//! * [`outline`] judges large messages piece by piece, in bounded memory.
//! * [`framing`] cuts streams into messages, [`edit`] changes a message by splicing, [`page`] leaves tools out of a list, [`mrtr`] links the rounds of a call,
//!   [`message::Message::deferred`] is a call that is made later.
//!
//! Pure: no clock, no I/O. Nothing is modelled and written anew, so unknown methods, members, numbers and key order survive.

pub mod edit;
pub mod era;
pub mod error;
pub mod fields;
pub mod framing;
pub mod header;
pub mod message;
pub mod method;
pub mod mrtr;
pub mod outline;
pub mod page;
mod strict;
mod tasks;
