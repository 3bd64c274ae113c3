//! The progress that a running job tells of.

use super::quote::{cut_to, tame};
use std::fmt::{self, Display};

/// How far a running job is, as it says itself.
#[derive(Debug, Clone, PartialEq)]
pub struct JobProgress {
    /// From 0 to 1.
    pub done: f64,
    /// Its text, without control characters; empty if there is none.
    pub text: String,
}

/// Most characters of the text that are kept.
const MOST_TEXT: usize = 100;

impl JobProgress {
    /// Reads the last complete line of a text: a number from 0 to 1, or a percentage, and after a space any text. `None`
    /// if that line is something else. `is_whole` says whether the text begins with a line.
    pub fn read(bytes: &[u8], is_whole: bool) -> Option<Self> {
        let end = bytes.iter().rposition(|byte| *byte == b'\n')?;
        let complete = bytes.get(..end)?;
        let line = match complete.iter().rposition(|byte| *byte == b'\n') {
            Some(before) => complete.get(before + 1..)?,
            None if is_whole => complete,
            None => return None,
        };
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        let (number, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let done = match number.strip_suffix('%') {
            Some(percent) => percent.parse::<f64>().ok()? / 100.0,
            None => number.parse().ok()?,
        };
        // An infinite number is not in the range, and NaN is not either.
        (0.0..=1.0).contains(&done).then(|| Self {
            // Without the digits that dividing by 100 adds, and without a sign.
            done: (done.abs() * 1e6).round() / 1e6,
            text: cut_to(&tame(text.trim()), MOST_TEXT).into_owned(),
        })
    }

    /// The percentage, rounded down: 100 % is only shown of what is done.
    pub fn percent(&self) -> String {
        format!("{}%", (self.done * 100.0 + 1e-6).floor())
    }
}

/// The percentage and the text.
impl Display for JobProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.text.is_empty() { "" } else { " " };
        write!(f, "{}{gap}{}", self.percent(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::JobProgress;

    /// The number and the text that are read from a whole file.
    fn read(text: &[u8]) -> Option<(f64, String)> {
        JobProgress::read(text, true).map(|progress| (progress.done, progress.text))
    }

    #[test]
    fn the_last_complete_line_counts() {
        let just = |done| Some((done, String::new()));
        assert_eq!(read(b"0.42\n"), just(0.42));
        assert_eq!(
            read(b"0.1 a\n  42%\t b  c \r\n0.5"),
            Some((0.42, "b  c".into()))
        );
        assert_eq!(read(b"1\n"), just(1.0));
        assert_eq!(read(b"-0\n"), just(0.0));
        assert_eq!(read(b"29%\n"), just(0.29));
        assert_eq!(read(b"0.5"), None);
        assert_eq!(read(b""), None);
        assert_eq!(read(b"0.5\n\n"), None);
        // The beginning of its line is not there.
        assert_eq!(JobProgress::read(b"0.5\n", false), None);
        assert!(JobProgress::read(b"9\n0.5\n", false).is_some());
    }

    #[test]
    fn only_numbers_from_0_to_1_count() {
        for text in [
            "nan", "NaN%", "inf", "-inf%", "1e999", "-0.1", "-1%", "1.01", "101%", "42", "%", "x",
            "0.5x", "0,5", "0x1", "--1",
        ] {
            assert_eq!(read(format!("{text} text\n").as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_text_is_tamed() {
        let text = |bytes: &[u8]| read(bytes).map(|(_, text)| text);
        assert_eq!(
            text(b"1 \x1b[2J\x07\xff\n").as_deref(),
            Some("?[2J?\u{fffd}")
        );
        let long = text(format!("1 {}\n", "ä".repeat(101)).as_bytes());
        assert_eq!(long, Some(format!("{}…", "ä".repeat(100))));
    }

    #[test]
    fn percentages_are_rounded_down() {
        let percent = |done: &str| {
            let read = JobProgress::read(format!("{done}\n").as_bytes(), true);
            read.map(|progress| progress.percent())
        };
        assert_eq!(percent("0.29").as_deref(), Some("29%"));
        assert_eq!(percent("0.999").as_deref(), Some("99%"));
        assert_eq!(percent("0.9999999").as_deref(), Some("100%"));
        assert_eq!(percent("0").as_deref(), Some("0%"));
    }
}
