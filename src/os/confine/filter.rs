//! Filters of system calls (seccomp(2)). A filter is a binary search for the number of the call; at its end are the few
//! instructions that look at the arguments, or refuse.

use crate::core::sandbox::{Network, Sandbox, Syscalls};
use crate::os::fault::Fault;
use libc::sock_filter;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_long};

/// How the kernel names the machine that we are built for (linux/audit.h); `None` if we have no filter for it.
pub const MACHINE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// The system calls that all layers permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    sockets: Sockets,
    syscalls: Syscalls,
    namespaces: bool,
}

/// The sockets that may be made, the fewest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sockets {
    Pairs,
    Unix,
    Tcp,
    TcpUdp,
    All,
}

impl Wanted {
    /// The calls that all these sandboxes permit.
    pub fn of<'a>(sandboxes: impl Iterator<Item = &'a Sandbox>) -> Self {
        let mut wanted = Self {
            sockets: Sockets::All,
            syscalls: Syscalls::All,
            namespaces: true,
        };
        for sandbox in sandboxes {
            let sockets = match &sandbox.network {
                Network::All => Sockets::All,
                Network::Unix => Sockets::Unix,
                Network::None => Sockets::Pairs,
                Network::Ports(ports) if ports.udp => Sockets::TcpUdp,
                Network::Ports(_) => Sockets::Tcp,
            };
            wanted.sockets = wanted.sockets.min(sockets);
            if sandbox.syscalls == Syscalls::Basic {
                wanted.syscalls = Syscalls::Basic;
                wanted.namespaces &= sandbox.namespaces;
            }
        }
        wanted
    }

    /// The filter. `None` if every call may be made.
    pub fn filter(self) -> Option<Vec<sock_filter>> {
        let mut calls = BTreeMap::new();
        if self.sockets < Sockets::All {
            self.sockets.restrict(&mut calls);
        }
        if self.syscalls == Syscalls::Basic {
            let refused = REFUSED.iter().chain(REFUSED_ON_THIS_MACHINE);
            calls.extend(refused.map(|call| (*call, refuse(libc::EPERM))));
            calls.insert(libc::SYS_ioctl, unless_ioctl());
            if !self.namespaces {
                restrict_namespaces(&mut calls);
            }
        }
        if Fault::NoUringEntry.is_on() {
            calls.remove(&libc::SYS_io_uring_setup);
        }
        let machine = MACHINE.filter(|_| !calls.is_empty())?;
        let mut filter = head(machine);
        let calls: Vec<_> = calls.into_iter().collect();
        search(&calls, &mut filter);
        Some(filter)
    }
}

type Code = Vec<sock_filter>;
type Calls = BTreeMap<c_long, Code>;

/// Refused with EPERM. A job may run any program, so that this cannot be a list of what is permitted. ptrace(2) is not
/// here: Landlock keeps it to the job's own processes, and debuggers need it.
const REFUSED: &[c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_open_by_handle_at,
    libc::SYS_acct,
    libc::SYS_quotactl,
    QUOTACTL_FD,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vhangup,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_fanotify_init,
];

/// Numbers that the libc crate lacks on some machines.
const KEXEC_FILE_LOAD: c_long = if cfg!(target_arch = "x86_64") {
    320
} else {
    294
};
const QUOTACTL_FD: c_long = 443;
const OPEN_TREE_ATTR: c_long = 467;

#[cfg(target_arch = "x86_64")]
const REFUSED_ON_THIS_MACHINE: &[c_long] = &[libc::SYS_iopl, libc::SYS_ioperm];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_ON_THIS_MACHINE: &[c_long] = &[];

impl Sockets {
    fn restrict(self, calls: &mut Calls) {
        let no_family = || refuse(libc::EAFNOSUPPORT);
        let (make, pair) = match self {
            // A pair of datagram sockets can send to any other, by its address.
            Self::Pairs => {
                let mut pair = load(0);
                only_if_equal(&mut pair, libc::AF_UNIX, no_family());
                pair.extend(load(1));
                pair.push(op(AND, KIND));
                pair.extend(permit_if_equal(libc::SOCK_STREAM));
                pair.extend(permit_if_equal(libc::SOCK_SEQPACKET));
                pair.extend(no_family());
                (no_family(), pair)
            }
            Self::Unix => (unix_only(), unix_only()),
            Self::Tcp | Self::TcpUdp => (internet(self == Self::TcpUdp), unix_only()),
            Self::All => return,
        };
        calls.insert(libc::SYS_socket, make);
        calls.insert(libc::SYS_socketpair, pair);
        // It can make sockets, and connect them.
        calls.insert(libc::SYS_io_uring_setup, refuse(libc::EPERM));
        if self > Self::Unix {
            // A fast open connects, and some versions of Landlock do not see it.
            let flags = [
                (libc::SYS_sendto, 3),
                (libc::SYS_sendmsg, 2),
                (libc::SYS_sendmmsg, 3),
            ];
            let fast_open = libc::MSG_FASTOPEN.cast_unsigned();
            calls.extend(flags.map(|(call, argument)| (call, unless_any(argument, fast_open))));
            calls.insert(libc::SYS_setsockopt, unless_protocol_changes());
        }
    }
}

/// socket(2) and socketpair(2): the kind is in the low bits of the second argument, flags in the others.
const KIND: u32 = 0xf;

fn unix_only() -> Code {
    let mut code = load(0);
    code.extend(permit_if_equal(libc::AF_UNIX));
    code.extend(refuse(libc::EAFNOSUPPORT));
    code
}

/// Unix sockets, and plain TCP and perhaps UDP over IPv4 and IPv6. Multipath TCP would pass Landlock.
fn internet(udp: bool) -> Code {
    let mut code = load(0);
    code.extend(permit_if_equal(libc::AF_UNIX));
    code.extend([
        jump_if_equal(libc::AF_INET, 2),
        jump_if_equal(libc::AF_INET6, 1),
    ]);
    code.extend(refuse(libc::EAFNOSUPPORT));
    code.extend(load(1));
    code.push(op(AND, KIND));
    let kinds = [
        (libc::SOCK_STREAM, libc::IPPROTO_TCP),
        (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
    ];
    for (kind, protocol) in kinds.into_iter().take(1 + usize::from(udp)) {
        let mut this_kind = load(2);
        this_kind.extend(permit_if_equal(0));
        this_kind.extend(permit_if_equal(protocol));
        this_kind.extend(refuse(libc::EPROTONOSUPPORT));
        code.push(jump_unless_equal(kind, this_kind.len()));
        code.extend(this_kind);
    }
    code.extend(refuse(libc::EPROTONOSUPPORT));
    code
}

fn restrict_namespaces(calls: &mut Calls) {
    const OF_CLONE: c_int = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    /// clone(2) has the signal of the child's end in these bits.
    const NEWTIME: c_int = 0x80;
    calls.insert(libc::SYS_setns, refuse(libc::EPERM));
    calls.insert(
        libc::SYS_unshare,
        unless_any(0, (OF_CLONE | NEWTIME).cast_unsigned()),
    );
    calls.insert(libc::SYS_clone, unless_any(0, OF_CLONE.cast_unsigned()));
    // Its flags are in memory, where a filter cannot see them. C libraries use clone(2) instead.
    calls.insert(libc::SYS_clone3, refuse(libc::ENOSYS));
}

/// setsockopt(2) but for the option that makes a TCP socket one of another protocol. With SMC, the kernel itself would
/// connect, which Landlock does not see.
fn unless_protocol_changes() -> Code {
    let mut code = load(1);
    code.push(jump_unless_equal(libc::IPPROTO_TCP, 3));
    code.extend(load(2));
    code.push(jump_unless_equal(libc::TCP_ULP, 1));
    code.extend(refuse(libc::EPERM));
    code.push(PERMIT);
    code
}

/// ioctl(2) but for two requests that put characters into the input of a terminal.
fn unless_ioctl() -> Code {
    const TIOCSTI: c_int = 0x5412;
    const TIOCLINUX: c_int = 0x541c;
    let mut code = load(1);
    code.extend([jump_if_equal(TIOCSTI, 2), jump_if_equal(TIOCLINUX, 1)]);
    code.push(PERMIT);
    code.extend(refuse(libc::EPERM));
    code
}

/// Permits the call unless one of these bits is set in an argument.
fn unless_any(argument: u32, bits: u32) -> Code {
    let mut code = load(argument);
    code.push(sock_filter {
        code: JUMP_ANY,
        jt: 0,
        jf: 1,
        k: bits,
    });
    code.extend(refuse(libc::EPERM));
    code.push(PERMIT);
    code
}

/// `struct seccomp_data`: the number, the machine, the instruction's address (8 bytes), the arguments (8 bytes each).
/// All our machines have the low half first, and the kernel ignores the other half of these arguments.
const AT_NUMBER: u32 = 0;
const AT_MACHINE: u32 = 4;
const AT_ARGUMENTS: u32 = 16;

// Instructions (linux/filter.h).
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY: u16 = 0x45;
const RETURN: u16 = 0x06;

const PERMIT: sock_filter = op(RETURN, libc::SECCOMP_RET_ALLOW);

const fn op(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn load(argument: u32) -> Code {
    vec![op(LOAD, AT_ARGUMENTS + 8 * argument)]
}

fn refuse(error: c_int) -> Code {
    vec![op(RETURN, libc::SECCOMP_RET_ERRNO | error.cast_unsigned())]
}

fn jump_if_equal(value: c_int, skip: u8) -> sock_filter {
    sock_filter {
        code: JUMP_EQUAL,
        jt: skip,
        jf: 0,
        k: value.cast_unsigned(),
    }
}

fn jump_unless_equal(value: c_int, skip: usize) -> sock_filter {
    sock_filter {
        code: JUMP_EQUAL,
        jt: 0,
        jf: short(skip),
        k: value.cast_unsigned(),
    }
}

fn permit_if_equal(value: c_int) -> [sock_filter; 2] {
    [jump_unless_equal(value, 1), PERMIT]
}

fn only_if_equal(code: &mut Code, value: c_int, otherwise: Code) {
    code.push(jump_if_equal(value, short(otherwise.len())));
    code.extend(otherwise);
}

/// A distance within the code of one call, which is short.
fn short(skip: usize) -> u8 {
    debug_assert!(skip <= usize::from(u8::MAX));
    u8::try_from(skip).unwrap_or(u8::MAX)
}

/// Ends processes that make the calls of another kind of machine, whose numbers mean other calls; loads the number.
fn head(machine: u32) -> Code {
    /// Set in the numbers of x32, which count as calls of x86_64. All set is no number: a tracer has undone the call.
    const X32: u32 = 0x4000_0000;
    let kill = op(RETURN, libc::SECCOMP_RET_KILL_PROCESS);
    let mut code = Vec::new();
    if !Fault::NoMachineCheck.is_on() {
        code.extend([
            op(LOAD, AT_MACHINE),
            jump_if_equal(machine.cast_signed(), 1),
            kill,
        ]);
    }
    code.push(op(LOAD, AT_NUMBER));
    if cfg!(target_arch = "x86_64") {
        code.push(sock_filter {
            code: JUMP_AT_LEAST,
            jt: 0,
            jf: 2,
            k: X32,
        });
        code.extend([jump_if_equal(-1, 1), kill]);
    }
    code
}

/// Appends the search for one of these calls, which are in order.
fn search(calls: &[(c_long, Code)], out: &mut Code) {
    match calls {
        [] => out.push(PERMIT),
        [(number, code)] => {
            // Numbers of system calls are small.
            out.push(jump_unless_equal(
                c_int::try_from(*number).unwrap_or(c_int::MAX),
                code.len(),
            ));
            out.extend(code);
            out.push(PERMIT);
        }
        [..] => {
            let (low, high) = calls.split_at(calls.len() / 2);
            let first = high.first().map_or(0, |(number, _)| *number);
            let mut lower = Vec::new();
            search(low, &mut lower);
            // Conditional jumps are short ones.
            let k = u32::try_from(first).unwrap_or(u32::MAX);
            out.push(sock_filter {
                code: JUMP_AT_LEAST,
                jt: 0,
                jf: 1,
                k,
            });
            out.push(op(JUMP, u32::try_from(lower.len()).unwrap_or(u32::MAX)));
            out.extend(lower);
            search(high, out);
        }
    }
}
