//! Verifies a log folder, records alone, and says how fast: `audit_log DIR`. The files are read before the clock starts.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;
use std::{fs, io};

use ledger::tile::{self, TileId, WIDTH};
use ledger::verify::Audit;
use ledger::{Checkpoint, VerifierKey};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("audit_log DIR")?;
    let folder = Path::new(&folder);
    let key: VerifierKey = fs::read_to_string(folder.join("log.vkey"))?.parse()?;
    let note = fs::read_to_string(folder.join("checkpoint"))?;
    let size = Checkpoint::verify(&note, &key)?.size;
    let mut bundles = Vec::new();
    for first in (0..size).step_by(usize::try_from(WIDTH)?) {
        bundles.push(fs::read(folder.join(TileId::bundle(first, size).path()))?);
    }
    let started = Instant::now();
    let mut audit = Audit::new();
    for bundle in &bundles {
        for leaf in tile::entries(bundle).ok_or("a bundle is cut off")? {
            audit.leaf(leaf);
        }
    }
    let report = audit.finish(&note, &key);
    let took = started.elapsed();
    let bytes: usize = bundles.iter().map(Vec::len).sum();
    let mut out = io::stdout();
    write!(out, "{report}")?;
    writeln!(
        out,
        "{size} records, {bytes} bytes, {took:?}: {:.0} records/s",
        size as f64 / took.as_secs_f64()
    )?;
    if report.ok { Ok(()) } else { Err("the log does not verify".into()) }
}
