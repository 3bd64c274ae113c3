//! Rules for all commands: exit codes, help, colour, readers that close the pipe.

use crate::cli_look::one_of_each;
use crate::spool::Spool;

#[test]
fn unknown_ids_are_66() {
    let spool = Spool::made();
    for args in [
        vec!["show", "nobody"],
        vec!["show", "--json", "nobody"],
        vec!["log", "nobody"],
        vec!["log", "-f", "nobody"],
        vec!["wait", "nobody"],
        vec!["cancel", "nobody"],
        vec!["retry", "nobody"],
        vec!["rm", "nobody"],
        vec!["hold", "nobody"],
        vec!["release", "nobody"],
    ] {
        let done = spool.pirn(&args);
        assert_eq!((done.code, done.stdout.as_str()), (66, ""), "{args:?}");
        assert!(done.stderr.contains("nobody"), "{args:?}: {}", done.stderr);
    }
}

#[test]
fn a_mistyped_word_names_the_nearest_right_one() {
    let spool = Spool::new();
    for (args, right) in [
        (vec!["ad", "true"], "add"),
        (vec!["add", "--prioriy", "3", "true"], "--priority"),
        (vec!["run", "--timout", "3", "true"], "--timeout"),
        (vec!["ls", "--jsn"], "--json"),
        (vec!["statsu"], "status"),
        (vec!["relase", "1"], "release"),
        (vec!["hold", "--spol", "x", "1"], "--spool"),
        (vec!["serve", "--slot", "3"], "--slots"),
        (vec!["add", "--limit", "nofiles=3", "true"], "nofile"),
    ] {
        let done = spool.pirn(&args);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{args:?}");
        assert!(
            done.stderr.contains(&format!("{right}'"))
                || done.stderr.contains(&format!("{right}\"")),
            "{args:?}: {}",
            done.stderr
        );
    }
    for args in [
        vec!["add"],
        vec!["run"],
        vec!["add", ""],
        vec!["add", "--tries", "0", "true"],
        vec!["add", "--timeout", "soon", "true"],
        vec!["add", "--at", "whenever", "true"],
        vec!["add", "--nice", "99", "true"],
        vec!["add", "--umask", "9", "true"],
        vec!["add", "--retry-on", "300", "true"],
        vec!["add", "-e", "=x", "true"],
        vec!["cancel"],
        vec!["retry"],
        vec!["rm"],
        vec!["hold"],
        vec!["release"],
        vec!["log", "-n", "x", "1"],
        vec!["add", "--backoff", "fast", "true"],
    ] {
        let done = spool.pirn(&args);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (2, ""),
            "{args:?}: {}",
            done.stderr
        );
        assert!(!done.stderr.is_empty());
    }
    assert!(!spool.has("pending/1"));
}

#[test]
fn help_and_version_go_to_stdout() {
    let spool = Spool::new();
    let help = spool.pirn(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for command in [
        "serve", "add", "run", "ls", "show", "log", "wait", "cancel", "retry", "rm", "hold",
        "release", "pause", "resume", "status", "config",
    ] {
        assert!(help.stdout.contains(command), "{command}");
        let done = spool.pirn(&[command, "--help"]);
        assert_eq!(done.code, 0, "{command}");
        assert!(done.stdout.contains("Usage"), "{command}");
    }
    let version = spool.pirn(&["--version"]);
    assert_eq!(
        (version.code, version.stdout),
        (0, format!("pirn {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn no_colour_where_nobody_sees_it() {
    let (spool, _gate) = one_of_each();
    for args in [
        vec!["ls"],
        vec!["status"],
        vec!["show", "good"],
        vec!["--help"],
    ] {
        let done = spool.pirn(&args);
        assert!(
            !done.stdout.contains('\u{1b}') && !done.stderr.contains('\u{1b}'),
            "{args:?}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let spool = Spool::serving(&[]);
    spool.drop_file("7", "seq 100000");
    spool.wait_record("complete/7");
    let pirn = spool.command([""]).get_program().display().to_string();
    let mut command = std::process::Command::new("bash");
    command
        .args(["-c", &format!("set -o pipefail; {pirn} log 7 | head -n 1")])
        .env("PIRN_SPOOL", spool.path());
    let done = spool.finish(&mut command);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("1\n", ""));
    assert!([0, 141].contains(&done.code), "{}", done.code);
}
