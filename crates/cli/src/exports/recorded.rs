//! What a held call asks, from its record.

use std::path::PathBuf;

use export::ArgumentSource;
use store::state::Hold;

use crate::read::index;

/// Reads the ledger of a data folder.
#[derive(Debug)]
pub(crate) struct Recorded {
    data: PathBuf,
}

impl Recorded {
    pub(crate) fn new(data: PathBuf) -> Recorded {
        Recorded { data }
    }
}

impl ArgumentSource for Recorded {
    /// `None` as well for a record that is not the call that is held.
    fn arguments(&self, hold: &Hold) -> Option<String> {
        let payload = index::payload(&self.data, hold.asked?).ok()??;
        let params = payload.value("params");
        (policy::binding::digest(params, &[]) == Some(hold.key.digest)).then_some(())?;
        policy::binding::shown(payload.value("arguments").or(params).unwrap_or("{}"))
    }
}
