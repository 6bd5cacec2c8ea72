//! What a held call asks, from its record.

use std::path::PathBuf;

use export::ArgumentSource;
use ledger::Leaf;
use recorder::Reader;
use store::state::Hold;

/// Of a larger call the arguments are not read here.
const PAYLOAD_BYTES: usize = 4 << 20;

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
        let asked = hold.asked?;
        let reader = Reader::open(&self.data).ok()?;
        let (seq, leaf) = reader.leaves(asked).next().transpose().ok()??;
        let leaf = Leaf::decode(&leaf).ok()?;
        let payload = reader.payload_within(seq, &leaf, PAYLOAD_BYTES).ok()??;
        let params = payload.value("params");
        (policy::binding::digest(params, &[]) == Some(hold.key.digest)).then_some(())?;
        policy::binding::shown(payload.value("arguments").or(params).unwrap_or("{}"))
    }
}
