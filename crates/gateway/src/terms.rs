//! What a configuration says of messages: the part of a pipeline that a reload replaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rules::Rules;
use crate::settings::{Receipts, ServerSettings};

/// On which terms messages cross.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) receipts: Receipts,
    /// `None`: nothing is judged.
    pub(crate) rules: Option<Arc<Rules>>,
    /// What servers are shown, as the record calls it, by their names.
    credentials: BTreeMap<String, &'static str>,
}

impl Terms {
    pub(crate) fn new(
        receipts: Receipts,
        rules: Option<Arc<Rules>>,
        servers: &BTreeMap<String, ServerSettings>,
    ) -> Terms {
        let shown = servers.iter().filter_map(|(name, server)| Some((name.clone(), server.credential()?)));
        Terms { receipts, rules, credentials: shown.collect() }
    }

    /// What a server is shown besides fixed headers, as the record calls it.
    pub(crate) fn credential(&self, server: &str) -> Option<&'static str> {
        self.credentials.get(server).copied()
    }
}
