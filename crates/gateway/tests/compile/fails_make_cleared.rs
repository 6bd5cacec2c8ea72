//! Only the clerk clears.

use recorder::{Account, Cleared, Decision};

fn clear(decision: Decision, account: Account) -> Cleared {
    Cleared { decision, account }
}

fn main() {
    let _ = clear;
}
