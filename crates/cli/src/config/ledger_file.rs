//! `[ledger]`: how the ledger keeps its files.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerFile {
    /// Free space below which no new call is accepted, in bytes.
    reserve_bytes: Option<u64>,
    /// Share of the disk that must be free for a new call to be accepted, in percent; at most 90.
    #[cfg_attr(test, schemars(range(max = 90)))]
    reserve_percent: Option<u8>,
    /// Size of a segment of the write-ahead log, in bytes; at least 65536.
    #[cfg_attr(test, schemars(range(min = 65536)))]
    segment_bytes: Option<u64>,
    /// Size of a pack of sealed payloads, in bytes.
    pack_bytes: Option<u64>,
}

impl LedgerFile {
    pub(super) fn limits(&self) -> recorder::Limits {
        let default = recorder::Limits::default();
        recorder::Limits {
            refuse_bytes: self.reserve_bytes.unwrap_or(default.refuse_bytes),
            refuse_percent: self.reserve_percent.unwrap_or(default.refuse_percent),
            segment_bytes: self.segment_bytes.unwrap_or(default.segment_bytes),
            pack_bytes: self.pack_bytes.unwrap_or(default.pack_bytes),
            ..default
        }
    }
}
