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

/// The part of a line that a terminal shows in the end: texts that end in a carriage return are written over.
pub fn written_last(line: &str) -> &str {
    let line = line.trim_end_matches('\r');
    line.rsplit('\r').next().unwrap_or(line)
}

/// Text of a job as a terminal may show it: with spaces for tabs, and question marks for the characters that it would
/// obey. Those that turn the direction of text are among them: they could show another command than the one that runs.
pub fn tame(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        let width = if c == '\t' { TAB - column % TAB } else { 1 };
        match c {
            '\t' => plain.extend(std::iter::repeat_n(' ', width)),
            c if c.is_control() || turns_direction(c) => plain.push('?'),
            c => plain.push(c),
        }
        column += width;
    }
    plain
}

/// The columns from one tab stop to the next.
const TAB: usize = 8;

/// True for the marks, embeddings, overrides and isolates of UAX 9, the bidirectional algorithm of Unicode.
fn turns_direction(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// A line of a log as a terminal may show it: what it shows in the end, without escape sequences.
pub fn line_of_log(line: &str) -> String {
    tame(&without_escapes(written_last(line)))
}

/// A message about errors of the system without their numbers, which say nothing more than the words before them:
/// `Permission denied (os error 13)`.
pub fn without_codes(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match part[digits..].strip_prefix(')').filter(|_| digits > 0) {
            Some(rest) => plain.push_str(rest),
            None => plain.extend([" (os error ", part]),
        }
    }
    plain
}

/// The text without the sequences by which a terminal is told colours and the like (ECMA-48).
pub fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\x1b', Some('[')) => {
                rest.next();
                rest.by_ref().find(|c| ('@'..='~').contains(c));
            }
            // Titles and links end with BEL or ESC \.
            ('\x1b', Some(']')) => {
                let end = rest.by_ref().find(|c| ['\x07', '\x1b'].contains(c));
                rest.next_if(|c| end == Some('\x1b') && *c == '\\');
            }
            ('\x1b', Some('(' | ')')) => drop(rest.nth(1)),
            ('\x1b', Some('=' | '>' | '7' | '8' | 'M')) => drop(rest.next()),
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{cut_to, line_of_log, quoted, tame, without_codes, without_escapes};

    #[test]
    fn a_terminal_obeys_nothing_in_a_tame_text() {
        for (text, plain) in [
            ("a\tb\u{e9}\tc", "a       b\u{e9}      c"),
            ("a\x1b[31mb\n\u{9b}", "a?[31mb??"),
            (
                "rm \u{202e}x\u{202c} \u{2066}y\u{2069}\u{200f}\u{61c}",
                "rm ?x? ?y???",
            ),
            ("\u{200d}\u{5d0}", "\u{200d}\u{5d0}"),
        ] {
            assert_eq!(tame(text), plain, "{text:?}");
        }
        assert_eq!(line_of_log("1 %\r2 %\t\x1b[1mx\x1b[0m\r"), "2 %     x");
    }

    #[test]
    fn escape_sequences_are_left_out() {
        for (text, plain) in [
            ("\x1b[1;32mok\x1b[0m!", "ok!"),
            (
                "\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1b]8;;\x1b\\c",
                "abc",
            ),
            ("a\x1b(Bb\x1b=c", "abc"),
            ("a\x1b[", "a"),
            ("a\x1bb\x1b", "a\x1bb\x1b"),
        ] {
            assert_eq!(without_escapes(text), plain, "{text:?}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"ä".repeat(80)), format!("\"{}\"", "ä".repeat(80)));
        assert_eq!(quoted(&"ä".repeat(81)), format!("\"{}…\"", "ä".repeat(80)));
        assert_eq!(cut_to("abc", 3), "abc");
        assert_eq!(cut_to("abc", 2), "ab…");
    }

    #[test]
    fn numbers_of_errors_are_left_out() {
        for (text, plain) in [
            (
                "x: No such file or directory (os error 2)",
                "x: No such file or directory",
            ),
            ("a (os error 2): b (os error 13); c", "a: b; c"),
            ("a (os error x)", "a (os error x)"),
            ("a (os error ) (os error 2", "a (os error ) (os error 2"),
            ("", ""),
        ] {
            assert_eq!(without_codes(text), plain);
        }
        let e = std::io::Error::from_raw_os_error(13);
        assert_eq!(without_codes(&e.to_string()), "Permission denied");
    }
}
