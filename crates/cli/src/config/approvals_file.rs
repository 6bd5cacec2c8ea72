//! `[approvals]`: how calls wait for people.

use std::time::Duration;

use gateway::HoldSettings;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalsFile {
    /// How long a held call waits before its client is told to come again, in seconds. Many clients give up after 60.
    wait_seconds: Option<u64>,
    /// How long people have to decide, in seconds.
    lasts_seconds: Option<u64>,
    /// Calls that may wait at a time.
    pending: Option<u32>,
    /// Calls of one run that may wait at a time.
    pending_of_run: Option<u32>,
    /// How long a refusal holds, in seconds: the same is not asked about again, and of a run that was refused five times nothing is.
    refusal_seconds: Option<u64>,
}

impl ApprovalsFile {
    pub(super) fn settings(&self) -> HoldSettings {
        let mut settings = HoldSettings::default();
        settings.inline = self.wait_seconds.map_or(settings.inline, Duration::from_secs);
        settings.lasts = self.lasts_seconds.map_or(settings.lasts, Duration::from_secs);
        let bounds = &mut settings.bounds;
        bounds.pending = self.pending.unwrap_or(bounds.pending);
        bounds.pending_of_run = self.pending_of_run.unwrap_or(bounds.pending_of_run);
        bounds.refusal_lasts = self.refusal_seconds.unwrap_or(bounds.refusal_lasts);
        settings
    }
}
