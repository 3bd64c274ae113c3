//! A daemon that was started with careless settings: its jobs inherit none of them, and it still obeys signals.

use crate::spool::Spool;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Starts the daemon from a little Python program.
fn serve_through(spool: &mut Spool, python: &str) {
    let pirn = spool.command([""]).get_program().to_owned();
    let code = format!(
        "import os, signal, sys, resource\n{python}\nos.execv(sys.argv[1], [sys.argv[1], 'serve'])"
    );
    let mut command = Command::new("python3");
    command.args(["-c", &code]).arg(pirn);
    command
        .env("PIRN_SPOOL", spool.path())
        .env("ODD", "1")
        .env("PIRN_ID", "forged")
        .env("PIRN_TMP", "/forged");
    spool.serve_with(command);
}

/// A parent that passes on all that it can.
const CARELESS: &str = "
everything = set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}
for s in everything:
    signal.signal(s, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, everything)
for n in (7, 9, 42, 200):
    os.dup2(os.open('/etc/passwd', os.O_RDONLY), n, inheritable=True)
os.umask(0o027)
os.nice(3)
os.chdir('/proc')
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
";

/// Shows the state of a job's process, from /proc, without a shell in between.
const SHOW: &str = "
import os
for line in open('/proc/self/status'):
    if line.startswith(('Sig', 'ShdPnd', 'Umask')):
        print(line.strip().replace('\\t', ''))
print('Fds:' + ' '.join(sorted(os.listdir('/proc/self/fd'))[:-1]))
print('Stdin:' + os.readlink('/proc/self/fd/0'))
stat = open('/proc/self/stat').read().rsplit(')')[1].split()
print('Leads:', os.getsid(0) == os.getpid() == os.getpgid(0), 'tty', stat[4])
print('Nice:', os.nice(0))
print('Cwd:', os.getcwd())
print('Odd:', sorted(k for k in os.environ if k in ('ODD', 'PIRN_TMP', 'OLDPWD', '_')))
print('Id:', os.environ['PIRN_ID'])
";

fn shown(record: &Value) -> BTreeMap<String, String> {
    let output = record["output"].as_str().unwrap_or_default();
    let pair = |line: &str| {
        let (key, value) = line.split_once(':')?;
        Some((key.to_owned(), value.trim().to_owned()))
    };
    output.lines().filter_map(pair).collect()
}

#[test]
fn nothing_of_a_careless_parent_reaches_a_job() {
    let mut spool = Spool::new();
    serve_through(&mut spool, CARELESS);
    let ours = Command::new("nice").output().unwrap().stdout;
    let ours: i32 = String::from_utf8(ours).unwrap().trim().parse().unwrap();
    let nice = (ours + 3).min(19).to_string();
    for (id, extra) in [
        ("plain", json!({})),
        ("limited", json!({"limits": {"nofile": 64}})),
        ("scratch", json!({"tmp": true})),
        ("again", json!({"tries": 1})),
    ] {
        let mut job = json!({"command": ["/usr/bin/env", "python3", "-c", SHOW]});
        job.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let (state, record) = spool.run_json(id, &job);
        assert_eq!(state, "complete", "{record}");
        let seen = shown(&record);
        // Python itself ignores SIGPIPE and SIGXFSZ, and catches SIGINT.
        let allowed = (1u64 << 12) | (1 << 24);
        for mask in ["SigPnd", "ShdPnd", "SigBlk", "SigIgn"] {
            let value = u64::from_str_radix(&seen[mask], 16).unwrap();
            let own = if mask == "SigIgn" { allowed } else { 0 };
            assert_eq!(value & !own, 0, "{id}: {mask} {}", seen[mask]);
        }
        assert_eq!(seen["Fds"], "0 1 2", "{id}");
        assert_eq!(seen["Stdin"], "/dev/null", "{id}");
        assert_eq!(seen["Leads"], "True tty 0", "{id}");
        assert_eq!(seen["Umask"], "0027", "{id}");
        assert_eq!(seen["Nice"], nice, "{id}");
        assert_eq!(seen["Id"], id);
        let scratch = id == "scratch";
        let odd = if scratch { "['PIRN_TMP']" } else { "[]" };
        assert_eq!(seen["Odd"], odd, "{id}");
        assert_ne!(seen["Cwd"], "/proc", "{id}");
    }
    // The daemon still reacts to signals and to changed files.
    spool.config(r#"{"slots": 1, "keep": "1h"}"#);
    spool.wait_daemon_log("config: read");
    spool.stop();
}

#[test]
fn an_ignored_sigchld_hides_no_end() {
    let mut spool = Spool::new();
    serve_through(&mut spool, "signal.signal(signal.SIGCHLD, signal.SIG_IGN)");
    spool.drop_json("1", &json!({"command": "echo out; exit 7", "tries": 1}));
    let record = spool.wait_record("failed/1");
    assert_eq!(
        (&record["exit_code"], &record["output"]),
        (&json!(7), &json!("out\n"))
    );
    // It still reaps an orphan, and no zombie stays.
    spool.drop_file("2", "(sleep 0.2 & ) ; exit 0");
    spool.wait_record("complete/2");
    spool.wait_no_process("2");
    spool.stop();
}

#[test]
fn nohup_and_a_closed_standard_output() {
    let mut spool = Spool::new();
    let pirn = spool.command([""]).get_program().to_owned();
    let mut command = Command::new("nohup");
    command
        .args(["sh", "-c", "exec \"$0\" serve <&- >&-"])
        .arg(pirn);
    command.env("PIRN_SPOOL", spool.path());
    spool.serve_with(command);
    // A job inherits none of the descriptors that the daemon opened first.
    let line = "find /proc/$$/fd -mindepth 1 -printf '%f %l\\n'; exit 0";
    spool.drop_file("1", line);
    let output = spool.wait_record("complete/1")["output"]
        .as_str()
        .unwrap()
        .to_owned();
    let log = spool.path().join("log/1").display().to_string();
    let expected = format!("0 /dev/null\n1 {log}\n2 {log}\n");
    assert_eq!(output, expected);
    // HUP is ignored, as under nohup, or makes the daemon read the settings; it never ends it.
    spool.signal("HUP");
    spool.drop_file("2", "true");
    spool.wait_record("complete/2");
    spool.stop();
}

#[test]
fn all_descriptors_closed() {
    let mut spool = Spool::new();
    let pirn = spool.command([""]).get_program().to_owned();
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" serve <&- >&- 2>&-"])
        .arg(pirn);
    command.env("PIRN_SPOOL", spool.path());
    spool.serve_with(command);
    spool.drop_json(
        "1",
        &json!({"command": "ls -l /nowhere; echo out", "split": true}),
    );
    spool.wait_record("complete/1");
    // No message of the daemon went into the spool's own files.
    let (pid, version) = (spool.daemon_pid().unwrap(), env!("CARGO_PKG_VERSION"));
    assert_eq!(
        spool.read("lock"),
        format!("{pid}\nversion: {version}\ncommand: serve\n")
    );
    for dir in ["pending", "active"] {
        assert!(spool.ls(dir).is_empty());
    }
    spool.stop();
}

#[test]
fn an_odd_umask_shuts_nobody_out() {
    let mut spool = Spool::new();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(spool.beside(""), open).unwrap();
    let pirn = spool.beside("pirn");
    fs::copy(spool.command([""]).get_program(), &pirn).unwrap();
    spool.make();
    crate::tools::sh(&format!("chown -R 65534:65534 {}", spool.path().display()));
    let pirn = pirn.display();
    let line =
        format!("umask 0777; exec setpriv --reuid=65534 --regid=65534 --clear-groups {pirn} serve");
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env("PIRN_SPOOL", spool.path());
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: needs to become another user");
    }
    spool.serve_with(command);
    for (id, command) in [
        ("text", "umask; exit $((2 - PIRN_ATTEMPT))"),
        ("script", "#!/bin/sh\numask"),
    ] {
        let path = spool.path().join(format!("pending/.{id}"));
        let job = json!({"command": command, "cwd": "/", "tries": 2, "backoff": {"first": "10ms"}});
        fs::write(&path, job.to_string()).unwrap();
        fs::rename(path, spool.path().join("pending").join(id)).unwrap();
        let record = spool.wait_record(&format!("complete/{id}"));
        assert!(
            record["output"].as_str().unwrap().ends_with("777\n"),
            "{record}"
        );
    }
}

#[test]
fn term_is_heard_at_every_moment_of_the_start() {
    for delay in [0, 3, 6, 10, 20, 40] {
        let spool = Spool::made();
        let mut child = spool.spawn_logged(&mut spool.command(["serve"]));
        std::thread::sleep(Duration::from_millis(delay));
        let pid = child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "TERM after {delay} ms was not heard");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
