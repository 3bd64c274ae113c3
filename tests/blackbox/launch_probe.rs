//! A confined program tries what it must not be able to do. Each refusal has a control, which shows that the attempt
//! succeeds without the part that refuses it.

use crate::launch::can_confine;
use crate::spool::Spool;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The program, beside a spool.
struct Probe {
    spool: Spool,
    path: PathBuf,
    /// The version of Landlock that the kernel has.
    landlock: i32,
}

impl Probe {
    /// Compiles it. `None`, with a line that says so, if that or confining is not possible here.
    fn new() -> Option<Self> {
        if !can_confine() {
            return None;
        }
        let spool = Spool::new();
        let (source, path) = (spool.beside("probe.c"), spool.beside("probe"));
        std::fs::write(&source, include_str!("probe.c")).unwrap();
        let mut compiler = Command::new("cc");
        let compiled = compiler
            .arg("-o")
            .args([&path, &source])
            .stderr(Stdio::null());
        if !compiled.status().is_ok_and(|status| status.success()) {
            println!("skipped: no C compiler for Linux's headers");
            return None;
        }
        let landlock = Command::new(&path)
            .arg("abi")
            .status()
            .unwrap()
            .code()
            .unwrap();
        Some(Self {
            spool,
            path,
            landlock,
        })
    }

    /// Runs it confined; gives what it prints, `killed` if a signal has ended it.
    fn tries(&self, faults: &str, options: &[&str], attempt: &str) -> String {
        let words = ["launch"].iter().chain(options).map(PathBuf::from);
        let words = words
            .chain([self.path.clone()])
            .chain(attempt.split(' ').map(PathBuf::from));
        let mut command = self.spool.command(words);
        let done = self
            .spool
            .finish(command.env("PIRN_FAULTS", faults).stdin(Stdio::null()));
        match done.code {
            0 => done.stdout.trim().to_owned(),
            -1 => "killed".to_owned(),
            code => format!("{code} {}", done.stderr),
        }
    }

    fn file(&self, name: &str) -> String {
        self.spool.beside(name).display().to_string()
    }
}

#[test]
fn files() {
    let Some(probe) = Probe::new() else {
        return;
    };
    let fill = || {
        for dir in ["ro", "rw", "no"] {
            let dir = probe.spool.beside(dir);
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("file"), "x").unwrap();
            std::fs::write(dir.join("other"), "x").unwrap();
        }
        let link = probe.spool.beside("rw/link");
        std::os::unix::fs::symlink(probe.file("no/file"), link).unwrap();
    };
    let (ro, rw) = (probe.file("ro"), probe.file("rw"));
    let options = ["--system", "-ro", &ro, "-rw", &rw];
    let here = std::process::id();
    let outside = probe.file("no/file");
    for (attempt, in_ro, in_rw, in_no) in [
        ("read DIR/file", "ok", "ok", "EACCES"),
        ("write DIR/file", "EACCES", "ok", "EACCES"),
        ("truncate DIR/file", "EACCES", "ok", "EACCES"),
        ("create DIR/new", "EACCES", "ok", "EACCES"),
        ("mkdir DIR/new", "EACCES", "ok", "EACCES"),
        ("unlink DIR/file", "EACCES", "ok", "EACCES"),
        ("rename DIR/file RW/new", "EACCES", "ok", "EACCES"),
        ("rename RW/other DIR/other2", "EACCES", "ok", "EACCES"),
    ] {
        for (dir, expected) in [("ro", in_ro), ("rw", in_rw), ("no", in_no)] {
            fill();
            let attempt = attempt.replace("DIR", &probe.file(dir)).replace("RW", &rw);
            assert_eq!(probe.tries("", &options, &attempt), expected, "{attempt}");
            // The control: it is Landlock that refuses.
            fill();
            assert_eq!(
                probe.tries("no-landlock", &options, &attempt),
                "ok",
                "{attempt}"
            );
        }
    }
    for path in [probe.file("rw/link"), format!("/proc/self/root{outside}")] {
        let attempt = format!("read {path}");
        assert_eq!(probe.tries("", &options, &attempt), "EACCES", "{attempt}");
        let tried = probe.tries("no-landlock", &options, &attempt);
        assert_eq!(tried, "ok", "{attempt}");
    }
    // It lacks the capabilities for this, too.
    let attempt = format!("read /proc/{here}/root{outside}");
    assert_eq!(probe.tries("", &options, &attempt), "EACCES", "{attempt}");
    let attempt = format!("truncate {outside}");
    assert_eq!(probe.tries("no-truncate-right", &options, &attempt), "ok");
    if nix::unistd::geteuid().is_root() {
        let attempt = format!("device {rw}/device");
        assert_eq!(probe.tries("", &options, &attempt), "EACCES");
    }
}

#[test]
fn ways_into_the_network() {
    let Some(probe) = Probe::new() else {
        return;
    };
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (listed, other) = (listen(), listen());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let (listed_port, other_port) = (port(&listed), port(&other));
    let (stream, datagram) = (probe.file("stream"), probe.file("datagram"));
    let _stream = UnixListener::bind(&stream).unwrap();
    let _datagram = UnixDatagram::bind(&datagram).unwrap();
    let ports = format!("--network=connect={listed_port}");
    let udp = format!("{ports},udp");
    let options = ["--network=none", "--network=unix", &ports, &udp];
    let (no_family, no_protocol, closed) = ("EAFNOSUPPORT", "EPROTONOSUPPORT", "EBADF");
    for (attempt, expected) in [
        // IPv4, IPv6; multipath TCP; UDP, ICMP and raw; netlink, vsock, packet.
        (
            "socket 2 1 0".to_owned(),
            [no_family, no_family, "ok", "ok"],
        ),
        (
            "socket 10 1 6".to_owned(),
            [no_family, no_family, "ok", "ok"],
        ),
        (
            "socket 2 1 262".to_owned(),
            [no_family, no_family, no_protocol, no_protocol],
        ),
        (
            "socket 2 2 17".to_owned(),
            [no_family, no_family, no_protocol, "ok"],
        ),
        (
            "socket 2 2 1".to_owned(),
            [no_family, no_family, no_protocol, no_protocol],
        ),
        (
            "socket 2 3 1".to_owned(),
            [no_family, no_family, no_protocol, no_protocol],
        ),
        ("socket 16 3 0".to_owned(), [no_family; 4]),
        ("socket 40 1 0".to_owned(), [no_family; 4]),
        ("socket 17 3 0".to_owned(), [no_family; 4]),
        (
            format!("connect {listed_port}"),
            [closed, closed, "ok", "ok"],
        ),
        (
            format!("connect {other_port}"),
            [closed, closed, "EACCES", "EACCES"],
        ),
        (
            format!("fastopen {other_port}"),
            [closed, closed, "EPERM", "EPERM"],
        ),
        (
            format!("fastopen-connect {other_port}"),
            [closed, closed, "EACCES", "EACCES"],
        ),
        (
            format!("bind {}", u16::MAX),
            [closed, closed, "EACCES", "EACCES"],
        ),
        ("become-smc".to_owned(), [closed, closed, "EPERM", "EPERM"]),
        ("pair".to_owned(), ["ok"; 4]),
        (
            format!("pair-sends {datagram}"),
            [no_family, "ok", "ok", "ok"],
        ),
        (format!("unix {stream}"), [closed, "ok", "ok", "ok"]),
        ("uring".to_owned(), ["EPERM"; 4]),
    ] {
        for (network, expected) in options.into_iter().zip(expected) {
            let tried = probe.tries("", &["--syscalls=all", network], &attempt);
            assert_eq!(tried, expected, "{network} {attempt}");
        }
    }
    // The controls: without a filter and with Landlock alone, many of them succeed.
    let open = ["--syscalls=all", "--best-effort", &ports];
    assert_eq!(
        probe.tries("", &["--syscalls=all"], &format!("connect {other_port}")),
        "ok"
    );
    assert_eq!(probe.tries("no-seccomp", &open, "socket 2 2 17"), "ok");
    assert_eq!(probe.tries("no-seccomp", &open, "socket 16 3 0"), "ok");
    let connect = format!("connect {other_port}");
    assert_eq!(probe.tries("no-seccomp", &open, &connect), "EACCES");
    assert_eq!(probe.tries("landlock=3", &open, &connect), "ok");
    let none = ["--syscalls=all", "--network=none"];
    let uring = probe.tries("", &["--syscalls=all"], "uring");
    match uring.as_str() {
        "ok" => assert_eq!(probe.tries("no-uring-entry", &none, "uring"), "ok"),
        _ => println!("skipped: io_uring makes no socket here: {uring}"),
    }
}

/// The numbers of another kind of machine mean other calls.
#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_another_machine() {
    let Some(probe) = Probe::new() else {
        return;
    };
    let none = ["--network=none"];
    assert_eq!(probe.tries("", &none, "x32"), "killed");
    assert_eq!(probe.tries("", &none, "int80"), "killed");
    match probe.tries("", &["--syscalls=all"], "int80").as_str() {
        "ok" => assert_eq!(probe.tries("no-machine-check", &none, "int80"), "ok"),
        other => println!("skipped: this kernel has no 32-bit calls: {other}"),
    }
}

#[test]
fn calls_that_change_the_system() {
    let Some(probe) = Probe::new() else {
        return;
    };
    let namespaces = ["--namespaces"];
    for (attempt, basic, with_namespaces) in [
        ("mount", "EPERM", "EPERM"),
        ("keyctl", "EPERM", "EPERM"),
        ("uring", "EPERM", "EPERM"),
        ("unshare", "EPERM", "ok"),
        ("clone", "EPERM", "ok"),
        ("clone3", "ENOSYS", "EINVAL"),
    ] {
        assert_eq!(probe.tries("", &[], attempt), basic, "{attempt}");
        match probe
            .tries("no-seccomp", &["--best-effort"], attempt)
            .as_str()
        {
            // The control, where the machine lets anybody do it.
            "ok" => assert_eq!(
                probe.tries("", &namespaces, attempt),
                with_namespaces,
                "{attempt}"
            ),
            other => println!("skipped: {attempt} without a filter: {other}"),
        }
    }
}

#[test]
fn processes_and_sockets_outside() {
    let Some(probe) = Probe::new() else {
        return;
    };
    let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
    let name = format!("pirn-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let (trace, signal) = (
        format!("trace {}", sleeper.id()),
        format!("signal {}", sleeper.id()),
    );
    let connect = format!("unix @{name}");
    let open = "no-landlock";
    assert_eq!(probe.tries("", &[], "trace-child"), "ok");
    assert_eq!(probe.tries("", &[], &trace), "EPERM");
    match probe.tries(open, &[], &trace).as_str() {
        "ok" => {}
        other => println!("skipped: tracing without a sandbox: {other}"),
    }
    assert_eq!(probe.tries(open, &[], &signal), "ok");
    assert_eq!(probe.tries(open, &[], &connect), "ok");
    if probe.landlock >= 6 {
        assert_eq!(probe.tries("", &[], &signal), "EPERM");
        assert_eq!(probe.tries("", &[], &connect), "EPERM");
        // An older kernel than 6.12.
        let older = ["--best-effort"];
        assert_eq!(probe.tries("landlock=5", &older, &signal), "ok");
        assert_eq!(probe.tries("landlock=5", &older, &trace), "EPERM");
    } else {
        println!("skipped: signals need Landlock ABI 6");
    }
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}
