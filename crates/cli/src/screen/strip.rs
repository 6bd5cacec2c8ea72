//! Time with the idle stretches folded: where a moment stands on a line of so many columns, and what time a playhead has
//! after playing for a while. Pure.

use std::ops::Range;

use crate::read::text;

/// A stretch without a record that is longer than this (microseconds) is folded.
const IDLE: i64 = 2_000_000;

/// How long the playhead takes over a fold at single speed.
const FOLD: i64 = 500_000;

/// A run's time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Strip {
    pieces: Vec<Piece>,
}

/// A stretch of time, in microseconds since the run's first record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) time: Range<i64>,
    /// What a fold says; none for time that is shown as it went.
    pub(super) label: Option<String>,
}

/// A piece and the columns that it has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) piece: Piece,
    pub(super) columns: Range<usize>,
}

impl Strip {
    /// From the moments at which something happened, in order.
    pub(super) fn of(moments: &[i64]) -> Strip {
        let mut pieces = Vec::new();
        let mut from = moments.first().copied().unwrap_or(0);
        let mut last = from;
        for moment in moments.iter().copied() {
            if moment - last > IDLE {
                pieces.push(Piece { time: from..last, label: None });
                let label = Some(format!("⋯{}⋯", text::duration(moment - last)));
                pieces.push(Piece { time: last..moment, label });
                from = moment;
            }
            last = moment;
        }
        pieces.push(Piece { time: from..last, label: None });
        Strip { pieces }
    }

    /// The first and the last moment.
    pub(super) fn span(&self) -> Range<i64> {
        let first = self.pieces.first().map_or(0, |piece| piece.time.start);
        first..self.pieces.last().map_or(0, |piece| piece.time.end)
    }

    /// Where the playhead is after playing for so many microseconds.
    pub(super) fn advance(&self, mut at: i64, mut play: i64) -> i64 {
        for piece in &self.pieces {
            if play <= 0 || at >= piece.time.end {
                continue;
            }
            at = at.max(piece.time.start);
            let left = piece.time.end - at;
            let length = (piece.time.end - piece.time.start).max(1);
            // What is left of a fold, in the time that crossing it takes.
            let to_cross = if piece.label.is_some() { left.saturating_mul(FOLD) / length } else { left };
            if play < to_cross {
                let step = if piece.label.is_some() { play.saturating_mul(length) / FOLD } else { play };
                return at + step;
            }
            play -= to_cross;
            at = piece.time.end;
        }
        at
    }

    /// The pieces on a line of so many columns: folds get their label, or `⋯` where there is no room for it; the rest is
    /// shared by time, at least one column each.
    pub(super) fn place(&self, width: usize) -> Vec<Placed> {
        let labels = |short: bool| -> usize {
            let folds = self.pieces.iter().filter_map(|piece| piece.label.as_deref());
            folds.map(|label| if short { 1 } else { text::width(label) }).sum()
        };
        let shown = self.pieces.iter().filter(|piece| piece.label.is_none());
        let short = labels(false) + shown.clone().count() * 4 > width;
        let room = width.saturating_sub(labels(short)).saturating_sub(shown.clone().count());
        let total: i64 = shown.map(|piece| piece.time.end - piece.time.start).sum();
        let mut placed: Vec<Placed> = Vec::new();
        let (mut column, mut passed) = (0, 0_i64);
        for piece in &self.pieces {
            let columns = match &piece.label {
                Some(_) if short => 1,
                Some(label) => text::width(label),
                None => {
                    let before = share(passed, total, room);
                    passed += piece.time.end - piece.time.start;
                    1 + share(passed, total, room) - before
                }
            };
            let end = (column + columns).min(width);
            placed.push(Placed { piece: piece.clone(), columns: column.min(width)..end });
            column = end;
        }
        placed
    }
}

fn share(part: i64, whole: i64, columns: usize) -> usize {
    let (part, whole) = (part.max(0).unsigned_abs(), whole.max(1).unsigned_abs());
    let columns = u64::try_from(columns).unwrap_or(0);
    usize::try_from(u128::from(part) * u128::from(columns) / u128::from(whole)).unwrap_or(0)
}

/// The column of a moment among placed pieces.
pub(super) fn column_of(placed: &[Placed], at: i64) -> usize {
    let after = placed.partition_point(|each| each.piece.time.end < at);
    let Some(Placed { piece, columns }) = placed.get(after).or(placed.last()) else { return 0 };
    let length = piece.time.end - piece.time.start;
    let inside = share(at - piece.time.start, length, columns.len().saturating_sub(1));
    (columns.start + inside).min(columns.end.saturating_sub(1).max(columns.start))
}

#[cfg(test)]
mod tests {
    use super::{Strip, column_of};

    const S: i64 = 1_000_000;

    #[test]
    fn idle_time_is_folded() {
        let strip = Strip::of(&[0, S, 2 * S, 254 * S, 255 * S]);
        let placed = strip.place(40);
        let shown: Vec<_> = placed.iter().map(|p| (p.piece.label.as_deref(), p.columns.clone())).collect();
        assert_eq!(shown, [(None, 0..18), (Some("⋯4 min 12 s⋯"), 18..30), (None, 30..40)]);
        let columns = [0, S, 2 * S, 100 * S, 254 * S, 255 * S].map(|at| column_of(&placed, at));
        assert_eq!(columns, [0, 8, 17, 22, 29, 39]);
        let narrow = strip.place(10);
        assert_eq!(narrow.iter().map(|p| p.columns.len()).collect::<Vec<_>>(), [5, 1, 4]);
        assert_eq!(strip.span(), 0..255 * S);
    }

    #[test]
    fn more_pieces_than_columns() {
        let moments: Vec<i64> = (0..200).map(|n| n * 10 * S).collect();
        let placed = Strip::of(&moments).place(40);
        assert!(placed.iter().all(|p| p.columns.end <= 40));
        assert!(column_of(&placed, 1_990 * S) <= 40);
    }

    #[test]
    fn the_playhead_hurries_over_folds() {
        let strip = Strip::of(&[0, S, 101 * S, 102 * S]);
        assert_eq!(strip.advance(0, S / 2), S / 2);
        assert_eq!(strip.advance(0, S + S / 4), 51 * S);
        assert_eq!(strip.advance(51 * S, S / 4 + S / 2), 101 * S + S / 2);
        assert_eq!(strip.advance(0, 100 * S), 102 * S);
        assert_eq!(Strip::of(&[]).advance(0, S), 0);
        assert_eq!(column_of(&Strip::of(&[]).place(10), 5), 0);
    }
}
