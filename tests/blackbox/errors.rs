//! Errors of the system: they name the path, say what happened and what to do, and have no numbers.

use crate::spool::{DEADLINE, Done, Spool};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// Commands that look at a spool or steer it, as far as they do not go on waiting.
const LOOKS: [&[&str]; 27] = [
    &["ls"],
    &["ls", "--json"],
    &["ls", "-a", "-U", "--ids"],
    &["show", "1"],
    &["show"],
    &["log", "1"],
    &["wait", "1", "--timeout", "1ms"],
    &["cancel", "1"],
    &["kill", "1"],
    &["retry", "1"],
    &["retry", "--copy", "1"],
    &["rm", "1"],
    &["hold", "1"],
    &["release", "1"],
    &["urgent", "1"],
    &["move", "1", "mail"],
    &["edit", "1"],
    &["clean"],
    &["slots"],
    &["slots", "3"],
    &["pause"],
    &["resume"],
    &["stop"],
    &["drain"],
    &["status"],
    &["config", "check"],
    &["config", "set", "slots", "3"],
];

/// Commands that make a spool that is missing.
const MAKES: [&[&str]; 6] = [
    &["add", "true"],
    &["add", "--batch"],
    &["at", "noon", "true"],
    &["run", "true"],
    &["new-id"],
    &["serve", "--drain"],
];

/// Commands that have to write into the spool, in which job 1 waits.
const WRITES: [&[&str]; 17] = [
    &["cancel", "1"],
    &["cancel", "--all"],
    &["retry", "--copy", "1"],
    &["rm", "1"],
    &["hold", "1"],
    &["urgent", "1"],
    &["move", "1", "mail"],
    &["edit", "1"],
    &["slots", "3"],
    &["pause"],
    &["config", "set", "slots", "3"],
    &["add", "true"],
    &["add", "--batch"],
    &["at", "noon", "true"],
    &["run", "true"],
    &["new-id"],
    &["serve"],
];

/// Runs a command as another user, or in another mount namespace, with a line on its standard input.
fn run(spool: &Spool, before: &[&str], args: &[&str]) -> Done {
    let pirn = spool.command(args);
    let path = spool.path().display().to_string();
    let before: Vec<String> = before
        .iter()
        .map(|word| word.replace("SPOOL", &path))
        .collect();
    let input = spool.beside("line");
    fs::write(&input, "true\n").unwrap();
    let seconds = DEADLINE.as_secs().to_string();
    let mut command = Command::new("timeout");
    command
        .arg(seconds)
        .args(before)
        .arg(pirn.get_program())
        .args(args);
    command
        .env("PIRN_SPOOL", spool.path())
        .env("EDITOR", "true")
        .env_remove("VISUAL");
    command.stdin(Stdio::from(fs::File::open(input).unwrap()));
    spool.finish(&mut command)
}

/// Checks that a command fails, naming the path, with these words.
fn check(spool: &Spool, done: &Done, args: &[&str], words: &str) {
    let said = format!("{args:?}: {} {:?}", done.code, done.stderr);
    assert!(done.code != 0 && done.code != 124, "{said}");
    assert!(!done.stderr.contains("os error"), "{said}");
    let path = spool.path().display().to_string();
    let mut lines = done.stderr.lines();
    assert!(
        lines.any(|line| line.contains(&path) && line.contains(words)),
        "{said}"
    );
}

/// The words before a command that make it one of another user.
const OTHER: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// A spool of this user with a job that waits, which another one can find.
fn spool_for_others(mode: u32) -> Option<Spool> {
    let spool = Spool::new();
    spool.add(&["true"]);
    let set = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(spool.beside(""), 0o755);
    let mut open = vec![spool.path().to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => set(entry.path(), mode & 0o666),
            }
        }
        set(dir, mode);
    }
    let done = run(&spool, &OTHER, &["--version"]);
    if done.code != 0 {
        eprintln!("skipped: needs root and setpriv: {}", done.stderr);
        return None;
    }
    Some(spool)
}

const ADVICE: &str =
    "Permission denied; it belongs to root: become that user, or have its mode changed";

#[test]
fn a_spool_that_cannot_be_read() {
    let Some(spool) = spool_for_others(0o700) else {
        return;
    };
    for args in LOOKS.iter().chain(&MAKES) {
        check(&spool, &run(&spool, &OTHER, args), args, ADVICE);
    }
}

#[test]
fn a_spool_that_cannot_be_written() {
    let Some(spool) = spool_for_others(0o755) else {
        return;
    };
    for args in WRITES {
        check(&spool, &run(&spool, &OTHER, args), args, ADVICE);
    }
}

#[test]
fn a_file_in_place_of_a_spool() {
    let spool = Spool::new();
    fs::write(spool.path(), "").unwrap();
    for args in LOOKS.iter().chain(&MAKES) {
        check(&spool, &run(&spool, &[], args), args, "directory");
    }
}

#[test]
fn a_read_only_file_system() {
    let spool = Spool::new();
    spool.add(&["true"]);
    let line = "mount --bind SPOOL SPOOL && mount -o remount,ro,bind SPOOL && exec \"$@\"";
    let before = ["unshare", "-m", "sh", "-c", line, "sh"];
    let done = run(&spool, &before, &["--version"]);
    if done.code != 0 {
        return eprintln!("skipped: cannot mount here: {}", done.stderr);
    }
    for args in WRITES {
        let done = run(&spool, &before, args);
        check(
            &spool,
            &done,
            args,
            "Read-only file system; remount it for writing, or use another",
        );
    }
}

#[test]
fn a_spool_that_is_missing() {
    let spool = Spool::new();
    for args in LOOKS {
        check(&spool, &run(&spool, &[], args), args, "there is no spool");
    }
}

#[test]
fn the_log_and_records_have_no_numbers_either() {
    let spool = Spool::serving(&[]);
    let (state, record) = spool.run_json(
        "7",
        &serde_json::json!({"command": ["/no/such/program"], "tries": 1}),
    );
    assert_eq!(state, "failed");
    assert_eq!(
        record["error"],
        "cannot execute /no/such/program: No such file or directory"
    );
    fs::create_dir(spool.path().join("config.json")).unwrap();
    spool.wait_daemon_log("config");
    assert!(
        !spool.daemon_log().contains("os error"),
        "{}",
        spool.daemon_log()
    );
}
