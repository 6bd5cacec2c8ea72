//! A run as it is shown: its head, and one scene for each call, refusal and one-way message. Pure.
//!
//! Invariant: every text here is safe for a terminal; recorded bytes are in `held`, and pass through
//! `text` when they are drawn.

use std::collections::HashMap;

use ledger::{CallId, Seq};
use store::{CallRow, RowKind, RunRow};

use crate::read::render::outcome;
use crate::read::text;

/// How deep requests inside of requests are indented.
const MAX_DEPTH: usize = 4;

/// Columns of a scene's name that may ever be shown.
const TITLE: usize = 80;

/// What a scene is marked with: a shape, a colour and a word, since none of them reaches everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Denied,
    Held,
    Masked,
    Finding,
    Failed,
}

impl Mark {
    pub(super) const ALL: [Mark; 5] = [Mark::Denied, Mark::Held, Mark::Masked, Mark::Finding, Mark::Failed];

    pub(super) fn shape(self) -> char {
        match self {
            Mark::Denied => '▲',
            Mark::Held => '■',
            Mark::Masked => '◆',
            Mark::Finding => '●',
            Mark::Failed => '✕',
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Mark::Denied => "denied",
            Mark::Held => "held",
            Mark::Masked => "masked",
            Mark::Finding => "finding",
            Mark::Failed => "failed",
        }
    }

    fn of(row: &CallRow) -> Vec<Mark> {
        let (verdict, status) = (row.verdict.as_deref(), row.status.as_deref());
        let held = verdict == Some("hold");
        let denied =
            !held && (row.kind == RowKind::Refused || status == Some("refused")) || verdict == Some("deny");
        let failed = !denied
            && !matches!(status, None | Some("ok" | "accepted" | "open" | "input_required" | "unknown"));
        let marks =
            [denied.then_some(Mark::Denied), held.then_some(Mark::Held), failed.then_some(Mark::Failed)];
        marks.into_iter().flatten().collect()
    }
}

/// The run.
#[derive(Debug, Clone)]
pub(super) struct Film {
    pub(super) run: String,
    pub(super) principal: String,
    pub(super) agent: String,
    pub(super) servers: String,
    pub(super) calls: u64,
    /// How many scenes have each mark, and how many ended well.
    pub(super) counts: Vec<(Mark, usize)>,
    pub(super) ok: usize,
    pub(super) is_open: bool,
    pub(super) scenes: Vec<Scene>,
    /// Times at which something happened, in microseconds since the run's first record, in order.
    pub(super) moments: Vec<i64>,
}

/// A call with all its rounds, a refusal, or a message without an answer.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    /// Microseconds since the run's first record.
    pub(super) at: i64,
    pub(super) title: String,
    pub(super) method: String,
    pub(super) by_server: bool,
    pub(super) depth: usize,
    pub(super) marks: Vec<Mark>,
    /// How it ended, as shape and word.
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
    pub(super) duration: Option<i64>,
    pub(super) notes: u32,
    pub(super) rounds: Vec<Round>,
    /// The scene in which the same tool was called last.
    pub(super) before: Option<usize>,
    /// What a search looks at, in lower case.
    haystack: String,
    is_note: bool,
}

/// The records of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) asked: Seq,
    pub(super) answered: Option<Seq>,
}

impl Film {
    /// From the index's rows of a run.
    pub(super) fn of(run: &RunRow, rows: &[CallRow]) -> Film {
        let mut ordered: Vec<&CallRow> = rows.iter().collect();
        ordered.sort_by_key(|row| row.seq);
        let scenes = Scenes::of(run, &ordered).list;
        let mut moments: Vec<i64> =
            ordered.iter().flat_map(|row| [Some(row.t_start), row.t_end]).flatten().collect();
        moments.iter_mut().for_each(|t| *t = (*t - run.t_first).max(0));
        moments.sort_unstable();
        let with = |mark: Mark| scenes.iter().filter(|scene| scene.marks.contains(&mark)).count();
        let shown = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), |t| text::cut(t, TITLE));
        let agent = match &run.agent_version {
            Some(version) => format!("{} {}", shown(&run.agent), text::cut(version, 20)),
            None => shown(&run.agent),
        };
        Film {
            run: run.run.to_string(),
            principal: shown(&run.principal),
            agent,
            servers: text::cut(&run.servers.join(", "), TITLE),
            calls: run.calls,
            counts: Mark::ALL.into_iter().map(|mark| (mark, with(mark))).collect(),
            ok: scenes.iter().filter(|scene| scene.outcome.starts_with('✓')).count(),
            is_open: run.closed.is_none(),
            scenes,
            moments,
        }
    }
}

/// Scenes under construction.
struct Scenes {
    t_first: i64,
    names_servers: bool,
    list: Vec<Scene>,
    of_call: HashMap<CallId, usize>,
    of_seq: HashMap<Seq, usize>,
    last_of_tool: HashMap<(String, String), usize>,
}

impl Scenes {
    fn of(run: &RunRow, rows: &[&CallRow]) -> Scenes {
        let mut scenes = Scenes {
            t_first: run.t_first,
            // The head names the only one.
            names_servers: run.servers.len() > 1,
            list: Vec::new(),
            of_call: HashMap::new(),
            of_seq: HashMap::new(),
            last_of_tool: HashMap::new(),
        };
        for row in rows {
            let is_inner_note = row.kind == RowKind::Note && row.of.is_some();
            let later_round = row.call.filter(|_| row.round > 0).and_then(|call| scenes.of_call.get(&call));
            match later_round.copied() {
                _ if is_inner_note => {}
                Some(index) => scenes.continue_with(index, row),
                None => scenes.begin(row),
            }
        }
        scenes
    }

    fn begin(&mut self, row: &CallRow) {
        let index = self.list.len();
        let outer = row
            .parent
            .and_then(|parent| self.of_call.get(&parent))
            .or_else(|| row.of.and_then(|seq| self.of_seq.get(&seq)))
            .and_then(|outer| self.list.get(*outer));
        let depth = outer.map_or(0, |outer| (outer.depth + 1).min(MAX_DEPTH));
        let server = row.server.as_deref().filter(|_| self.names_servers);
        let at = (row.t_start - self.t_first).max(0);
        let scene = Scene { at, depth, ..Scene::of(row, server) };
        let before = (row.name.is_some() && row.kind != RowKind::Note)
            .then(|| self.last_of_tool.insert((scene.method.clone(), scene.title.clone()), index))
            .flatten();
        self.of_seq.insert(row.seq, index);
        if row.kind != RowKind::Note {
            self.of_call.extend(row.call.map(|call| (call, index)));
        }
        self.list.push(Scene { before, ..scene });
    }

    fn continue_with(&mut self, index: usize, row: &CallRow) {
        let Some(scene) = self.list.get_mut(index) else { return };
        let more = Mark::of(row).into_iter().filter(|mark| !scene.marks.contains(mark));
        let more: Vec<Mark> = more.collect();
        scene.marks.extend(more);
        scene.outcome = outcome(row);
        scene.reason = reason(row).or(scene.reason.take());
        scene.rounds.push(Round { asked: row.seq, answered: row.seq_end });
        scene.notes += row.notes;
        scene.haystack.push_str(&haystack(row));
    }
}

impl Scene {
    fn of(row: &CallRow, server: Option<&str>) -> Scene {
        let method = text::cut(row.method.as_deref().unwrap_or("message"), TITLE);
        let name = row.name.as_deref().or(row.method.as_deref()).unwrap_or("message");
        let title = match server {
            Some(server) => text::cut(&format!("{server}/{name}"), TITLE),
            None => text::cut(name, TITLE),
        };
        Scene {
            at: 0,
            title,
            method,
            by_server: row.direction.as_deref() == Some("server"),
            depth: 0,
            marks: Mark::of(row),
            outcome: outcome(row),
            reason: reason(row),
            duration: row.duration().filter(|_| row.kind == RowKind::Call),
            notes: row.notes,
            rounds: vec![Round { asked: row.seq, answered: row.seq_end }],
            before: None,
            haystack: haystack(row),
            is_note: row.kind == RowKind::Note,
        }
    }

    /// The shape in the list: the first mark's, else how it ended.
    pub(super) fn shape(&self) -> char {
        let ended = || self.outcome.chars().next().unwrap_or('·');
        match self.marks.first() {
            _ if self.is_note => '·',
            Some(mark) => mark.shape(),
            None => ended(),
        }
    }

    /// Whether a search for a text, in lower case, finds it.
    pub(super) fn has(&self, sought: &str) -> bool {
        self.haystack.contains(sought)
    }

    /// The first record.
    pub(super) fn seq(&self) -> Seq {
        self.rounds.first().map_or(Seq(0), |round| round.asked)
    }
}

fn reason(row: &CallRow) -> Option<String> {
    row.reason.as_deref().or(row.error.as_deref()).map(|reason| text::cut(reason, 200))
}

fn haystack(row: &CallRow) -> String {
    let parts = [&row.server, &row.method, &row.name, &row.args, &row.result, &row.error, &row.reason];
    let texts: Vec<&str> = parts.into_iter().filter_map(|part| part.as_deref()).collect();
    texts.join("\n").to_lowercase()
}
