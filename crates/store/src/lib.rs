//! The call index: what the ledger holds, made searchable. SQLite, one file per UTC day.
//!
//! The index is derived: [`Index::apply`] takes records in order, and deleting the whole folder loses nothing
//! that feeding it again would not bring back. It holds personal data in the clear, so its files are readable
//! by their owner only and it obeys the same erasure as the payloads.
//!
//! [`state`] is the exception: what is *not* derivable, in a file of its own.
//!
//! The search language is in [`Query`] and, for its users, in `docs/search.md`.
//!
//! Invariant: nothing on the call path waits for this crate, and only this crate knows SQL.

mod around;
mod day;
mod error;
mod facts;
mod file;
mod find;
mod fold;
mod index;
mod part;
mod query;
mod register;
mod row;
mod runs;
mod segment;
pub mod state;

pub use error::IndexError;
pub use facts::Facts;
pub use find::{DayStatus, Order, Page};
pub use index::{Entry, Index, Mode, Record, Watermark};
pub use query::{
    ArgumentTest, Comparison, Contained, Exact, Expr, Figure, HexPrefix, Metric, Pattern, Piece, Query,
    QueryError, Step, Term,
};
pub use row::{CallRow, Cursor, RowKind};
pub use runs::{RunFilter, RunRow};
