//! Writes a made-up, sound log, for other people's verifiers to read.
//!
//! `write_log DIR RECORDS [--origin NAME] [--checkpoint-at SIZE]` writes `DIR/checkpoint`, `DIR/tile/…` and `DIR/log.vkey`;
//! with a size also `DIR/checkpoint.SIZE`, signed when the log was that long, and `DIR/checkpoint.forked`: the signed head
//! of another log of the same key and size.

#[path = "../tests/it/made.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod made;

use std::error::Error;
use std::fs;
use std::path::Path;

use ledger::sequence::{Published, Sequencer};
use ledger::{Checkpoint, Hash, LogKey};

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "write_log DIR RECORDS [--origin NAME] [--checkpoint-at SIZE]";
    let mut arguments = std::env::args().skip(1);
    let (folder, records) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let (folder, records): (&Path, usize) = (folder.as_ref(), records.parse()?);
    let (mut origin, mut stop) = ("example.org/tollbook".to_owned(), None);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or(usage)?;
        match argument.as_str() {
            "--origin" => origin = value,
            "--checkpoint-at" => stop = Some(value.parse::<usize>()?),
            _ => return Err(usage.into()),
        }
    }
    let key = LogKey::from_seed(&origin, &[42; 32]).ok_or("the origin has white space or a plus sign")?;
    let leaves = made::busy(&origin, records);
    let mut sequencer = Sequencer::default();
    fs::create_dir_all(folder)?;
    for (at, leaf) in leaves.iter().enumerate() {
        if stop == Some(at) {
            write_stop(&mut sequencer, folder, &key)?;
        }
        sequencer.append(leaf)?;
        // As a gateway does: many publications, partial tiles left behind.
        if at % 1000 == 999 {
            write_files(sequencer.publish().as_ref(), folder)?;
        }
    }
    if stop == Some(records) {
        write_stop(&mut sequencer, folder, &key)?;
    }
    write_files(sequencer.publish().as_ref(), folder)?;
    fs::write(folder.join("checkpoint"), sign(&sequencer, &key))?;
    fs::write(folder.join("log.vkey"), format!("{}\n", key.verifier()))?;
    Ok(())
}

/// The heads of the log as it is now, and of another one of its size.
fn write_stop(sequencer: &mut Sequencer, folder: &Path, key: &LogKey) -> Result<(), Box<dyn Error>> {
    let size = sequencer.size();
    write_files(sequencer.publish().as_ref(), folder)?;
    fs::write(folder.join(format!("checkpoint.{size}")), sign(sequencer, key))?;
    let other = Checkpoint { origin: key.verifier().name, size, root: Hash::of(b"another history") };
    fs::write(folder.join("checkpoint.forked"), key.sign(&other))?;
    Ok(())
}

fn sign(sequencer: &Sequencer, key: &LogKey) -> String {
    key.sign(&Checkpoint { origin: key.verifier().name, size: sequencer.size(), root: sequencer.root() })
}

fn write_files(published: Option<&Published>, folder: &Path) -> Result<(), Box<dyn Error>> {
    for file in published.iter().flat_map(|published| &published.files) {
        let path = folder.join(file.id.path());
        path.parent().map(fs::create_dir_all).transpose()?;
        fs::write(path, &file.bytes)?;
    }
    Ok(())
}
