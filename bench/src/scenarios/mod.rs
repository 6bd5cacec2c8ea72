//! One file for each thing that is measured.

pub(crate) mod bulk;
pub(crate) mod calls;
pub(crate) mod holds;
pub(crate) mod ledger;
pub(crate) mod million;
pub(crate) mod start;
pub(crate) mod streams;
