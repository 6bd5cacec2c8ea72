//! The keys: what each does, and the words that `?` shows.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Play,
    Previous,
    Next,
    PreviousMark,
    NextMark,
    First,
    Last,
    Speed(u8),
    Faster,
    Slower,
    ScrollUp,
    ScrollDown,
    Diff,
    Raw,
    Search,
    NextFound,
    PreviousFound,
    Live,
    Copy,
    Keys,
    Leave,
    Quit,
}

/// Each key as it is shown, with what it does.
pub(super) const HELP: [(&str, &str); 17] = [
    ("space", "play, pause"),
    ("← →  ↑ ↓", "call before, after"),
    ("⇧← ⇧→  [ ]", "mark before, after"),
    ("home end", "first, last call"),
    ("1 2 4 8", "speed"),
    ("+ -", "faster, slower"),
    ("pgup pgdn", "scroll the detail"),
    ("d", "what changed, on and off"),
    ("r", "messages as they crossed"),
    ("/", "search all texts"),
    ("n N", "found after, before"),
    ("l", "follow while it goes on"),
    ("y", "copy command for this call"),
    ("?", "these keys"),
    ("esc", "back"),
    ("q", "quit"),
    ("ctrl-c", "quit"),
];

/// What a key asks for, where no text is being typed.
pub(super) fn action(key: KeyEvent) -> Option<Action> {
    let (shift, control) =
        (key.modifiers.contains(KeyModifiers::SHIFT), key.modifiers.contains(KeyModifiers::CONTROL));
    Some(match key.code {
        KeyCode::Char('c') if control => Action::Quit,
        _ if control || key.modifiers.contains(KeyModifiers::ALT) => return None,
        KeyCode::Char(' ') => Action::Play,
        KeyCode::Left if shift => Action::PreviousMark,
        KeyCode::Right if shift => Action::NextMark,
        KeyCode::Char('[') => Action::PreviousMark,
        KeyCode::Char(']') => Action::NextMark,
        KeyCode::Left | KeyCode::Up | KeyCode::Char('k') => Action::Previous,
        KeyCode::Right | KeyCode::Down | KeyCode::Char('j') => Action::Next,
        KeyCode::Home | KeyCode::Char('g') => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        KeyCode::Char('1') => Action::Speed(1),
        KeyCode::Char('2') => Action::Speed(2),
        KeyCode::Char('4') => Action::Speed(4),
        KeyCode::Char('8') => Action::Speed(8),
        KeyCode::Char('+' | '=') => Action::Faster,
        KeyCode::Char('-') => Action::Slower,
        KeyCode::PageUp => Action::ScrollUp,
        KeyCode::PageDown => Action::ScrollDown,
        KeyCode::Char('d') => Action::Diff,
        KeyCode::Char('r') => Action::Raw,
        KeyCode::Char('/') => Action::Search,
        KeyCode::Char('n') => Action::NextFound,
        KeyCode::Char('N') => Action::PreviousFound,
        KeyCode::Char('l') => Action::Live,
        KeyCode::Char('y') => Action::Copy,
        KeyCode::Char('?') => Action::Keys,
        KeyCode::Esc => Action::Leave,
        KeyCode::Char('q') => Action::Quit,
        _ => return None,
    })
}
