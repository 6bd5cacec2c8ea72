//! The right side: one scene in full, as lines of a given width. Pure.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::diff::{self, Change};
use super::draw::{faint, mark_style};
use super::film::{Mark, Scene};
use super::held::{Held, RoundDetail};
use super::state::State;
use crate::read::text;

/// Lines of one message.
const LINES: usize = 400;

/// Lines of differences.
const CHANGES: usize = 40;

/// The selected scene.
pub(super) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(scene) = state.scene() else { return Vec::new() };
    let mut page = Page { width, lines: Vec::new(), faint: faint(state) };
    page.lines.push(heading(&text::cut(&scene.title, width)));
    page.lines.push(outcome(state, scene));
    if let Some(reason) = &scene.reason {
        page.text(reason);
    }
    page.lines.push(Line::styled(text::cut(&facts(scene), width), page.faint));
    let Some(detail) = state.detail(state.selected) else { return page.lines };
    let several = detail.rounds.len() > 1;
    for (number, (round, records)) in detail.rounds.iter().zip(&scene.rounds).enumerate() {
        let of_round = if several { format!(" · round {number}") } else { String::new() };
        page.message(state, &format!("Arguments{of_round}  #{}", records.asked), &round.asked);
        if number == 0 {
            page.differences(state, scene, round);
        }
        match (&round.answered, records.answered) {
            (Some(answered), Some(seq)) => {
                page.message(state, &format!("Answer{of_round}  #{seq}"), answered);
            }
            _ => {
                page.lines.push(Line::raw(""));
                page.lines.push(heading("Answer"));
                page.lines.push(Line::styled(unanswered(scene), page.faint));
            }
        }
    }
    page.lines
}

fn unanswered(scene: &Scene) -> &'static str {
    match scene.shape() {
        '▲' => "(none: not forwarded)",
        '·' => "(none: a message without an answer)",
        _ => "(none so far)",
    }
}

fn outcome(state: &State, scene: &Scene) -> Line<'static> {
    // The outcome says a mark of its shape with a word of its own: `✕ tool error` is `✕ failed`.
    let is_said = |mark: &Mark| scene.outcome.starts_with(mark.shape());
    let others = scene.marks.iter().filter(|mark| !is_said(mark));
    let mut spans: Vec<Span<'static>> = others
        .map(|mark| Span::styled(format!("{} {}  ", mark.shape(), mark.word()), mark_style(state, *mark)))
        .collect();
    let said = scene.marks.iter().find(|mark| is_said(mark));
    let style = said.map_or_else(Style::default, |mark| mark_style(state, *mark));
    spans.push(Span::styled(scene.outcome.clone(), style));
    Line::from(spans)
}

fn facts(scene: &Scene) -> String {
    let asked_by = if scene.by_server { "the server asks" } else { "" };
    let rounds = (scene.rounds.len() > 1).then(|| format!("{} rounds", scene.rounds.len()));
    let notes = (scene.notes > 0).then(|| format!("{} notes", scene.notes));
    let parts = [
        Some(scene.method.clone()),
        Some(asked_by.to_owned()).filter(|words| !words.is_empty()),
        scene.duration.map(text::duration),
        rounds,
        notes,
        Some(text::offset(scene.at)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn heading(words: &str) -> Line<'static> {
    Line::styled(words.to_owned(), Style::default().add_modifier(Modifier::BOLD))
}

/// Lines under construction.
struct Page {
    width: usize,
    lines: Vec<Line<'static>>,
    faint: Style,
}

impl Page {
    fn message(&mut self, state: &State, title: &str, held: &Held) {
        self.lines.push(Line::raw(""));
        self.lines.push(heading(title));
        if let Some(why) = &held.missing {
            self.text(&format!("({why})"));
            return;
        }
        let shown = match &held.part {
            Some(part) if !state.shows_raw => part,
            _ => &held.raw,
        };
        if shown.bytes == 0 {
            self.lines.push(Line::styled("(nothing was recorded)", self.faint));
            return;
        }
        let (lines, is_whole) = if state.shows_raw {
            text::plain(&shown.beginning, LINES)
        } else {
            text::block_of(
                &shown.beginning,
                text::Limits { lines: LINES, width: text::LOOKED_AT, one_line: self.width },
            )
        };
        for line in lines {
            self.text(&line);
        }
        if !is_whole {
            let bytes = u64::try_from(shown.bytes).unwrap_or(u64::MAX);
            self.lines.push(Line::styled(format!("… of {}", text::size(bytes)), self.faint));
        }
    }

    fn differences(&mut self, state: &State, scene: &Scene, round: &RoundDetail) {
        let before = scene.before.filter(|_| state.shows_diff);
        let Some((before, index)) = before.and_then(|index| Some((state.detail(index)?, index))) else {
            return;
        };
        let was = before.rounds.first().and_then(|round| round.asked.part.as_ref());
        let (Some(was), Some(now)) = (was, round.asked.part.as_ref()) else { return };
        let Some(changes) = diff::changes(&was.beginning, &now.beginning) else { return };
        let seq =
            state.film.scenes.get(index).map(|scene| format!(" (#{})", scene.seq())).unwrap_or_default();
        self.lines.push(Line::raw(""));
        if changes.is_empty() {
            self.lines.push(Line::styled(format!("the same as in the call before{seq}"), self.faint));
            return;
        }
        self.lines.push(heading(&format!("Changed since the call before{seq}")));
        for change in changes.iter().take(CHANGES) {
            let line = match change {
                Change::Changed { path, was, now } => format!("~ {path} {was} → {now}"),
                Change::Added { path, now } => format!("+ {path} {now}"),
                Change::Removed { path, was } => format!("- {path} {was}"),
            };
            self.lines.push(Line::raw(text::cut(&line, self.width)));
        }
        if changes.len() > CHANGES {
            self.lines.push(Line::styled(format!("… {} more", changes.len() - CHANGES), self.faint));
        }
    }

    /// Safe text, broken at the width.
    fn text(&mut self, safe: &str) {
        for line in text::broken(safe, self.width) {
            self.lines.push(Line::raw(line));
        }
    }
}
