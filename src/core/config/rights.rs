//! The callers of the HTTP server and their rights.

use super::network::IpNetwork;
use core::net::IpAddr;
use std::fmt;

/// One right. The table in pirn(1) says which request needs which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Look at jobs, logs, queues.
    Read,
    /// Start programs in `scripts/`, call hosts in `http.url_allow`; cancel, retry, hold and remove jobs.
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

    /// The right and those that it includes.
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
    /// No right at all.
    pub const NONE: Self = Self(0);

    /// These rights and those that they include.
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

    /// The rights that are in both sets.
    #[must_use]
    pub fn only_of(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// The rights that are in either set.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// `Read`, if it is among them: the rights of a request that must change nothing.
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

/// The sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token; `None` without one.
    pub name: Option<String>,
    /// The rights that the token gives, or else the listener.
    pub granted: Rights,
    /// The part of them that holds for this request: a request with a safe method can only read.
    pub rights: Rights,
}

impl Caller {
    /// True if the caller may do this with this request. GET, HEAD and OPTIONS are allowed `Read` only, so that
    /// following a link changes nothing.
    pub fn may(&self, right: Right) -> bool {
        self.rights.has(right)
    }

    /// The status of a refusal: 401 for a caller without a token, who may have one; else 403 (RFC 9110, sections
    /// 15.5.2 and 15.5.4).
    pub fn refusal(&self) -> u16 {
        match self.name {
            None => 401,
            Some(_) => 403,
        }
    }
}

/// One entry of `http.trust`: rights for requests without a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The senders.
    pub who: Who,
    /// Their rights.
    pub rights: Rights,
}

/// The senders that an entry of `http.trust` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// All at these addresses.
    From(IpNetwork),
    /// The processes of this user on this machine.
    User(u32),
    /// The same by a name that was not looked up yet: until then the entry holds for nobody.
    Name(String),
}

impl Who {
    fn is(&self, way: &Way) -> bool {
        match self {
            Self::From(network) => way.address.is_some_and(|address| network.contains(address)),
            Self::User(user) => way.user == Some(*user),
            Self::Name(_) => false,
        }
    }
}

/// The host that a request is for, the least suspicious first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// A loopback address or `localhost`, or the request names none.
    Loopback,
    /// Another address, if the connection is to that one, or a name in `http.hosts`.
    Known,
    /// Anything else.
    Foreign,
}

/// How a request reached the daemon: its rights without a token follow from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The user at the other end, which the kernel tells of sockets in the file system and between loopback addresses.
    pub user: Option<u32>,
    /// The address at the other end, in canonical form. `None` on a socket in the file system.
    pub address: Option<IpAddr>,
    /// It came by a socket in the file system, from a process that is known to be in no sandbox.
    pub is_free: bool,
    /// Only processes of this machine can connect to the listener.
    pub is_local: bool,
    /// A proxy's header field says that it passed the request on.
    pub is_forwarded: bool,
    /// A job of a pirn or an hq sent it.
    pub is_call: bool,
    /// The host that it names.
    pub site: Site,
}

/// The rights of requests without a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenless {
    /// The rights of our own user and of root.
    pub anonymous: Rights,
    /// The same on a socket in the file system for processes that are in no sandbox: they could write into the spool.
    pub by_socket: Rights,
    /// The rights that the operator gives to others.
    pub trust: Vec<Trust>,
}

impl Default for Tokenless {
    fn default() -> Self {
        Self {
            anonymous: Rights::of(&[Right::Read, Right::Push]),
            by_socket: Rights::of(&[Right::Read, Right::Run]),
            trust: Vec::new(),
        }
    }
}

impl Tokenless {
    /// Gives our own user and root these rights, whichever way they come.
    pub fn set_own(&mut self, rights: Rights) {
        self.anonymous = rights;
        self.by_socket = rights;
    }

    /// The rights of a request that came this way to a daemon of the user `us`. The same is a table in pirn(1).
    pub fn rights(&self, way: &Way, us: u32) -> Rights {
        let is_own = way.is_local && way.user.is_some_and(|user| user == us || user == ROOT);
        let own = match (is_own, way.is_free) {
            (true, true) => self.by_socket,
            (true, false) => self.anonymous,
            (false, _) => Rights::NONE,
        };
        let entries = self.trust.iter().filter(|entry| entry.who.is(way));
        let trusted = entries.fold(Rights::NONE, |sum, entry| sum.and(entry.rights));
        let granted = match (way.is_forwarded, way.site) {
            // The proxy is at the other end; its client is not known.
            (true, Site::Loopback | Site::Known | Site::Foreign) | (false, Site::Foreign) => {
                Rights::NONE
            }
            (false, Site::Known) => trusted,
            (false, Site::Loopback) => trusted.and(own),
        };
        match way.is_call {
            // A job of ours sends it for a caller who may have had only `push`.
            true => granted.only_of(Rights::of(&[Right::Push])),
            false => granted,
        }
    }
}

const ROOT: u32 = 0;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Every cell of the table in pirn(1): the transport and the peer down, forwarding and host across.
    #[test]
    fn every_way_without_a_token() {
        let (us, other, ci) = (1000, 1001, 1002);
        let tokenless = Tokenless {
            anonymous: Rights::parse("push").unwrap(),
            by_socket: Rights::parse("run").unwrap(),
            trust: vec![
                Trust {
                    who: Who::From(IpNetwork::parse("10.0.0.0/8").unwrap()),
                    rights: Rights::parse("read").unwrap(),
                },
                Trust {
                    who: Who::User(ci),
                    rights: Rights::parse("run").unwrap(),
                },
                Trust {
                    who: Who::Name("other".to_owned()),
                    rights: Rights::parse("admin").unwrap(),
                },
            ],
        };
        let home = Some("127.0.0.1");
        // (user, in no sandbox, address, local listener), then the rights for a loopback host and for a known one.
        for (user, is_free, address, is_local, loopback, known) in [
            (Some(us), true, None, true, "push,run", ""),
            (Some(0), true, None, true, "push,run", ""),
            (Some(us), false, None, true, "push", ""),
            (Some(0), false, None, true, "push", ""),
            (Some(other), true, None, true, "", ""),
            (Some(ci), true, None, true, "push,run", "push,run"),
            (None, true, None, true, "", ""),
            (Some(us), false, home, true, "push", ""),
            (Some(0), false, home, true, "push", ""),
            (Some(other), false, home, true, "", ""),
            (Some(ci), false, home, true, "push,run", "push,run"),
            (None, false, home, true, "", ""),
            (Some(us), false, home, false, "", ""),
            (Some(0), false, home, false, "", ""),
            (Some(other), false, home, false, "", ""),
            (Some(ci), false, home, false, "push,run", "push,run"),
            (None, false, home, false, "", ""),
            (None, false, Some("10.1.2.3"), false, "read", "read"),
            (None, false, Some("11.1.2.3"), false, "", ""),
        ] {
            for (is_forwarded, site, wanted) in [
                (false, Site::Loopback, loopback),
                (false, Site::Known, known),
                (false, Site::Foreign, ""),
                (true, Site::Loopback, ""),
                (true, Site::Known, ""),
                (true, Site::Foreign, ""),
            ] {
                for is_call in [false, true] {
                    let way = Way {
                        user,
                        address: address.map(|text| text.parse().unwrap()),
                        is_free,
                        is_local,
                        is_forwarded,
                        is_call,
                        site,
                    };
                    let wanted = Rights::parse(wanted).unwrap();
                    let wanted = match is_call {
                        true => wanted.only_of(Rights::parse("push").unwrap()),
                        false => wanted,
                    };
                    assert_eq!(tokenless.rights(&way, us), wanted, "{way:?}");
                }
            }
        }
    }

    #[test]
    fn a_daemon_of_root_knows_root_only() {
        let way = |user| Way {
            user: Some(user),
            address: None,
            is_free: false,
            is_local: true,
            is_forwarded: false,
            is_call: false,
            site: Site::Loopback,
        };
        let tokenless = Tokenless::default();
        assert_eq!(tokenless.rights(&way(0), 0), tokenless.anonymous);
        assert_eq!(tokenless.rights(&way(1000), 0), Rights::NONE);
    }

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
