//! What a policy says of names and types, checked against what servers offer.

mod names;
mod shapes;
mod types;

use std::ops::Range;

use crate::bundle::{ByServer, Pin};
use crate::catalog::Catalog;
use crate::diagnostic::Mistake;
use crate::parse::Written;
use shapes::Shapes;

/// Checks policies; finds all mistakes.
pub(crate) fn check(
    written: &[Written<'_>],
    catalog: &Catalog,
    tools: &ByServer<Pin>,
    mistakes: &mut Vec<Mistake>,
) {
    let shapes = Shapes::of(catalog, tools);
    let mut found = Found { written, mistakes };
    for (number, written) in written.iter().enumerate() {
        names::check(number, written, catalog, &mut found);
        names::arguments(number, written, &shapes, &mut found);
    }
    types::check(written, &shapes, &mut found);
}

/// Mistakes as they are found.
struct Found<'a, 'b> {
    written: &'a [Written<'b>],
    mistakes: &'a mut Vec<Mistake>,
}

impl Found<'_, '_> {
    fn add(&mut self, policy: usize, range: Range<usize>, text: String, help: Option<String>) {
        if let Some(written) = self.written.get(policy) {
            self.mistakes.push(Mistake::at(written.source, range, text).help(help));
        }
    }

    /// Whether a mistake is known that touches this part of a policy.
    fn touches(&self, policy: usize, range: &Range<usize>) -> bool {
        self.written.get(policy).is_some_and(|written| {
            self.mistakes.iter().any(|mistake| {
                mistake.source == written.source
                    && mistake.range.start < range.end
                    && range.start < mistake.range.end
            })
        })
    }

    /// Whether a policy has a mistake.
    fn has(&self, policy: usize) -> bool {
        let whole = self.written.get(policy).and_then(|written| {
            let tokens = &written.statement.tokens;
            Some(tokens.first()?.at..tokens.last()?.range().end)
        });
        whole.is_some_and(|whole| self.touches(policy, &whole))
    }
}
