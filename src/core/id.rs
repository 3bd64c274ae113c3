//! Names that may become a path component: job ids and queue names.
//!
//! The file name is the job's id, so the rule for ids is the rule for safe file names: 1 to 128 bytes of UTF-8,
//! no `/`, no control character, not starting with `.` or `-`. Nothing else in pirn turns text into a path
//! component of the spool.

use super::short::ShortText;
use serde::{Serialize, Serializer};
use std::fmt;

/// The longest id, in bytes. It leaves room for `~N` and `.reason` within the 255 bytes of a file name.
pub const MAX_ID_BYTES: usize = 128;

/// The queue of files that lie directly in `pending/`.
pub const DEFAULT_QUEUE: &str = "default";

/// Why a name is no id. `Display` completes the sentence "the name ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdError {
    /// No bytes at all.
    Empty,
    /// More than [`MAX_ID_BYTES`] bytes.
    TooLong(usize),
    /// Not UTF-8.
    NotUtf8,
    /// Contains `/`.
    Slash,
    /// Contains a control character (newline included).
    Control,
    /// Starts with `.`: a hidden file belongs to another program.
    LeadingDot,
    /// Starts with `-`: a command would take it for an option.
    LeadingDash,
    /// Ends like a half-written file (see [`is_foreign`]) or like a job's stderr log (`~err`).
    Reserved,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "is empty"),
            Self::TooLong(n) => write!(f, "is {n} bytes long; {MAX_ID_BYTES} is the most"),
            Self::NotUtf8 => write!(f, "is not UTF-8"),
            Self::Slash => write!(f, "contains a slash"),
            Self::Control => write!(f, "contains a control character"),
            Self::LeadingDot => write!(f, "starts with a dot"),
            Self::LeadingDash => write!(f, "starts with a dash"),
            Self::Reserved => write!(f, "ends in ~, ~err, .tmp, .part or .swp, which is reserved"),
        }
    }
}

impl std::error::Error for IdError {}

/// True for the name of a file that another program is writing, or hides: pirn leaves it alone.
pub fn is_foreign(name: &[u8]) -> bool {
    name.starts_with(b".")
        || [&b"~"[..], b".tmp", b".part", b".swp"]
            .iter()
            .any(|end| name.ends_with(end))
}

fn check(name: &str) -> Result<(), IdError> {
    match name.as_bytes().first() {
        None => return Err(IdError::Empty),
        Some(b'.') => return Err(IdError::LeadingDot),
        Some(b'-') => return Err(IdError::LeadingDash),
        Some(_) => {}
    }
    if name.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong(name.len()));
    }
    if name.contains('/') {
        return Err(IdError::Slash);
    }
    if name.chars().any(char::is_control) {
        return Err(IdError::Control);
    }
    if is_foreign(name.as_bytes()) || name.ends_with("~err") {
        return Err(IdError::Reserved);
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(ShortText);

        impl $name {
            /// Checks `text`. Errors say which rule it breaks.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The same for a file name as the kernel gives it.
            pub fn from_bytes(name: &[u8]) -> Result<Self, IdError> {
                Self::new(std::str::from_utf8(name).map_err(|_| IdError::NotUtf8)?)
            }

            /// The text, which is safe as one path component.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
    };
}

name_type! {
    /// A job's id: its file name in every directory of the spool.
    JobId
}

name_type! {
    /// A queue's name: a sub-directory of `pending/`, or [`DEFAULT_QUEUE`].
    QueueName
}

impl QueueName {
    /// True for the queue that is `pending/` itself.
    pub fn is_default(&self) -> bool {
        self.as_str() == DEFAULT_QUEUE
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self(DEFAULT_QUEUE.into())
    }
}

impl JobId {
    /// No job's id: an empty text, which [`Self::new`] refuses.
    pub(in crate::core) const NONE: Self = Self(ShortText::EMPTY);

    /// The name of the `n`-th older run of this id (`backup~1`). Errors: it would be too long.
    pub fn older(&self, n: u32) -> Result<Self, IdError> {
        Self::new(&format!("{self}~{n}"))
    }
}

/// Keeps the first `most` items in this order, unsorted.
pub fn keep_first<T>(
    items: &mut Vec<T>,
    most: usize,
    order: impl FnMut(&T, &T) -> std::cmp::Ordering,
) {
    if items.len() > most {
        items.select_nth_unstable_by(most, order);
        items.truncate(most);
    }
}

/// Compares ids as people do: runs of digits by value, so that `9` comes before `10`.
pub fn natural_order(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (da, ra) = split_digits(a);
        let (db, rb) = split_digits(b);
        if !da.is_empty() && !db.is_empty() {
            let (ta, tb) = (da.trim_start_matches('0'), db.trim_start_matches('0'));
            let by_value = ta
                .len()
                .cmp(&tb.len())
                .then_with(|| ta.cmp(tb))
                .then_with(|| da.len().cmp(&db.len()));
            if by_value.is_ne() {
                return by_value;
            }
            (a, b) = (ra, rb);
            continue;
        }
        match (a.chars().next(), b.chars().next()) {
            (None, None) => return std::cmp::Ordering::Equal,
            (ca, cb) if ca != cb => return ca.cmp(&cb),
            (Some(c), _) => (a, b) = (&a[c.len_utf8()..], &b[c.len_utf8()..]),
            (None, Some(_)) => return std::cmp::Ordering::Less,
        }
    }
}

fn split_digits(s: &str) -> (&str, &str) {
    s.split_at(s.bytes().take_while(u8::is_ascii_digit).count())
}

/// True if `pattern` is the queue's name, or a prefix of it followed by `*`.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    #[test]
    fn ids_follow_the_rule() {
        for good in [
            "1",
            "backup",
            "a b",
            "naïve",
            "x~1",
            "build.sh",
            &"x".repeat(128),
        ] {
            assert!(JobId::new(good).is_ok(), "{good:?}");
        }
        for (bad, why) in [
            ("", IdError::Empty),
            (".x", IdError::LeadingDot),
            ("-x", IdError::LeadingDash),
            ("a/b", IdError::Slash),
            ("a\nb", IdError::Control),
            ("a~", IdError::Reserved),
            ("a.part", IdError::Reserved),
            ("a~err", IdError::Reserved),
        ] {
            assert_eq!(JobId::new(bad), Err(why), "{bad:?}");
        }
        assert_eq!(JobId::new(&"x".repeat(129)), Err(IdError::TooLong(129)));
        assert_eq!(JobId::from_bytes(b"\xff"), Err(IdError::NotUtf8));
    }

    #[test]
    fn order_is_natural() {
        assert_eq!(natural_order("9", "10"), Ordering::Less);
        assert_eq!(natural_order("a10", "a9"), Ordering::Greater);
        assert_eq!(natural_order("a", "b"), Ordering::Less);
        assert_eq!(natural_order("07", "7"), Ordering::Greater);
        assert_eq!(natural_order("x", "x"), Ordering::Equal);
        assert_eq!(natural_order("x1y", "x1"), Ordering::Greater);
    }

    #[test]
    fn patterns() {
        assert!(matches("*", "mail"));
        assert!(matches("ma*", "mail"));
        assert!(!matches("ma", "mail"));
    }
}
