//! Text from others in messages: cut to a length that a reader bears.

use std::borrow::Cow;

/// Most characters of a name or a value that are shown.
const MOST: usize = 80;

/// The text in quotes, control characters escaped; cut if it is long.
pub fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

/// The text, or the beginning of it and an ellipsis.
pub fn cut(text: &str) -> Cow<'_, str> {
    cut_to(text, MOST)
}

/// The same with another length in characters.
pub fn cut_to(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// Text of a job with its control characters replaced, so that a terminal does not obey them.
pub fn tame(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{cut_to, quoted};

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"ä".repeat(80)), format!("\"{}\"", "ä".repeat(80)));
        assert_eq!(quoted(&"ä".repeat(81)), format!("\"{}…\"", "ä".repeat(80)));
        assert_eq!(cut_to("abc", 3), "abc");
        assert_eq!(cut_to("abc", 2), "ab…");
    }
}
