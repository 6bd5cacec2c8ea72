//! Characters that act or hide where a text is shown, and the text with each of them written out.
//!
//! Invariant: [`visible`] gives no control character, no bidirectional control, and nothing that shows as nothing.

use std::fmt::Write as _;

/// Writes each character that would act or hide as its code point, `‹U+202E›`.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hides(c) {
            let _ = write!(out, "‹U+{:04X}›", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Controls, bidirectional marks and isolates, zero-width and invisible characters, tags, variation selectors,
/// fillers, and the separators that break lines (Unicode 16, general categories Cc, Cf, Zl, Zp and
/// Default_Ignorable_Code_Point).
pub fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{115f}' | '\u{1160}'
            | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_acts_or_hides_is_written_out() {
        for (text, expected) in [
            ("plain ü 😀 \"quoted\"", "plain ü 😀 \"quoted\""),
            ("a\u{202e}b", "a‹U+202E›b"),
            ("\u{1b}[2J\r\n", "‹U+001B›[2J‹U+000D›‹U+000A›"),
            ("x\u{200b}y\u{e0041}", "x‹U+200B›y‹U+E0041›"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }
}
