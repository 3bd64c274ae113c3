//! Who asks over HTTP, and what they may do.

use std::fmt;

/// One right. Each is asked for by name: see the table in pirn(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Look at jobs, logs, queues.
    Read,
    /// Start what is in `scripts/`, call what `http.url_allow` allows; cancel, retry, hold and remove jobs.
    Push,
    /// Start any command. Includes `push`.
    Run,
    /// Change queues and settings. Includes all others.
    Admin,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Push, Self::Run, Self::Admin];

    /// The word in the token file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Push => "push",
            Self::Run => "run",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Push => 2,
            Self::Run => 4,
            Self::Admin => 8,
        }
    }

    /// The right and what it includes.
    fn bits(self) -> u8 {
        match self {
            Self::Read | Self::Push => self.bit(),
            Self::Run => self.bit() | Self::Push.bit(),
            Self::Admin => 15,
        }
    }
}

/// A set of rights.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// These and what they include.
    pub fn of(rights: &[Right]) -> Self {
        Self(rights.iter().fold(0, |bits, right| bits | right.bits()))
    }

    /// Reads `read,push`. An empty text is no right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rights = Self::NONE;
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            let right = Right::ALL.into_iter().find(|r| r.as_str() == word);
            let right = right.ok_or_else(|| {
                format!("expected rights out of read, push, run, admin, got {word:?}")
            })?;
            rights.0 |= right.bits();
        }
        Ok(rights)
    }

    /// True if this right is among them.
    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// Those of them that are among these, too.
    #[must_use]
    pub fn only_of(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// What is left of them for a request that must change nothing.
    #[must_use]
    pub fn only_read(self) -> Self {
        Self(self.0 & Right::Read.bit())
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = Right::ALL
            .into_iter()
            .filter(|right| self.has(*right))
            .map(Right::as_str)
            .collect();
        f.write_str(&words.join(","))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token; `None` without one.
    pub name: Option<String>,
    /// What the token, or the listener, allows.
    pub granted: Rights,
    /// Of that, what holds for this request: one with a safe method can only read.
    pub rights: Rights,
}

impl Caller {
    /// True if the caller may do this with this request. Nothing but `Read` is ever allowed to GET, HEAD and
    /// OPTIONS: what a link can call changes nothing.
    pub fn may(&self, right: Right) -> bool {
        self.rights.has(right)
    }

    /// The status that refuses this caller something: 401 for whoever shows no token, and may have one; else 403
    /// (RFC 9110, sections 15.5.2 and 15.5.4).
    pub fn refusal(&self) -> u16 {
        match self.name {
            None => 401,
            Some(_) => 403,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rights_include_lesser_ones() {
        let run = Rights::parse("run").unwrap();
        assert!(run.has(Right::Push) && !run.has(Right::Read) && !run.has(Right::Admin));
        assert_eq!(
            Rights::parse(" read, admin").unwrap().to_string(),
            "read,push,run,admin"
        );
        assert_eq!(Rights::parse("").unwrap(), Rights::NONE);
        assert!(Rights::parse("write").unwrap_err().contains("write"));
        assert_eq!(
            Rights::of(&[Right::Admin]).only_read(),
            Rights::of(&[Right::Read])
        );
    }
}
