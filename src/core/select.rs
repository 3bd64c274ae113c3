//! Words that stand for jobs where an id is expected: `last`, `last~2`, `3-7`. All of them can be ids themselves; a job
//! that has the word as its id comes first.

use super::id::JobId;
use std::ops::RangeInclusive;

/// A word that stands for jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// `last~N`: the job that is older than just N others; `last` is `last~0`.
    Last(usize),
    /// `N-M`: the jobs with these numbers.
    Numbers(RangeInclusive<u64>),
}

impl Selector {
    /// The meaning of a word, if it has one beside that of an id.
    pub fn of(word: &JobId) -> Option<Self> {
        let word = word.as_str();
        if let Some(rest) = word.strip_prefix("last") {
            return match rest {
                "" => Some(Self::Last(0)),
                _ => Some(Self::Last(digits(rest.strip_prefix('~')?)?)),
            };
        }
        let (from, to) = word.split_once('-')?;
        let range = digits(from)?..=digits(to)?;
        (!range.is_empty()).then_some(Self::Numbers(range))
    }
}

/// A number in digits alone: `parse` takes a sign too.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok())?
}

/// The number that an id is. `007` is none: it is a name beside `7`.
pub fn number(id: &JobId) -> Option<u64> {
    let text = id.as_str();
    let is_canonical = text == "0" || !text.starts_with('0');
    is_canonical.then(|| digits(text))?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(word: &str) -> Option<Selector> {
        Selector::of(&JobId::new(word).unwrap())
    }

    #[test]
    fn words() {
        assert_eq!(of("last"), Some(Selector::Last(0)));
        assert_eq!(of("last~2"), Some(Selector::Last(2)));
        assert_eq!(of("3-7"), Some(Selector::Numbers(3..=7)));
        assert_eq!(of("7-7"), Some(Selector::Numbers(7..=7)));
        for id in [
            "7",
            "Last",
            "latest",
            "last~x",
            "last~+1",
            "last~-1",
            "last2",
            "last~99999999999999999999",
            "7-3",
            "3-",
            "3-x",
            "3-7-9",
            "+3-7",
            "3-+7",
            "backup~1",
            "3 - 7",
            "1-99999999999999999999",
        ] {
            assert_eq!(of(id), None, "{id}");
        }
    }

    #[test]
    fn numbers() {
        for (id, expected) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("007", None),
            ("+7", None),
            ("7~1", None),
            ("x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(number(&JobId::new(id).unwrap()), expected, "{id}");
        }
    }
}
