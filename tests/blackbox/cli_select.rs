//! Words and options that stand for jobs.

use crate::spool::Spool;
use crate::strace::{Stopped, has_tool};
use crate::tools::{Gate, ok};
use serde_json::{Value, json};
use std::fs;

/// The id that `pirn show` finds for these words.
fn shown(spool: &Spool, args: &[&str]) -> Vec<String> {
    let done = spool.pirn(&[&["show", "--json"], args].concat());
    assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
    let records = serde_json::Deserializer::from_str(&done.stdout).into_iter::<Value>();
    records
        .map(|record| record.unwrap()["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Jobs 1 to 4, of which 1 and 3 are in the queue `mail`, and 2 and 3 have the tag `t`; 4 is called `label`.
fn four() -> Spool {
    let spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    spool.add(&["--tag", "t", "true"]);
    spool.add(&["-q", "mail", "--tag", "t", "true"]);
    spool.add(&["--name", "label", "true"]);
    spool
}

#[test]
fn words_and_options_mean_jobs() {
    let spool = four();
    for (args, expected) in [
        (&[][..], &["4"][..]),
        (&["last"], &["4"]),
        (&["last~0"], &["4"]),
        (&["last~3"], &["1"]),
        (&["2-3"], &["2", "3"]),
        (&["3-99"], &["3", "4"]),
        (&["4", "1-2", "last"], &["4", "1", "2", "4"]),
        (&["-q", "mail"], &["1", "3"]),
        (&["-q", "default"], &["2", "4"]),
        (&["--tag", "t"], &["2", "3"]),
        (&["--tag", "t", "-q", "mail"], &["3"]),
        (&["--name", "label"], &["4"]),
        (&["--all"], &["1", "2", "3", "4"]),
        (&["last", "-q", "mail"], &["3"]),
        (&["last~1", "--tag", "t"], &["2"]),
        (&["1-3", "--tag", "t"], &["2", "3"]),
        (&["3", "--tag", "t"], &["3"]),
    ] {
        assert_eq!(shown(&spool, args), expected, "{args:?}");
    }
    for (args, code, says) in [
        (&["last~4"][..], 66, "only 4 jobs"),
        (&["last~1", "--name", "label"], 66, "only one such job"),
        (&["last", "--tag", "none"], 66, "no such job"),
        (&["5-9"], 66, "5-9"),
        (&["3-2"], 66, "3-2"),
        (&["1", "--tag", "t"], 66, "job 1"),
        (&["--tag", "none"], 66, "no such job"),
        (&["--failed"], 66, "no such job"),
        (&["-q", "mial"], 66, "did you mean mail?"),
        (&["--all", "1"], 2, "--all"),
    ] {
        let done = spool.pirn(&[&["show"], args].concat());
        assert_eq!((done.code, done.stdout.as_str()), (code, ""), "{args:?}");
        assert!(done.stderr.contains(says), "{args:?}: {}", done.stderr);
    }
    assert_eq!(
        spool.pirn(&["ls", "--ids", "--name", "label"]).stdout,
        "4\n"
    );
    assert_eq!(spool.pirn(&["ls", "--ids", "--failed"]).stdout, "");
}

#[test]
fn an_id_comes_before_what_else_the_word_means() {
    let spool = four();
    for id in ["last", "2-3"] {
        spool.drop_file(id, "true");
    }
    assert_eq!(shown(&spool, &["last"]), ["last"]);
    assert_eq!(shown(&spool, &["2-3"]), ["2-3"]);
    ok(&spool, &["cancel", "2-3", "last"]);
    assert_eq!(spool.ls("failed"), ["2-3", "last"]);
    assert!(spool.has("pending/2") && spool.has("pending/4"));
}

/// Dates say which of the dropped jobs is the newest, not the order of names or the dates of files that were written
/// again.
#[test]
fn last_goes_by_the_date_of_the_job() {
    let spool = four();
    let record = |at: &str| json!({"command": "true", "created_at": at}).to_string();
    // In the year 2200, long after the numbered ones; its file is as old as all others.
    for (id, at, file) in [
        ("a", "2020-01-01T00:00:00Z", "2200-01-03 00:00"),
        ("b", "2200-01-02T00:00:00Z", "2200-01-02 12:00"),
        ("c", "2200-01-01T00:00:00Z", "2200-01-04 00:00"),
        // pirn has not given this number.
        ("99", "2200-01-01T12:00:00Z", "2200-01-01 13:00"),
    ] {
        spool.drop_file(id, record(at));
        let path = spool.path().join("pending").join(id);
        let touched = std::process::Command::new("touch")
            .args(["-d", file])
            .arg(path)
            .status()
            .unwrap();
        assert!(touched.success());
    }
    let order: Vec<String> = (0..8)
        .flat_map(|n| shown(&spool, &[&format!("last~{n}")]))
        .collect();
    assert_eq!(order, ["b", "99", "c", "4", "3", "2", "1", "a"]);
    // A file that is no record counts by its own date.
    spool.drop_file("broken", "{");
    let path = spool.path().join("pending/broken");
    let touched = std::process::Command::new("touch")
        .args(["-d", "2200-01-03 00:00"])
        .arg(path)
        .status()
        .unwrap();
    assert!(touched.success());
    let done = spool.pirn(&["show", "last"]);
    assert!(
        done.code == 1 && done.stderr.contains("broken"),
        "{}",
        done.stderr
    );
}

#[test]
fn commands_that_change_something_need_a_word() {
    let spool = four();
    for command in ["cancel", "retry", "rm", "hold", "release"] {
        let done = spool.pirn(&[command]);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{command}");
        assert!(done.stderr.contains("--all"), "{command}: {}", done.stderr);
        // Options that mean no job leave nothing to do.
        let done = spool.pirn(&[command, "--tag", "none"]);
        assert_eq!(done.code, 0, "{command}: {}", done.stderr);
        assert!(done.stderr.contains("no such job"), "{command}");
    }
    assert_eq!(spool.ls("pending"), ["2", "4", "mail"]);
    assert_eq!(spool.ls("pending/mail"), ["1", "3"]);
}

#[test]
fn options_mean_jobs_in_a_fitting_state() {
    let spool = four();
    ok(&spool, &["hold", "--tag", "t"]);
    assert_eq!(spool.ls("held"), ["2", "3"]);
    ok(&spool, &["release", "-q", "mail"]);
    assert_eq!(
        (spool.ls("held"), spool.ls("pending/mail")),
        (vec!["2".to_owned()], vec!["1".to_owned(), "3".to_owned()])
    );
    ok(&spool, &["cancel", "1-2"]);
    assert_eq!(spool.ls("failed"), ["1", "2"]);
    // Those that have ended are not complained of.
    ok(&spool, &["cancel", "-q", "mail"]);
    assert_eq!(spool.ls("failed"), ["1", "2", "3"]);
    fs::rename(
        spool.path().join("failed/3"),
        spool.path().join("complete/3"),
    )
    .unwrap();
    ok(&spool, &["retry", "-q", "mail"]);
    assert_eq!(
        (spool.ls("pending/mail"), spool.ls("complete")),
        (vec!["1".to_owned()], vec!["3".to_owned()])
    );
    ok(&spool, &["retry", "-q", "mail", "--all"]);
    assert_eq!(spool.ls("pending/mail"), ["1", "3"]);
    ok(&spool, &["rm", "--failed"]);
    assert_eq!(
        (spool.ls("failed").len(), spool.ls("pending/mail").len()),
        (0, 2)
    );
    ok(&spool, &["rm", "--all"]);
    assert_eq!(
        (spool.ls("pending"), spool.ls("pending/mail")),
        (vec!["mail".to_owned()], vec![])
    );
}

#[test]
fn hostile_words_are_words() {
    let spool = Spool::made();
    for id in ["$(touch x)", "a b", "last job", "*", "last~~", "3-7-"] {
        spool.drop_file(&id.replace('~', "_"), "true");
        let done = spool.pirn(&["cancel", id]);
        let is_id = !id.contains('~');
        assert_eq!(
            done.code,
            if is_id { 0 } else { 2 },
            "{id}: {}",
            done.stderr
        );
    }
    for wrong in ["-x", "--", "../active/7", "a\nb", ""] {
        assert_eq!(spool.pirn(&["cancel", wrong]).code, 2, "{wrong:?}");
    }
    assert_eq!(spool.pirn(&["cancel", "--", "-x"]).code, 2);
    assert_eq!(spool.ls("pending"), ["last__"]);
    assert!(!std::path::Path::new("x").exists());
}

#[test]
fn bare_pirn_lists() {
    let spool = four();
    let (bare, ls) = (spool.pirn(&[]), spool.pirn(&["ls"]));
    // The jobs may be a second older at the second look.
    let is_age = |word: &&str| {
        let number = word.strip_suffix('s');
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let words = |text: &str| -> Vec<String> {
        let words = text.split_whitespace().filter(|word| !is_age(word));
        words.map(str::to_owned).collect()
    };
    assert_eq!((bare.code, words(&bare.stdout)), (0, words(&ls.stdout)));
    assert_eq!(bare.stdout.lines().count(), 5);
    assert_eq!(Spool::new().pirn(&[]).code, 66);
}

#[test]
fn jobs_come_after_the_last_one() {
    let spool = four();
    let id = spool.add(&["--after", "last,1-2", "true"]);
    assert_eq!(
        spool.record(&format!("pending/{id}"))["after"],
        json!(["4", "1", "2"])
    );
    assert_eq!(spool.pirn(&["add", "--after", "last~9", "true"]).code, 66);
}

#[test]
fn nothing_to_look_at_is_66() {
    let spool = Spool::made();
    for command in ["show", "log", "wait"] {
        for args in [&[][..], &["last"], &["--tag", "t"]] {
            let done = spool.pirn(&[&[command], args].concat());
            assert_eq!(
                (done.code, done.stdout.as_str()),
                (66, ""),
                "{command} {args:?}"
            );
            assert!(
                done.stderr.contains("job"),
                "{command} {args:?}: {}",
                done.stderr
            );
        }
    }
    assert_eq!(spool.pirn(&["wait", "--all"]).code, 0);
}

/// The try fails when the command has looked at the jobs that wait, and not yet at those that run.
#[test]
fn a_job_that_goes_back_to_wait_meanwhile_is_meant_too() {
    if !has_tool("strace", "strace") {
        return;
    }
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    let line = format!("{}; false", gate.wait());
    let backoff = json!({"first": "1h", "max": "1h"});
    spool.drop_json(
        "7",
        &json!({"command": line, "tries": 2, "backoff": backoff}),
    );
    spool.wait_note("7");
    let held = spool.path().join("held");
    let cancel = Stopped::after(&spool, &["cancel", "--all"], "getdents64", held.to_str());
    gate.open(1);
    spool.wait_file("pending/7");
    assert!(cancel.go_on().success());
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
}
