//! The screen, drawn from its state: head, time line, list and detail. Works from 80 by 24 on. Pure.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::detail;
use super::film::{Mark, Scene};
use super::keys::HELP;
use super::state::{Mode, State};
use super::strip::{Placed, column_of};
use crate::read::text;

/// Heights of the bars by how much happened.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The smallest screen that everything fits on.
const SMALLEST: (u16, u16) = (60, 16);

/// Draws it.
pub(super) fn draw(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let words = format!("a terminal of at least {} by {} is needed", SMALLEST.0, SMALLEST.1);
        frame.render_widget(Paragraph::new(words), area);
        return;
    }
    let rows = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(4),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [head, strip, body, foot] = rows.areas(area);
    frame.render_widget(Paragraph::new(head_lines(state, head.width)), head);
    draw_strip(state, frame, strip);
    let rule = Block::new().borders(Borders::TOP).border_style(faint(state));
    let inside = rule.inner(body);
    frame.render_widget(rule, body);
    let list_width = (body.width * 2 / 5).clamp(30, 56);
    let columns = Layout::horizontal([Constraint::Length(list_width), Constraint::Fill(1)]);
    let [list, side] = columns.areas(inside);
    draw_list(state, frame, list);
    draw_detail(state, frame, side);
    frame.render_widget(Paragraph::new(foot_line(state, foot.width)), foot);
    if state.mode == Mode::Keys {
        draw_keys(state, frame, inside);
    }
}

/// The colour of a mark; shape and word say the same.
pub(super) fn mark_style(state: &State, mark: Mark) -> Style {
    if !state.is_coloured {
        return Style::default().add_modifier(Modifier::BOLD);
    }
    let colour = match mark {
        Mark::Denied | Mark::Failed => Color::Red,
        Mark::Held => Color::Yellow,
        Mark::Masked => Color::Magenta,
        Mark::Finding => Color::Cyan,
    };
    Style::default().fg(colour).add_modifier(Modifier::BOLD)
}

/// The style of what matters less.
pub(super) fn faint(state: &State) -> Style {
    if state.is_coloured { Style::default().fg(Color::DarkGray) } else { Style::default() }
}

fn head_lines(state: &State, width: u16) -> Vec<Line<'static>> {
    let film = &state.film;
    let run: String = film.run.chars().take(12).collect();
    let is_open = if film.is_open { "open" } else { "ended" };
    let who = format!("{run} · {} · {} → {} · {is_open}", film.principal, film.agent, film.servers);
    let mut counts = vec![Span::raw(format!("{} calls  {} ok ✓", film.calls, film.ok))];
    for (mark, count) in film.counts.iter().filter(|(_, count)| *count > 0) {
        let words = format!("  {count} {} {}", mark.word(), mark.shape());
        counts.push(Span::styled(words, mark_style(state, *mark)));
    }
    let playing = if state.playing { "▶ play" } else { "⏸ pause" };
    let live = if state.live { "● live  " } else { "" };
    let controls = format!("{live}{playing} {}×", state.speed);
    let used: usize = counts.iter().map(Span::width).sum();
    let room = usize::from(width).saturating_sub(used + text::width(&controls));
    counts.push(Span::raw(" ".repeat(room.max(2))));
    counts.push(Span::raw(controls));
    let bold = Style::default().add_modifier(Modifier::BOLD);
    vec![Line::styled(text::cut(&who, width.into()), bold), Line::from(counts)]
}

/// Three lines under a rule: what happened when, its marks, and the playhead.
fn draw_strip(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::new().borders(Borders::TOP).border_style(faint(state));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let width = usize::from(inside.width);
    let placed = state.strip.place(width);
    let at = column_of(&placed, state.playhead).min(width.saturating_sub(1));
    let playhead = Line::from(vec![
        Span::styled("─".repeat(at), faint(state)),
        Span::raw("●"),
        Span::styled("─".repeat(width.saturating_sub(at + 1)), faint(state)),
    ]);
    let lines = vec![bars(state, &placed, width), marks(state, &placed, width), playhead];
    frame.render_widget(Paragraph::new(lines), inside);
}

fn bars(state: &State, placed: &[Placed], width: usize) -> Line<'static> {
    let mut counts = vec![0_usize; width];
    for moment in &state.film.moments {
        if let Some(count) = counts.get_mut(column_of(placed, *moment)) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let mut spans = Vec::new();
    for Placed { piece, columns } in placed {
        let span = match &piece.label {
            Some(label) => {
                let label = if text::width(label) == columns.len() { label.as_str() } else { "⋯" };
                Span::styled(label.to_owned(), faint(state))
            }
            None => {
                let counts = counts.get(columns.clone()).unwrap_or_default();
                let bar = |count: &usize| match count {
                    0 => ' ',
                    count => BARS.get((count * BARS.len()).div_ceil(most) - 1).copied().unwrap_or('█'),
                };
                Span::raw(counts.iter().map(bar).collect::<String>())
            }
        };
        spans.push(span);
    }
    Line::from(spans)
}

fn marks(state: &State, placed: &[Placed], width: usize) -> Line<'static> {
    let mut cells: Vec<Option<Mark>> = vec![None; width];
    for scene in &state.film.scenes {
        if let (Some(mark), Some(cell)) = (scene.marks.first(), cells.get_mut(column_of(placed, scene.at))) {
            cell.get_or_insert(*mark);
        }
    }
    let span = |cell: &Option<Mark>| match cell {
        Some(mark) => Span::styled(mark.shape().to_string(), mark_style(state, *mark)),
        None => Span::raw(" "),
    };
    Line::from(cells.iter().map(span).collect::<Vec<_>>())
}

fn draw_list(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let block = Block::new().borders(Borders::RIGHT).border_style(faint(state));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    if state.film.scenes.is_empty() {
        frame.render_widget(Paragraph::new("The run has no calls yet."), inside);
        return;
    }
    let height = usize::from(inside.height);
    let first = state.selected.saturating_sub(height / 2);
    let first = first.min(state.film.scenes.len().saturating_sub(height));
    let shown = state.film.scenes.iter().enumerate().skip(first).take(height);
    let lines: Vec<Line<'_>> = shown.map(|(index, scene)| row(state, index, scene, inside.width)).collect();
    frame.render_widget(Paragraph::new(lines), inside);
}

fn row(state: &State, index: usize, scene: &Scene, width: u16) -> Line<'static> {
    let is_selected = index == state.selected;
    let mut offset = text::offset(scene.at);
    offset.truncate(offset.len().saturating_sub(2));
    let arrow = if scene.by_server { "← " } else { "" };
    let head = format!("{}{offset} ", if is_selected { "►" } else { " " });
    let room = usize::from(width).saturating_sub(text::width(&head) + 2);
    let title = format!("{}{arrow}{}", "  ".repeat(scene.depth), scene.title);
    let mut name = Style::default();
    if is_selected {
        name = name.add_modifier(Modifier::BOLD | Modifier::REVERSED);
    }
    if !state.sought().is_empty() && scene.has(state.sought()) {
        name = name.add_modifier(Modifier::UNDERLINED);
    }
    let shape = match scene.marks.first() {
        Some(mark) => Span::styled(scene.shape().to_string(), mark_style(state, *mark)),
        None => Span::raw(scene.shape().to_string()),
    };
    Line::from(vec![
        Span::styled(head, if is_selected { Style::default() } else { faint(state) }),
        shape,
        Span::raw(" "),
        Span::styled(text::cut(&title, room), name),
    ])
}

fn draw_detail(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let inside = Rect { x: area.x.saturating_add(1), width: area.width.saturating_sub(1), ..area };
    let lines = detail::lines(state, usize::from(inside.width));
    let most = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_sub(inside.height);
    let scroll = state.scroll.min(most);
    frame.render_widget(Paragraph::new(lines).scroll((scroll, 0)), inside);
    if scroll < most {
        let more = Rect { y: inside.bottom().saturating_sub(1), height: 1, ..inside };
        let words = format!("… {} more lines (pgdn)", most - scroll + 1);
        frame.render_widget(Clear, more);
        frame.render_widget(Paragraph::new(Line::styled(words, faint(state))), more);
    }
}

fn foot_line(state: &State, width: u16) -> Line<'static> {
    let keys = "space play  ←→ call  ⇧←→ mark  / search  d diff  r raw  ? keys  q quit";
    let words = match (&state.mode, &state.notice) {
        (Mode::Search(typed), _) => return Line::raw(text::cut(&format!("/{typed}▏"), width.into())),
        (_, Some(notice)) => return Line::raw(text::cut(notice, width.into())),
        _ => keys,
    };
    Line::styled(text::cut(words, width.into()), faint(state))
}

fn draw_keys(state: &State, frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Clear, area);
    let key = |(key, words): &(&str, &str)| Line::raw(format!(" {}{words}", text::cell(key, 12)));
    let mut lines: Vec<Line<'_>> = HELP.iter().map(key).collect();
    let mut legend = vec![Span::raw(" ")];
    for mark in Mark::ALL {
        legend.push(Span::styled(format!("{} {}  ", mark.shape(), mark.word()), mark_style(state, mark)));
    }
    // Two columns where one is not enough.
    let height = usize::from(area.height).saturating_sub(2);
    if lines.len() + 1 > height {
        let rest = lines.split_off(lines.len().div_ceil(2));
        let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
        frame.render_widget(Paragraph::new(rest), right);
        lines.push(Line::raw(""));
        frame.render_widget(Paragraph::new(lines), left);
    } else {
        frame.render_widget(Paragraph::new(lines), area);
    }
    let last = Rect { y: area.bottom().saturating_sub(1), height: 1, ..area };
    frame.render_widget(Paragraph::new(Line::from(legend)), last);
}
