//! What stands around a record: the round that it began, what its run did before, what was let through because of it.

use std::num::NonZeroU32;

use ledger::Seq;

use crate::error::IndexError;
use crate::find::{Order, Page};
use crate::index::Index;
use crate::query::{Comparison, Contained, Exact, Expr, HexPrefix, Metric, Pattern, Piece, Query, Term};
use crate::row::CallRow;

impl Index {
    /// The round or refusal that a record of the newest log began; `None` if the index does not have it (yet).
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn begun_by(&self, seq: Seq) -> Result<Option<CallRow>, IndexError> {
        Ok(self.matching(&Query::default(), &[seq])?.pop())
    }

    /// What the run of a row did before it, the newest first.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn before(&self, row: &CallRow, most: NonZeroU32) -> Result<Vec<CallRow>, IndexError> {
        let Some(run) = row.run else { return Ok(Vec::new()) };
        let first = self.run(run)?.map_or(i64::MIN, |run| run.t_first);
        let query = Query::from(Expr::Term(Term::Run(HexPrefix::of(&run.0))));
        let page = Page { order: Order::Newest, limit: most, after: Some(row.cursor()) };
        self.search_within(&query, &page, &(first..=row.t_start))
    }

    /// Rounds of the same tool, prompt or resource for the same principal, from a row on until a time (microseconds), that were let
    /// through for a reason that holds these words; the oldest first.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn allowed_since(
        &self,
        row: &CallRow,
        words: &str,
        until: i64,
        most: NonZeroU32,
    ) -> Result<Vec<CallRow>, IndexError> {
        let exactly = |field, text: &str| {
            Expr::Term(Term::Exact(field, Pattern::new(vec![Piece::Literal(text.to_owned())])))
        };
        let mut parts = vec![
            exactly(Exact::Verdict, "allow"),
            Expr::Term(Term::Number(Metric::Time, Comparison::AtLeast, row.t_start)),
            Expr::Term(Term::Number(Metric::Time, Comparison::AtMost, until)),
            Expr::Term(Term::Contained(
                Contained::Reason,
                Pattern::new(vec![Piece::Literal(words.to_owned())]),
            )),
        ];
        for (field, text) in
            [(Exact::Principal, &row.principal), (Exact::Server, &row.server), (Exact::Name, &row.name)]
        {
            parts.extend(text.as_deref().map(|text| exactly(field, text)));
        }
        let query = Expr::all(parts).map(Query::from).unwrap_or_default();
        let page = Page { order: Order::Oldest, limit: most, after: None };
        self.search(&query, &page)
    }
}
