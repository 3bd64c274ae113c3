//! Text that is mostly short. Short text is kept in place, so that a million ids are not a million allocations.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The longest text that is kept in place, in bytes: with it, the type has the size of three words.
const IN_PLACE: usize = 22;

/// A text that does not change.
#[derive(Clone)]
pub struct ShortText(Kept);

#[derive(Clone)]
enum Kept {
    /// The length, and that many bytes of UTF-8.
    Here(u8, [u8; IN_PLACE]),
    Elsewhere(Box<str>),
}

impl ShortText {
    /// The text of no bytes.
    pub const EMPTY: Self = Self(Kept::Here(0, [0; IN_PLACE]));

    /// The text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // The bytes come from a `str`, so that the default is never used.
            Kept::Here(length, bytes) => bytes
                .get(..usize::from(*length))
                .and_then(|bytes| str::from_utf8(bytes).ok())
                .unwrap_or_default(),
            Kept::Elsewhere(text) => text,
        }
    }
}

impl From<&str> for ShortText {
    fn from(text: &str) -> Self {
        let mut here = [0; IN_PLACE];
        match (u8::try_from(text.len()), here.get_mut(..text.len())) {
            (Ok(length), Some(bytes)) => {
                bytes.copy_from_slice(text.as_bytes());
                Self(Kept::Here(length, here))
            }
            (_, _) => Self(Kept::Elsewhere(text.into())),
        }
    }
}

impl PartialEq for ShortText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ShortText {}

impl PartialOrd for ShortText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShortText {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for ShortText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::{IN_PLACE, ShortText};

    #[test]
    fn any_length_is_kept() {
        let long = "ä".repeat(40);
        for end in (0..=long.len()).step_by(2) {
            let text = long.get(..end).unwrap_or_default();
            assert_eq!(ShortText::from(text).as_str(), text);
        }
        let (most, more) = ("x".repeat(IN_PLACE), "x".repeat(IN_PLACE + 1));
        assert!(ShortText::from(most.as_str()) < ShortText::from(more.as_str()));
        assert_ne!(ShortText::from("a"), ShortText::from("b"));
    }

    #[test]
    fn three_words_hold_it() {
        assert!(size_of::<Option<ShortText>>() <= 3 * size_of::<usize>());
    }
}
