//! The screen's state and how it changes. Pure: time and recorded payloads come as events.

use std::collections::BTreeMap;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::film::{Film, Scene};
use super::held::Detail;
use super::keys::{self, Action};
use super::strip::Strip;
use crate::read::text;

/// Details kept; the others are opened again when they are needed.
const DETAILS: usize = 16;

/// Characters of a search.
const QUERY: usize = 100;

/// Lines that the detail moves by at once.
const PAGE: u16 = 8;

/// Something that happens to the screen.
#[derive(Debug)]
pub(super) enum Event {
    Key(KeyEvent),
    /// Time has passed.
    Tick(Duration),
    /// The run as it is now.
    Reloaded(Box<Film>),
    /// A scene's payloads were opened.
    Opened(usize, Detail),
}

/// What the world has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Quit,
    /// Put a text on the clipboard.
    Copy(String),
}

/// What is typed, if anything is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Browse,
    Search(String),
    Keys,
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) film: Film,
    pub(super) strip: Strip,
    pub(super) selected: usize,
    /// Microseconds since the run's first record.
    pub(super) playhead: i64,
    pub(super) playing: bool,
    pub(super) speed: u8,
    pub(super) mode: Mode,
    pub(super) shows_diff: bool,
    pub(super) shows_raw: bool,
    /// Lines by which the detail is moved up.
    pub(super) scroll: u16,
    /// Whether the run is followed as it goes on.
    pub(super) live: bool,
    /// A word to the user, until the next key.
    pub(super) notice: Option<String>,
    pub(super) is_coloured: bool,
    query: String,
    details: BTreeMap<usize, Detail>,
}

impl State {
    /// At the beginning, or at the scene of a record.
    pub(super) fn new(film: Film, at: Option<u64>, is_coloured: bool) -> State {
        let strip = Strip::of(&film.moments);
        let mut state = State {
            strip,
            selected: 0,
            playhead: 0,
            playing: false,
            speed: 1,
            mode: Mode::Browse,
            shows_diff: true,
            shows_raw: false,
            scroll: 0,
            live: false,
            notice: None,
            is_coloured,
            query: String::new(),
            details: BTreeMap::new(),
            film,
        };
        let index = at.and_then(|seq| state.film.scenes.iter().rposition(|scene| scene.seq().0 <= seq));
        state.select(index.unwrap_or(0));
        state
    }

    /// Takes an event.
    pub(super) fn update(&mut self, event: Event) -> Effect {
        match event {
            Event::Key(key) => return self.key(key),
            Event::Tick(passed) => self.tick(passed),
            Event::Reloaded(film) => self.reload(*film),
            Event::Opened(index, detail) => {
                if self.details.len() >= DETAILS {
                    let shown = [Some(self.selected), self.scene().and_then(|scene| scene.before)];
                    self.details.retain(|kept, _| shown.contains(&Some(*kept)));
                }
                self.details.insert(index, detail);
            }
        }
        Effect::None
    }

    /// A scene whose payloads are to be shown and are not open yet.
    pub(super) fn wanted(&self) -> Option<usize> {
        let scene = self.scene()?;
        [Some(self.selected), scene.before]
            .into_iter()
            .flatten()
            .find(|index| !self.details.contains_key(index))
    }

    /// The selected scene.
    pub(super) fn scene(&self) -> Option<&Scene> {
        self.film.scenes.get(self.selected)
    }

    /// A scene's payloads, if they are open.
    pub(super) fn detail(&self, index: usize) -> Option<&Detail> {
        self.details.get(&index)
    }

    /// What is searched for, in lower case; empty if nothing is.
    pub(super) fn sought(&self) -> &str {
        &self.query
    }

    fn key(&mut self, key: KeyEvent) -> Effect {
        self.notice = None;
        if matches!(self.mode, Mode::Search(_)) {
            return self.typed(key);
        }
        let Some(action) = keys::action(key) else { return Effect::None };
        if action == Action::Quit {
            return Effect::Quit;
        }
        if std::mem::replace(&mut self.mode, Mode::Browse) == Mode::Keys {
            return Effect::None;
        }
        self.act(action)
    }

    fn act(&mut self, action: Action) -> Effect {
        match action {
            Action::Play => self.play(),
            Action::Previous => self.go(self.selected.saturating_sub(1)),
            Action::Next => self.go(self.selected + 1),
            Action::PreviousMark => self.seek(|scene| !scene.marks.is_empty(), false, "no mark before"),
            Action::NextMark => self.seek(|scene| !scene.marks.is_empty(), true, "no mark after"),
            Action::First => self.go(0),
            Action::Last => self.go(usize::MAX),
            Action::Speed(speed) => self.speed = speed,
            Action::Faster => self.speed = (self.speed * 2).min(8),
            Action::Slower => self.speed = (self.speed / 2).max(1),
            Action::ScrollUp => self.scroll = self.scroll.saturating_sub(PAGE),
            Action::ScrollDown => self.scroll = self.scroll.saturating_add(PAGE),
            Action::Diff => self.shows_diff = !self.shows_diff,
            Action::Raw => self.shows_raw = !self.shows_raw,
            Action::Search => self.mode = Mode::Search(String::new()),
            Action::NextFound => self.find(true),
            Action::PreviousFound => self.find(false),
            Action::Live => self.follow(),
            Action::Copy => return self.copy(),
            Action::Keys => self.mode = Mode::Keys,
            Action::Leave => self.query.clear(),
            Action::Quit => return Effect::Quit,
        }
        Effect::None
    }

    fn typed(&mut self, key: KeyEvent) -> Effect {
        let Mode::Search(typed) = &mut self.mode else { return Effect::None };
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Effect::Quit,
            KeyCode::Char(c) if !c.is_control() && typed.chars().count() < QUERY => typed.push(c),
            KeyCode::Backspace => drop(typed.pop()),
            KeyCode::Esc => self.mode = Mode::Browse,
            KeyCode::Enter => {
                self.query = typed.to_lowercase();
                self.mode = Mode::Browse;
                let here = self.scene().is_some_and(|scene| scene.has(&self.query));
                if !here {
                    self.find(true);
                }
            }
            _ => {}
        }
        Effect::None
    }

    fn play(&mut self) {
        self.playing = !self.playing;
        self.live &= !self.playing;
        // At the end there is nothing left to play: once more from the beginning.
        if self.playing && self.playhead >= self.strip.span().end {
            self.select(0);
        }
    }

    fn tick(&mut self, passed: Duration) {
        if !self.playing {
            return;
        }
        let passed = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX);
        self.playhead = self.strip.advance(self.playhead, passed.saturating_mul(self.speed.into()));
        let playhead = self.playhead;
        let here = self.film.scenes.iter().rposition(|scene| scene.at <= playhead).unwrap_or(0);
        if here != self.selected {
            self.selected = here;
            self.scroll = 0;
        }
        self.playing = playhead < self.strip.span().end;
    }

    /// Moves by hand: that leaves the live run.
    fn go(&mut self, index: usize) {
        self.live = false;
        self.select(index);
    }

    fn select(&mut self, index: usize) {
        self.selected = index.min(self.film.scenes.len().saturating_sub(1));
        self.scroll = 0;
        self.playhead = self.scene().map_or(0, |scene| scene.at);
    }

    fn seek(&mut self, is_sought: impl Fn(&Scene) -> bool, forward: bool, none: &str) {
        let scenes = self.film.scenes.iter().enumerate();
        let found = if forward {
            scenes.skip(self.selected + 1).find(|(_, scene)| is_sought(scene))
        } else {
            scenes.take(self.selected).rfind(|(_, scene)| is_sought(scene))
        };
        match found.map(|(index, _)| index) {
            Some(index) => self.go(index),
            None => self.notice = Some(none.to_owned()),
        }
    }

    fn find(&mut self, forward: bool) {
        if self.query.is_empty() {
            self.notice = Some("nothing is searched for: press / and type".to_owned());
            return;
        }
        let query = self.query.clone();
        let side = if forward { "after" } else { "before" };
        let none = format!("`{}` is not found {side} this call", text::cut(&query, 30));
        self.seek(|scene| scene.has(&query), forward, &none);
    }

    fn follow(&mut self) {
        if self.film.is_open {
            self.live = !self.live;
            self.playing = false;
            if self.live {
                self.select(usize::MAX);
            }
        } else {
            self.notice = Some("the run has ended: there is nothing to follow".to_owned());
        }
    }

    fn copy(&mut self) -> Effect {
        let Some(scene) = self.scene() else { return Effect::None };
        let command = format!("tollbook replay {} --at {}", self.film.run, scene.seq());
        self.notice = Some(format!("copied: {command}"));
        Effect::Copy(command)
    }

    /// What was open may have ended; scenes are only ever added.
    fn reload(&mut self, film: Film) {
        for (index, scene) in self.film.scenes.iter().enumerate() {
            if film.scenes.get(index).is_none_or(|now| now.rounds != scene.rounds) {
                self.details.remove(&index);
            }
        }
        self.strip = Strip::of(&film.moments);
        self.film = film;
        if self.live {
            self.live = self.film.is_open;
            self.select(usize::MAX);
        }
    }
}
