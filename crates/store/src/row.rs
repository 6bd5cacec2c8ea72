//! A row of the index: one round of a call, a refusal, or a one-way message.

use jiff::civil::Date;
use ledger::{CallId, RunId, Seq};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowKind {
    /// A round of a call that was let through, or is held.
    Call,
    /// A call that was refused before an intent was recorded.
    Refused,
    /// A one-way message, a note of a call, or a step of an approval. Found only by `kind:note`.
    Note,
}

/// One round of a call as the index knows it. Everything but the numbers in the leaf comes from the sealed
/// payload and is absent when that was erased or not recorded.
///
/// Text is as it was sent: **hostile**, to be made safe by whoever shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallRow {
    /// The record that began it: intent, refusal or note.
    pub seq: Seq,
    /// The record that ended it.
    pub seq_end: Option<Seq>,
    /// What the row stands for.
    pub kind: RowKind,
    /// The call.
    pub call: Option<CallId>,
    /// Number of the round within the call, from 0.
    pub round: u32,
    /// The call inside which the server asked for this one.
    pub parent: Option<CallId>,
    /// For a note of a call: the intent it belongs to.
    pub of: Option<Seq>,
    /// The run.
    pub run: Option<RunId>,
    /// Number of the first record within its run.
    pub sn: Option<u64>,
    /// Time of the first record in microseconds since the Unix epoch.
    pub t_start: i64,
    /// Time of the last record, likewise.
    pub t_end: Option<i64>,
    /// `allow`, `deny` or `hold`.
    pub verdict: Option<String>,
    /// How it ended; `open` before that; `refused` if it never was forwarded; none for notes.
    pub status: Option<String>,
    /// Who it was done for.
    pub principal: Option<String>,
    /// Name of the client software.
    pub agent: Option<String>,
    /// Its version.
    pub agent_version: Option<String>,
    /// Name of the server in the gateway's configuration.
    pub server: Option<String>,
    /// How the message came: `http`, `sse` or `stdio`.
    pub transport: Option<String>,
    /// `session` or `stateless`.
    pub era: Option<String>,
    /// Protocol version.
    pub version: Option<String>,
    /// Who asked: `client` or `server`.
    pub direction: Option<String>,
    /// JSON-RPC method; for a step of an approval, the record's kind.
    pub method: Option<String>,
    /// Name of the tool or prompt, or the resource's URI.
    pub name: Option<String>,
    /// Size of the request's message.
    pub request_bytes: Option<u64>,
    /// Size of the answer's message.
    pub answer_bytes: Option<u64>,
    /// Status of the upstream's HTTP answer.
    pub http_status: Option<u16>,
    /// Notes recorded between intent and outcome (progress, log messages).
    pub notes: u32,
    /// Why it was refused, or why its end is unknown.
    pub reason: Option<String>,
    /// Trace id, 32 hexadecimal digits.
    pub trace: Option<String>,
    /// Whether `args` is the whole text (it is cut at 16 KiB).
    pub args_whole: bool,
    /// The arguments' JSON text.
    pub args: Option<String>,
    /// The error's text, at most 4 KiB.
    pub error: Option<String>,
    /// The beginning of the result's text, at most 4 KiB.
    pub result: Option<String>,
    #[serde(skip)]
    pub(crate) id: RowId,
    #[serde(skip)]
    pub(crate) day: Date,
}

impl CallRow {
    /// Microseconds from intent to outcome; none while open, or where nobody saw the end: that record is of a later start.
    #[must_use]
    pub fn duration(&self) -> Option<i64> {
        let end = self.t_end.filter(|_| self.status.as_deref() != Some("unknown"));
        end.map(|end| end.saturating_sub(self.t_start))
    }

    /// Where a search goes on after this row.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { day: self.day, id: self.id }
    }
}

/// A place in a search's order; rows that are added later do not move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) day: Date,
    pub(crate) id: RowId,
}

/// Number of the origin (from 1, in order of appearance) and seq in one integer, the table's key: order of
/// keys is order of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId(pub(crate) i64);

const SEQ_BITS: u32 = 40;

impl RowId {
    /// A log would take 35 years at 1,000 records a second to run out of the 40 bits.
    pub(crate) fn new(origin: u32, seq: Seq) -> RowId {
        let seq = i64::try_from(seq.0).unwrap_or(i64::MAX) & ((1 << SEQ_BITS) - 1);
        RowId((i64::from(origin) << SEQ_BITS) | seq)
    }

    pub(crate) fn seq(self) -> Seq {
        Seq(u64::try_from(self.0 & ((1 << SEQ_BITS) - 1)).unwrap_or(0))
    }

    pub(crate) fn origin(self) -> i64 {
        self.0 >> SEQ_BITS
    }
}

impl ToSql for RowId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for RowId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<RowId> {
        value.as_i64().map(RowId)
    }
}

/// Key of a segment's block; a segment has at most 64.
pub(crate) fn block_id(segment: i64, block: i64) -> i64 {
    (segment << 6) | block
}

/// SQLite's integers are signed; nothing counted here comes near the limit.
pub(crate) fn number(n: Option<u64>) -> Option<i64> {
    n.map(|n| i64::try_from(n).unwrap_or(i64::MAX))
}

pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(|n| u64::try_from(n).ok()))
}
