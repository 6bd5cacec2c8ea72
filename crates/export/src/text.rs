//! Texts that somebody else wrote, made safe to show and short. Pure.

use policy::unseen::visible;

/// A text with all that hides in it visible, cut with `…` to at most so many characters.
pub(crate) fn short(text: &str, most: usize) -> String {
    let beginning: String = text.chars().take(most + 1).collect();
    let safe = visible(&beginning);
    if safe.chars().count() <= most && beginning.len() == text.len() {
        return safe;
    }
    safe.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
