//! The system calls that confine the calling process. A child makes them before its exec, so that everything here only
//! makes system calls with prepared data.

use super::Confinement;
use crate::os::step::last_error;
use std::ffi::{c_int, c_long, c_ulong};
use std::io;
use std::os::fd::AsRawFd;

/// A call that failed.
#[derive(Debug, Clone, Copy)]
pub struct FailedCall {
    /// Its name.
    pub call: &'static str,
    /// The number of its error.
    pub error: c_int,
}

impl Confinement {
    /// Takes everything from the calling thread but system calls. It is safe in a child that shares our memory.
    pub fn restrict(&self) -> Result<(), FailedCall> {
        prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
        for ruleset in &self.rulesets {
            // SAFETY: the call takes a descriptor, which is open, and flags.
            check("landlock_restrict_self", unsafe {
                libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0)
            })?;
        }
        match self.drops_capabilities {
            true => drop_capabilities(),
            false => Ok(()),
        }
    }

    /// Takes system calls from the calling thread. This is the last step before an exec.
    pub fn filter(&self) -> Result<(), FailedCall> {
        let Some(filter) = &self.filter else {
            return Ok(());
        };
        let program = libc::sock_fprog {
            len: u16::try_from(filter.len()).unwrap_or(u16::MAX),
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel reads as many instructions as the length says from a vector that lives.
        check("seccomp", unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            )
        })
    }

    /// Confines this process, which has one thread.
    pub fn confine_self(&self) -> Result<(), super::ConfineError> {
        let done = self.restrict().and_then(|()| self.filter());
        done.map_err(|e| super::ConfineError::Call(e.call, io::Error::from_raw_os_error(e.error)))
    }
}

/// The capabilities that a job of root keeps (linux/capability.h): CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID,
/// SETUID, NET_BIND_SERVICE.
const KEPT: u32 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10;

const SETPCAP: u32 = 1 << 8;

fn drop_capabilities() -> Result<(), FailedCall> {
    const VERSION: u32 = 0x2008_0522;
    const CAPABILITIES: c_int = 64;
    let mut header = [VERSION, 0];
    // Effective, permitted, inheritable; then the same of those from 32 on.
    let mut sets = [0u32; 6];
    // SAFETY: the kernel reads the header, which names version 3 and the calling thread, and writes six words.
    check("capget", unsafe {
        libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr())
    })?;
    if sets[0] & SETPCAP != 0 {
        let dropped = (0..CAPABILITIES).filter(|number| *number > 31 || KEPT & 1 << number == 0);
        for number in dropped {
            match prctl(libc::PR_CAPBSET_DROP, number.unsigned_abs().into()) {
                // The kernel has no more.
                Err(e) if e.error == libc::EINVAL => break,
                done => done?,
            }
        }
    }
    for (set, kept) in sets.iter_mut().zip([KEPT, KEPT, KEPT, 0, 0, 0]) {
        *set &= kept;
    }
    // SAFETY: as for capget, and the kernel only reads the sets.
    check("capset", unsafe {
        libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr())
    })
}

fn prctl(option: c_int, value: c_ulong) -> Result<(), FailedCall> {
    // SAFETY: these options take integers.
    check("prctl", unsafe {
        libc::syscall(libc::SYS_prctl, option, value, 0, 0, 0)
    })
}

fn check(call: &'static str, result: c_long) -> Result<(), FailedCall> {
    match result {
        -1 => {
            let error = last_error();
            Err(FailedCall { call, error })
        }
        _ => Ok(()),
    }
}
