//! A disk that fails to sync (EIO, injected by strace): nothing is acknowledged or shown that is not on the disk, no
//! failed sync is repeated in the hope that it succeeds, and users and commands are told.

use crate::spool::{Done, Spool};
use crate::strace::{Injection, has_tool};
use crate::tools::Gate;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// `pirn add` with failing system calls and fault switches.
fn add(spool: &Spool, what: &str, path: Option<&str>, faults: &str, args: &[&str]) -> Done {
    traced(spool, what, path, faults, &[&["add"], args].concat())
}

/// The same for any command.
pub fn traced(spool: &Spool, what: &str, path: Option<&str>, faults: &str, args: &[&str]) -> Done {
    let pirn = spool.command([""]).get_program().to_owned();
    let calls = what.split(':').next().unwrap();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-y", "-o"])
        .arg(spool.beside("strace.add"));
    command.args(["-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={what}")]);
    if let Some(path) = path {
        command.arg("-P").arg(spool.path().join(path));
    }
    command.arg(pirn).args(args);
    command
        .env("PIRN_SPOOL", spool.path())
        .env("PIRN_FAULTS", faults);
    spool.finish(command.stdin(Stdio::null()))
}

/// Everything in the spool except the files that are always there.
fn tree(spool: &Spool) -> Vec<String> {
    let found = Command::new("find")
        .arg(spool.path())
        .args(["-type", "f", "-printf", "%P\\n"])
        .output()
        .unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
    names.retain(|name| !["lock", "seq"].contains(&name.as_str()));
    names.sort();
    names
}

#[test]
fn add_takes_a_new_name_when_the_first_sync_fails() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::new();
    spool.add(&["true"]);
    let once = "fdatasync:error=EIO:when=1";
    let done = add(&spool, once, None, "", &["echo second"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(tree(&spool), ["pending/1", "pending/2"]);
    let trace = fs::read_to_string(spool.beside("strace.add")).unwrap();
    let synced: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains("/tmp/.2."))
        .map(|line| line.split_once('(').unwrap().1)
        .collect();
    assert_eq!(synced.len(), 2, "{trace}");
    let name = |line: &str| line.split(')').next().unwrap().to_owned();
    assert_ne!(name(synced[0]), name(synced[1]), "a new name");
    assert_eq!(spool.record("pending/2")["command"], "echo second");
    // Without the sync, the command cannot fail: this shows that the test depends on it.
    let done = add(&spool, once, None, "no-file-sync", &["true"]);
    assert_eq!((done.code, done.stderr), (0, spool.unserved()));
}

#[test]
fn add_does_not_accept_what_cannot_be_synced() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::new();
    spool.add(&["true"]);
    for (what, path, fault) in [
        ("fdatasync:error=EIO", None, "no-file-sync"),
        ("fsync:error=EIO", Some("pending"), "no-pending-sync"),
    ] {
        for args in [&["true"][..], &["--id", "named", "true"]] {
            let done = add(&spool, what, path, "", args);
            assert_eq!(done.code, 74, "{what} {args:?}: {}", done.stderr);
            assert!(done.stdout.is_empty(), "{}", done.stdout);
            assert!(
                done.stderr.to_lowercase().contains("input/output error"),
                "{}",
                done.stderr
            );
            assert_eq!(tree(&spool), ["pending/1"], "{what} {args:?}");
        }
        let done = add(&spool, what, path, fault, &["--id", "control", "true"]);
        assert_eq!(done.code, 0, "{what} {fault}: {}", done.stderr);
        spool.rm("pending/control");
    }
}

#[test]
fn the_first_number_of_all_is_not_given_when_it_cannot_be_kept() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::made();
    assert_eq!(
        add(&spool, "fdatasync:error=EIO", None, "", &["true"]).code,
        74
    );
    assert!(tree(&spool).is_empty());
    let first = spool.add(&["true"]);
    assert_ne!(first, spool.add(&["true"]));
}

/// How often a command has synced this file.
fn syncs(spool: &Spool, of: &str) -> usize {
    let trace = fs::read_to_string(spool.beside("strace.add")).unwrap();
    let path = spool.path().join(of);
    let ends = format!("{}>", path.display());
    trace.lines().filter(|line| line.contains(&ends)).count()
}

#[test]
fn a_bound_of_numbers_that_was_not_synced_is_not_relied_on() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::new();
    spool.add(&["true"]);
    fs::write(spool.path().join("seq"), "100\n").unwrap();
    let harmless = "fdatasync:delay_enter=1";
    for what in [
        "fdatasync:error=EIO:when=1",
        "fdatasync:signal=SIGKILL:when=1",
    ] {
        let path = Some("seq");
        assert_ne!(add(&spool, what, path, "", &["true"]).code, 0);
        // The next command syncs it again, and numbers are free only after that.
        for expected in [1, 0] {
            let done = add(&spool, harmless, None, "", &["true"]);
            assert_eq!(done.code, 0, "{what}: {}", done.stderr);
            assert_eq!(syncs(&spool, "seq"), expected, "{what}");
        }
        fs::write(spool.path().join("seq"), "1000\n").unwrap();
    }
}

#[test]
fn a_job_that_is_refused_leaves_no_queue_behind() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::new();
    spool.add(&["-q", "old", "true"]);
    for (what, path, code) in [
        ("fdatasync:error=ENOSPC", None, 75),
        ("renameat2:error=ENOSPC", None, 75),
        ("fsync:error=EIO", Some("pending"), 74),
    ] {
        for queue in ["new", "old"] {
            let done = add(&spool, what, path, "", &["-q", queue, "true"]);
            assert_eq!(done.code, code, "{what}: {}", done.stderr);
        }
        assert_eq!(spool.ls("pending"), ["old"], "{what}");
        assert_eq!(tree(&spool), ["pending/old/1"], "{what}");
    }
    spool.add(&["-q", "new", "true"]);
}

/// A command that exits with 0 has synced its change.
#[test]
fn steering_is_not_done_before_it_is_synced() {
    if !has_tool("strace", "strace") {
        return;
    }
    for (command, from, at) in [
        (&["rm", "1"][..], "pending", "pending"),
        (&["rm", "1"], "pending/mail", "pending/mail"),
        (&["rm", "1"], "failed", "failed"),
        (&["rm", "--kill", "1"], "active", "active"),
        (&["retry", "1"], "failed", "failed"),
        (&["retry", "1"], "failed", "pending"),
        (&["cancel", "1"], "pending", "pending"),
        (&["cancel", "1"], "pending", "failed"),
        (&["cancel", "1"], "active", "active"),
    ] {
        let spool = Spool::new();
        spool.add(&["-q", "mail", "true"]);
        spool.add(&["--id", "other", "true"]);
        let place = spool.path().join(from).join("1");
        fs::rename(spool.path().join("pending/mail/1"), &place).unwrap();
        fs::write(&place, "true").unwrap();
        let done = traced(&spool, "fsync:error=EIO", Some(at), "", command);
        assert_eq!(done.code, 74, "{command:?} {at}: {}", done.stderr);
    }
}

#[test]
fn replacing_does_not_cost_the_job_that_was_accepted() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::new();
    spool.add(&["--id", "x", "echo old"]);
    let args = ["--id", "x", "--replace", "echo new"];
    let done = add(&spool, "fsync:error=EIO", Some("pending"), "", &args);
    assert_eq!(done.code, 74, "{}", done.stderr);
    // Either record may be there; one of them must be, as the first `add` was promised.
    let command = spool.record("pending/x")["command"].clone();
    assert!(command == "echo old" || command == "echo new", "{command}");
}

#[test]
fn an_end_is_recorded_under_a_new_name_when_the_first_sync_fails() {
    if !has_tool("strace", "strace") {
        return;
    }
    for fault in ["", "no-file-sync"] {
        let mut spool = Spool::new();
        let mut command = spool.command(["serve", "--slots", "1"]);
        command.env("PIRN_FAULTS", fault);
        spool.serve_with(command);
        let pid = spool.daemon_pid().unwrap();
        // Failures are counted for each thread, and every commit uses a new one.
        let broken = Injection::new(&spool, pid, "fdatasync:error=EIO:when=1", None);
        spool.drop_file("1", "echo out; exit 4");
        let mut gate = Gate::new(&spool, "gate");
        spool.drop_json(
            "2",
            &serde_json::json!({"command": gate.wait(), "tries": 1}),
        );
        if fault.is_empty() {
            spool.wait_daemon_log("under a new name");
        }
        gate.open(1);
        spool.wait_record("complete/2");
        broken.end();
        spool.wait_for("the retry of 1", || {
            spool.has("pending/1") || spool.has("active/1") || spool.has("failed/1")
        });
        let log = spool.daemon_log();
        assert_eq!(log.contains("under a new name"), fault.is_empty(), "{log}");
        assert!(!log.contains("nothing is accepted"), "{log}");
        assert_eq!(spool.scratch(), [""; 0]);
        spool.add(&["true"]);
    }
}

/// The number of read(2) calls of a process: a timer that expires again and again would show in it.
fn reads(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("syscr: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn what_cannot_be_synced_is_not_shown_and_nothing_more_is_started() {
    if !has_tool("strace", "strace") {
        return;
    }
    for (what, path, fault) in [
        ("fdatasync:error=EIO", None, "no-file-sync"),
        ("fsync:error=EIO", Some("active"), "no-active-sync"),
    ] {
        let mut spool = Spool::new();
        spool.serve(&["--slots", "2"]);
        let pid = spool.daemon_pid().unwrap();
        let mut gate = Gate::new(&spool, "gate");
        spool.drop_file("long", format!("{}; echo done", gate.wait()));
        spool.wait_note("long");
        let broken = Injection::new(&spool, pid, what, path);
        spool.drop_file("first", "echo out");
        spool.wait_daemon_log("nothing is accepted or started any more");
        spool.drop_file("second", "echo too late");
        // A running job may end, but its end is not shown.
        gate.open(1);
        spool.wait_log("long", "done");
        let done = spool.pirn(&["add", "true"]);
        assert_eq!(done.code, 75, "{}", done.stderr);
        assert!(done.stderr.contains("trouble"), "{}", done.stderr);
        let status = spool.pirn(&["status"]).stdout;
        assert!(
            status.contains("trouble") && status.contains("nput/output error"),
            "{status}"
        );
        let before = reads(pid);
        std::thread::sleep(Duration::from_secs(1));
        let done = reads(pid) - before;
        assert!(done < 100, "{what}: {done} reads in a second of trouble");
        assert!(spool.ls("complete").is_empty(), "{what}");
        assert_eq!(spool.ls("pending"), ["second"], "{what}");
        assert_eq!(spool.ls("active"), ["first", "long"], "{what}");
        assert!(!spool.has("log/second"));
        // The machine is repaired and a new daemon started.
        spool.crash();
        drop(broken);
        spool.serve(&[]);
        for (id, output) in [
            ("first", "out\n"),
            ("long", "done\n"),
            ("second", "too late\n"),
        ] {
            spool.wait_log(id, output.trim());
            gate.open(1);
            spool.wait_end(id);
        }
        assert_eq!(spool.add(&["true"]), "1");
        assert!(!spool.pirn(&["status"]).stdout.contains("trouble"));
        spool.stop();
        // Without the sync nothing fails: this shows that the test depends on it.
        let mut command = spool.command(["serve"]);
        command.env("PIRN_FAULTS", fault);
        spool.serve_with(command);
        let broken = Injection::new(&spool, spool.daemon_pid().unwrap(), what, path);
        spool.drop_file("control", "echo out");
        spool.wait_record("complete/control");
        broken.end();
    }
}

/// A daemon whose disk fails every sync, and that has noticed it with job `1`.
fn in_trouble() -> (Spool, Injection) {
    let spool = Spool::serving(&[]);
    let pid = spool.daemon_pid().unwrap();
    let broken = Injection::new(&spool, pid, "fdatasync:error=EIO", None);
    spool.drop_file("1", "echo out");
    spool.wait_daemon_log("nothing is accepted or started any more");
    (spool, broken)
}

#[test]
fn all_goes_on_by_itself_to_the_end_that_could_not_be_written() {
    if !has_tool("strace", "strace") {
        return;
    }
    let (mut spool, broken) = in_trouble();
    assert!(!spool.has("complete/1"));
    broken.end();
    let record = spool.wait_record("complete/1");
    assert_eq!(
        (&record["output"], &record["attempt"]),
        (&"out\n".into(), &1.into())
    );
    // The daemon does not trust a disk again that has failed once.
    assert_eq!(spool.pirn(&["add", "true"]).code, 75);
    spool.signal("TERM");
    spool.wait_exit();
    spool.serve(&[]);
    spool.add(&["true"]);
    spool.wait_record("complete/1");
}

#[test]
fn a_daemon_in_trouble_can_be_told_to_end() {
    if !has_tool("strace", "strace") {
        return;
    }
    let (mut spool, broken) = in_trouble();
    spool.signal("TERM");
    spool.signal("TERM");
    spool.wait_exit();
    let log = spool.daemon_log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("pirn: not all is recorded: "), "{log}");
    assert!(last.to_lowercase().ends_with("input/output error"), "{log}");
    drop(broken);
    spool.serve(&[]);
    spool.wait_end("1");
}

#[test]
fn a_file_system_that_cannot_hold_a_spool_is_refused_by_name() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::new();
    for (fault, lacks) in [
        ("renameat2:error=EINVAL", "RENAME_NOREPLACE"),
        ("renameat2:error=EINVAL:when=3+", "RENAME_EXCHANGE"),
        ("flock:retval=0", "flock(2)"),
        ("inotify_add_watch:retval=1", "inotify(7)"),
    ] {
        let done = traced(&spool, fault, None, "", &["serve", "--drain"]);
        assert_eq!(done.code, 78, "{fault}: {}", done.stderr);
        let is_named = done.stderr.contains("the file system ") && done.stderr.contains(lacks);
        assert!(is_named, "{fault}: {}", done.stderr);
        let left = fs::read_dir(spool.path().join("tmp")).unwrap();
        assert_eq!(left.count(), 0, "{fault}");
    }
    for args in [&["add", "true"][..], &["add", "-q", "mail", "true"]] {
        let done = traced(&spool, "renameat2:error=EINVAL", None, "", args);
        assert_eq!((done.code, done.stdout.as_str()), (1, ""));
        assert!(done.stderr.contains("RENAME_NOREPLACE"), "{}", done.stderr);
        assert!(!done.stderr.contains("Invalid argument"), "{}", done.stderr);
    }
    assert_eq!(spool.ls("pending"), [""; 0]);
}

/// A real case: FUSE without the flags of renameat2(2).
#[test]
fn a_spool_on_bindfs_is_refused() {
    if !has_tool("bindfs", "bindfs") {
        return;
    }
    let spool = Spool::new();
    let [real, mount] = ["real", "mount"].map(|name| spool.beside(name));
    fs::create_dir(&real).unwrap();
    fs::create_dir(&mount).unwrap();
    let mounted = Command::new("bindfs").args([&real, &mount]).output();
    let mounted = mounted.unwrap();
    if !mounted.status.success() {
        let why = String::from_utf8_lossy(&mounted.stderr);
        return eprintln!("skipped: bindfs cannot mount here: {why}");
    }
    let on_it = |args: &[&str]| {
        let mut command = spool.command(args);
        command.env("PIRN_SPOOL", mount.join("spool"));
        spool.finish(command.stdin(Stdio::null()))
    };
    let answers = [on_it(&["serve", "--drain"]), on_it(&["add", "true"])];
    let unmounted = Command::new("umount").arg(&mount).status().unwrap();
    assert!(unmounted.success());
    let codes = answers.each_ref().map(|done| done.code);
    // A bindfs that supports the flags is as good as the file system below it.
    if codes != [0, 0] {
        assert_eq!(codes, [78, 1], "{}", answers[0].stderr);
        for done in &answers {
            assert!(
                done.stderr.contains("the file system fuse"),
                "{}",
                done.stderr
            );
        }
    }
}
