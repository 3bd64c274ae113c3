//! The parts of a sandbox that this kernel can enforce, and those that it cannot.

use super::layer::Layer;
use crate::core::sandbox::{Network, Syscalls};
use crate::os::fault::{self, Fault};
use std::fmt;
use std::sync::OnceLock;

/// The parts of a sandbox that this kernel can enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ability {
    /// The version of Landlock's interface (landlock(7)); 0 without Landlock.
    pub landlock: u8,
    /// A filter of system calls (seccomp(2)) can be made for this kind of machine.
    pub seccomp: bool,
}

impl Ability {
    /// That of this kernel, or the one that a test pretends.
    pub fn get() -> Self {
        let real = Self::real();
        Self {
            landlock: fault::pretended_landlock().unwrap_or(real.landlock),
            seccomp: real.seccomp && !Fault::NoSeccomp.is_on(),
        }
    }

    /// That of this kernel.
    pub(super) fn real() -> Self {
        static REAL: OnceLock<Ability> = OnceLock::new();
        *REAL.get_or_init(|| Self {
            landlock: landlock_version(),
            seccomp: has_seccomp(),
        })
    }

    /// The parts of a layer that cannot be enforced.
    pub(super) fn lacks(self, layer: &Layer<'_>) -> Vec<Lack> {
        let sandbox = layer.sandbox;
        let mut needs = Vec::new();
        if sandbox.has_file_rules() {
            let field = match sandbox.paths.first() {
                Some(rule) if !sandbox.system => rule.list(),
                Some(_) | None => "system",
            };
            // Older ones let files outside be truncated.
            needs.push(("files", Some(field), Requirement::Landlock(3)));
        }
        if let Network::Ports(ports) = &sandbox.network {
            let is_asked = [
                (
                    "network.connect",
                    !ports.connect.is_empty() || ports.bind.is_empty(),
                ),
                ("network.bind", !ports.bind.is_empty()),
            ];
            let asked = is_asked.into_iter().filter(|(_, is_asked)| *is_asked);
            needs.extend(asked.map(|(name, _)| (name, Some(name), Requirement::Landlock(4))));
        }
        if sandbox.network != Network::All {
            needs.push(("network", Some("network"), Requirement::Seccomp));
        }
        if sandbox.syscalls == Syscalls::Basic {
            needs.push(("syscalls", Some("syscalls"), Requirement::Seccomp));
        }
        needs.push(("trace", Some(""), Requirement::Landlock(1)));
        if layer.is_scoped {
            needs.push(("signals", None, Requirement::Landlock(6)));
        }
        // Without sockets there is nothing to reach other sockets with.
        if sandbox.network != Network::None {
            if layer.is_scoped {
                needs.push(("abstract_sockets", None, Requirement::Landlock(6)));
            }
            if sandbox.has_file_rules() {
                needs.push(("unix_sockets", None, Requirement::Landlock(9)));
            }
        }
        needs.retain(|(_, _, need)| !self.meets(*need));
        let lack = |(name, field, need)| Lack {
            name,
            field,
            need,
            has: self.landlock,
        };
        needs.into_iter().map(lack).collect()
    }

    fn meets(self, need: Requirement) -> bool {
        match need {
            Requirement::Landlock(version) => self.landlock >= version,
            Requirement::Seccomp => self.seccomp,
        }
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.landlock {
            0 => f.write_str("no Landlock")?,
            version => write!(f, "Landlock {version}")?,
        }
        f.write_str(if self.seccomp {
            ", seccomp"
        } else {
            ", no seccomp"
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Requirement {
    Landlock(u8),
    Seccomp,
}

/// A part of a sandbox that this kernel cannot enforce.
#[derive(Debug)]
pub(super) struct Lack {
    /// Its name in reports.
    pub name: &'static str,
    /// The field that asks for it. A sandbox that lacks a part without a field is used all the same.
    pub field: Option<&'static str>,
    need: Requirement,
    has: u8,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.need {
            Requirement::Landlock(version) => {
                let linux = match version {
                    0..=2 => "5.13",
                    3 => "6.2",
                    4.. => "6.7",
                };
                write!(
                    f,
                    "needs Landlock ABI {version} (Linux {linux}); this kernel has "
                )?;
                match self.has {
                    0 => f.write_str("none"),
                    has => write!(f, "{has}"),
                }
            }
            Requirement::Seccomp => f.write_str("needs seccomp filters; this kernel has none"),
        }
    }
}

fn landlock_version() -> u8 {
    const VERSION: libc::c_uint = 1;
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call makes nothing and reads no memory.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0usize, VERSION) };
    u8::try_from(version.max(0)).unwrap_or(u8::MAX)
}

fn has_seccomp() -> bool {
    let action = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the call reads the action, which lives, and changes nothing.
    let there = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        )
    };
    there == 0 && super::filter::MACHINE.is_some()
}
