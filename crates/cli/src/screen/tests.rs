//! Keys in, screens out: golden files of what is drawn. `UPDATE_EXPECT=1` writes them anew.

use std::time::Duration;

use expect_test::expect_file;
use ledger::{Seq, Status, Verdict};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use store::{Index, Mode, RunFilter};

use super::draw::draw;
use super::film::Film;
use super::held::Detail;
use super::state::{Effect, Event, State};
use crate::read::replay::Sealed;
use crate::read::tests::made::{Ask, DAY, Log, ORIGIN, SECOND};

/// A run with everything that has a mark of its own, and text that would act on a terminal.
fn log() -> Log {
    let mut log = Log::at(DAY + 10 * 3_600 * SECOND);
    log.open_run(1);
    log.ended(Ask::default(), Status::Ok, r#"{"content":[{"type":"text","text":"Hello"}]}"#);
    let refund = |call, args| Ask { call, server: "payments", tool: "refund", args, ..Ask::default() };
    log.refused(refund(2, r#"{"amount":9000,"to":"DE00"}"#), "no refunds for agents");
    log.t += SECOND / 2;
    log.refused(refund(3, r#"{"amount":4200,"to":"DE00","note":"please"}"#), "no refunds for agents");
    log.t += 252 * SECOND;
    let slow = log.intent(Ask { call: 4, tool: "search", args: "{}", ..Ask::default() });
    log.progress(slow);
    log.asked_inside(4, 30);
    log.t += 90 * SECOND;
    log.outcome(slow, Status::Error, r#"{"code":-32000,"message":"Quota exceeded"}"#);
    let evil = "{\"path\":\"rm\\u001b[2J\",\"name\":\"txt.exe\u{202e}\u{200b}\"}";
    log.ended(Ask { call: 5, tool: "open", args: evil, ..Ask::default() }, Status::Ok, "{}");
    log.intent(Ask { call: 6, tool: "delete", verdict: Verdict::Hold, ..Ask::default() });
    log
}

fn film_of(log: &Log) -> Film {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), Mode::ReadWrite).unwrap();
    index.apply(ORIGIN, &log.entries()).unwrap();
    let run = index.runs(&RunFilter::default()).unwrap().remove(0);
    let mut rows = index.of_run(run.run).unwrap();
    for row in rows.iter_mut().filter(|row| row.name.as_deref() == Some("open")) {
        row.name = Some("\u{1b}[2Jo\u{202e}pen".to_owned());
    }
    Film::of(&run, &rows)
}

/// The screen under test and what it was made of.
struct Screen {
    log: Log,
    state: State,
    size: (u16, u16),
}

fn screen() -> Screen {
    let log = log();
    let state = State::new(film_of(&log), None, true);
    Screen { log, state, size: (80, 24) }
}

impl Screen {
    fn press(&mut self, keys: &[KeyCode]) -> Effect {
        let mut effect = Effect::None;
        for key in keys {
            effect = self.state.update(Event::Key(KeyEvent::new(*key, KeyModifiers::NONE)));
        }
        effect
    }

    fn with_shift(&mut self, key: KeyCode) {
        self.state.update(Event::Key(KeyEvent::new(key, KeyModifiers::SHIFT)));
    }

    fn type_text(&mut self, text: &str) {
        self.press(&text.chars().map(KeyCode::Char).collect::<Vec<_>>());
    }

    fn pass(&mut self, milliseconds: u64) {
        self.state.update(Event::Tick(Duration::from_millis(milliseconds)));
    }

    fn terminal(&mut self) -> Terminal<TestBackend> {
        let entries = self.log.entries();
        let sealed = |seq: Seq| {
            let payload = entries.iter().find(|entry| entry.seq == seq).and_then(|entry| entry.payload);
            payload.map_or(Sealed::Nothing, |payload| Sealed::Open(Box::new(payload.clone())))
        };
        while let Some(index) = self.state.wanted() {
            let detail = Detail::of(&self.state.film.scenes[index], &sealed);
            self.state.update(Event::Opened(index, detail));
        }
        let mut terminal = Terminal::new(TestBackend::new(self.size.0, self.size.1)).unwrap();
        terminal.draw(|frame| draw(&self.state, frame)).unwrap();
        terminal
    }

    fn lines(&mut self) -> String {
        let terminal = self.terminal();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(buffer.area.width));
        let row = |cells: &[ratatui::buffer::Cell]| -> String {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            format!("{}\n", line.trim_end())
        };
        rows.map(row).collect()
    }
}

#[test]
fn the_beginning() {
    expect_file!["golden/beginning.txt"].assert_eq(&screen().lines());
}

#[test]
fn the_same_tool_again_shows_what_changed() {
    let mut screen = screen();
    screen.press(&[KeyCode::Right, KeyCode::Right]);
    expect_file!["golden/changed.txt"].assert_eq(&screen.lines());
    screen.press(&[KeyCode::Char('d')]);
    assert!(!screen.lines().contains("Changed since"));
}

#[test]
fn hostile_text_is_shown_as_code_points() {
    let mut screen = screen();
    screen.press(&[KeyCode::End, KeyCode::Left]);
    expect_file!["golden/hostile.txt"].assert_eq(&screen.lines());
    screen.press(&[KeyCode::Char('r')]);
    let raw = screen.lines();
    assert!(raw.contains("‹U+202E›") && !raw.chars().any(|c| c != '\n' && c.is_control()), "{raw}");
}

#[test]
fn marks_are_sought_by_shifted_arrows() {
    let mut screen = screen();
    let mut seen = Vec::new();
    for _ in 0..5 {
        screen.with_shift(KeyCode::Right);
        seen.push((screen.state.selected, screen.state.notice.take()));
    }
    let at = |index: usize| (index, None);
    let last = (6, Some("no mark after".to_owned()));
    assert_eq!(seen, [at(1), at(2), at(3), at(6), last]);
    screen.with_shift(KeyCode::Left);
    assert_eq!(screen.state.selected, 3);
}

#[test]
fn search_goes_round_by_n() {
    let mut screen = screen();
    screen.type_text("/QUOTA");
    expect_file!["golden/search.txt"].assert_eq(&screen.lines());
    screen.press(&[KeyCode::Enter]);
    assert_eq!(screen.state.selected, 3);
    screen.press(&[KeyCode::Char('n')]);
    assert_eq!(screen.state.notice.as_deref(), Some("`quota` is not found after this call"));
    screen.type_text("/refund");
    screen.press(&[KeyCode::Esc, KeyCode::Char('N')]);
    assert_eq!(screen.state.selected, 3, "a search that was left changes nothing");
    screen.type_text("/refund");
    screen.press(&[KeyCode::Enter, KeyCode::Char('N'), KeyCode::Char('N')]);
    assert_eq!(screen.state.selected, 1);
    screen.press(&[KeyCode::Char('n')]);
    assert_eq!(screen.state.selected, 2);
}

#[test]
fn playing_hurries_over_idle_time() {
    let mut screen = screen();
    screen.press(&[KeyCode::Char(' ')]);
    screen.pass(300);
    assert_eq!(screen.state.selected, 1);
    screen.pass(250);
    expect_file!["golden/playing.txt"].assert_eq(&screen.lines());
    screen.press(&[KeyCode::Char('8')]);
    screen.pass(70);
    assert_eq!(screen.state.selected, 4);
    screen.pass(10_000);
    assert_eq!((screen.state.selected, screen.state.playing), (6, false));
    screen.press(&[KeyCode::Char(' ')]);
    assert_eq!((screen.state.selected, screen.state.playing), (0, true), "once more from the beginning");
    screen.press(&[KeyCode::Char('-'), KeyCode::Char('-'), KeyCode::Char('+')]);
    assert_eq!(screen.state.speed, 4);
}

#[test]
fn all_keys_fit_on_the_screen() {
    let mut screen = screen();
    screen.press(&[KeyCode::Char('?')]);
    expect_file!["golden/keys.txt"].assert_eq(&screen.lines());
    screen.press(&[KeyCode::Char('?')]);
    assert!(screen.lines().contains("files/read_file"));
    screen.size = (40, 10);
    assert!(screen.lines().starts_with("a terminal of at least 60 by 16 is need"));
}

#[test]
fn what_leaves_the_screen() {
    let mut screen = screen();
    screen.press(&[KeyCode::Right]);
    let command = format!("tollbook replay {} --at 3", screen.state.film.run);
    assert_eq!(screen.press(&[KeyCode::Char('y')]), Effect::Copy(command));
    assert_eq!(screen.press(&[KeyCode::Char('q')]), Effect::Quit);
    screen.type_text("/q");
    assert_eq!(screen.press(&[KeyCode::Char('q')]), Effect::None, "typed into the search");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.state.update(Event::Key(interrupt)), Effect::Quit);
    let state = State::new(film_of(&screen.log), Some(4), true);
    assert_eq!(state.selected, 2, "the call of a record");
}

#[test]
fn a_live_run_is_followed_until_it_ends() {
    let mut screen = screen();
    screen.press(&[KeyCode::Char('l')]);
    assert_eq!((screen.state.live, screen.state.selected), (true, 6));
    screen.log.ended(Ask { call: 7, ..Ask::default() }, Status::Ok, "{}");
    let now = film_of(&screen.log);
    screen.state.update(Event::Reloaded(Box::new(now)));
    assert_eq!((screen.state.live, screen.state.selected), (true, 7));
    screen.press(&[KeyCode::Left]);
    assert!(!screen.state.live, "moving by hand leaves it");
    screen.log.close_run(1, "ended by the client");
    let now = film_of(&screen.log);
    screen.state.update(Event::Reloaded(Box::new(now)));
    screen.press(&[KeyCode::Char('l')]);
    assert!(!screen.state.live);
    assert_eq!(screen.state.notice.as_deref(), Some("the run has ended: there is nothing to follow"));
}

#[test]
fn without_colour_shapes_and_words_remain() {
    let mut screen = screen();
    screen.state.is_coloured = false;
    let plain = screen.terminal();
    let cells = plain.backend().buffer().content();
    assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let text = screen.lines();
    assert!(
        text.contains("2 denied ▲") && text.contains("1 held ■") && text.contains("1 failed ✕"),
        "{text}"
    );
}

#[test]
fn how_a_call_ended_is_said_once() {
    let mut screen = screen();
    let failed = (0..7).any(|_| {
        screen.press(&[KeyCode::Right]);
        screen.lines().contains("✕ error")
    });
    assert!(failed && !screen.lines().contains("✕ failed  ✕"), "{}", screen.lines());
}

#[test]
fn an_empty_run_has_a_screen_too() {
    let mut log = Log::at(DAY);
    log.open_run(1);
    let mut screen = Screen { state: State::new(film_of(&log), None, true), log, size: (80, 24) };
    let keys = [KeyCode::Right, KeyCode::Char(' '), KeyCode::Char('n'), KeyCode::Char('y'), KeyCode::End];
    screen.press(&keys);
    screen.pass(100);
    assert!(screen.lines().contains("The run has no calls yet."));
}
