//! `tollbook replay RUN` on a terminal: the run as a film that can be stepped through and played.
//!
//! [`state`] is what is shown and how keys change it, [`mod@film`] what the index and the ledger say, [`mod@draw`] and
//! [`detail`] put it on the screen; all of them are pure. This file has the terminal, the clock and the ledger. The
//! terminal is given back however this ends: by a key, a signal, an error or a panic.

mod detail;
mod diff;
mod draw;
mod film;
mod held;
mod keys;
mod state;
mod strip;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as Input, KeyEventKind};
use recorder::Reader;
use tokio::signal::unix::{SignalKind, signal};

use self::film::Film;
use self::held::Detail;
use self::state::{Effect, Event, State};
use crate::read::{index, replay, runs};

/// How often the screen is drawn while the run plays.
const FRAME: Duration = Duration::from_millis(50);

/// How long a signal may go unnoticed while nothing moves.
const QUIET: Duration = Duration::from_millis(250);

/// How often a live run is read again.
const LIVE: Duration = Duration::from_secs(1);

/// What to show, and how.
pub(crate) struct Shown<'a> {
    /// As the user named it.
    pub(crate) run: &'a str,
    /// The record to begin at.
    pub(crate) at: Option<u64>,
    pub(crate) is_coloured: bool,
}

/// Shows a run until the user leaves; the exit code is 0.
pub(crate) fn run(shown: &Shown<'_>, data: &Path) -> anyhow::Result<u8> {
    let (film, reader) = film(data, shown.run)?;
    let name = film.run.clone();
    let state = State::new(film, shown.at, shown.is_coloured);
    let stopped = stopped_by_signal()?;
    let mut terminal = ratatui::try_init().context("the terminal cannot be used; try `--plain`")?;
    let mut show = Show { state, reader, data, run: &name, read_at: Instant::now() };
    let outcome = show.run(&mut terminal, &stopped);
    ratatui::restore();
    outcome.map(|()| 0)
}

struct Show<'a> {
    state: State,
    reader: Reader,
    data: &'a Path,
    run: &'a str,
    /// When the run was last read.
    read_at: Instant,
}

impl Show<'_> {
    fn run(&mut self, terminal: &mut DefaultTerminal, stopped: &AtomicBool) -> anyhow::Result<()> {
        let mut ticked = Instant::now();
        while !stopped.load(Ordering::Relaxed) {
            self.open_wanted();
            terminal.draw(|frame| draw::draw(&self.state, frame))?;
            let patience = if self.state.playing { FRAME } else { QUIET };
            if event::poll(patience)?
                && let Input::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
            {
                match self.state.update(Event::Key(key)) {
                    Effect::None => {}
                    Effect::Quit => return Ok(()),
                    Effect::Copy(text) => copy(&text)?,
                }
            }
            let now = Instant::now();
            self.state.update(Event::Tick(now.duration_since(ticked)));
            ticked = now;
            if self.state.live && self.read_at.elapsed() >= LIVE {
                self.reload()?;
            }
        }
        Ok(())
    }

    fn open_wanted(&mut self) {
        while let Some(index) = self.state.wanted() {
            let Some(scene) = self.state.film.scenes.get(index) else { return };
            let detail = Detail::of(scene, &|seq| replay::read(&self.reader, seq));
            self.state.update(Event::Opened(index, detail));
        }
    }

    fn reload(&mut self) -> anyhow::Result<()> {
        let (film, reader) = film(self.data, self.run)?;
        self.reader = reader;
        self.read_at = Instant::now();
        self.state.update(Event::Reloaded(Box::new(film)));
        Ok(())
    }
}

fn film(data: &Path, named: &str) -> anyhow::Result<(Film, Reader)> {
    let opened = index::open(data)?;
    let run = runs::named(&opened, named)?;
    let rows = opened.index.of_run(run.run)?;
    Ok((Film::of(&run, &rows), opened.reader))
}

/// Asks the terminal to put a text on the clipboard (OSC 52); one that does not know this passes over it.
fn copy(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    write!(out, "\x1b]52;c;{}\x07", STANDARD.encode(text))?;
    out.flush()
}

/// Turns true at a signal that would otherwise end the process with the terminal as it is. A hang-up is left to end it: the
/// terminal is gone then, and waiting for its keys would never end.
fn stopped_by_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stopped);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
    let mut signals = {
        let _context = runtime.enter();
        kinds.map(signal).into_iter().collect::<Result<Vec<_>, _>>().context("cannot receive signals")?
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async move {
            if let [terminate, interrupt] = signals.as_mut_slice() {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
        });
        seen.store(true, Ordering::Relaxed);
    })?;
    Ok(stopped)
}
