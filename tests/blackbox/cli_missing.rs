//! Commands that only look or steer create nothing, and name what is missing.

use crate::spool::Spool;
use crate::tools::ok;
use std::fs;

/// All files below a directory with their sizes, so that any change shows.
fn tree(spool: &Spool) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = vec![spool.beside("")];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let size = if meta.is_file() { meta.len() } else { 0 };
            all.push(format!("{} {size}", entry.path().display()));
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    all.sort();
    all
}

/// Every command that only looks at the spool or moves its files.
const ALL: [&[&str]; 17] = [
    &["ls"],
    &["ls", "-U", "--ids"],
    &["ls", "--json", "pending"],
    &["show", "1"],
    &["log", "1"],
    &["log", "-f", "1"],
    &["wait", "1"],
    &["cancel", "1"],
    &["retry", "1"],
    &["retry", "--failed"],
    &["rm", "--kill", "1"],
    &["hold", "1"],
    &["release", "1"],
    &["pause"],
    &["resume", "mail"],
    &["status"],
    &["config", "check"],
];

#[test]
fn a_spool_that_is_not_there_is_named_and_not_made() {
    let spool = Spool::new();
    for args in ALL {
        let done = spool.pirn(args);
        let said = format!(
            "pirn: there is no spool {}; pirn serve, add and run make one\n",
            spool.path().display()
        );
        assert_eq!((done.code, done.stderr), (66, said), "{args:?}");
        assert_eq!(
            (done.stdout.as_str(), tree(&spool)),
            ("", vec![]),
            "{args:?}"
        );
    }
}

#[test]
fn the_nearest_spool_is_named() {
    let spool = Spool::new();
    spool.add(&["true"]);
    fs::create_dir(spool.beside("spoon")).unwrap();
    let before = tree(&spool);
    for (typo, said) in [
        ("spol", "there is no spool"),
        ("Spool", "there is no spool"),
        // The directory exists, but is no spool.
        ("spoon", "is no spool: it has no pending/"),
    ] {
        for args in ALL {
            let path = spool.beside(typo);
            let done = spool.finish(spool.command(["-S"]).arg(&path).args(args));
            assert_eq!((done.code, done.stdout.as_str()), (66, ""), "{args:?}");
            let right = format!("did you mean {}?\n", spool.path().display());
            assert!(
                done.stderr.contains(said)
                    && done.stderr.contains(path.to_str().unwrap())
                    && done.stderr.ends_with(&right),
                "{args:?}: {}",
                done.stderr
            );
        }
    }
    // A name without a parent directory, and the name of a file.
    let done = spool.finish(
        spool
            .command(["ls", "-S", "spol"])
            .current_dir(spool.beside("")),
    );
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (66, "pirn: there is no spool spol; did you mean spool?\n")
    );
    fs::write(spool.beside("spot"), "").unwrap();
    let done = spool.finish(spool.command(["ls", "-S"]).arg(spool.beside("spot")));
    assert_eq!(done.code, 66);
    fs::remove_file(spool.beside("spot")).unwrap();
    assert_eq!(tree(&spool), before);
}

#[test]
fn looking_makes_nothing_in_a_spool_that_lacks_something() {
    let spool = Spool::new();
    spool.add(&["true"]);
    for dir in ["active", "complete", "failed", "bad", "log", "tmp", "store"] {
        fs::remove_dir(spool.path().join(dir)).unwrap();
    }
    let before = tree(&spool);
    for args in [
        &["ls"][..],
        &["ls", "complete"],
        &["show", "1"],
        &["log", "1"],
        &["status"],
        &["config", "check"],
    ] {
        let done = spool.pirn(args);
        // `log` says why there is none.
        let says = if args[0] == "log" {
            "job 1 has not run yet"
        } else {
            ""
        };
        assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(says) && done.stderr.is_empty() == says.is_empty());
        assert_eq!(tree(&spool), before, "{args:?}");
    }
    // Commands that move a job create the directory that it goes to.
    ok(&spool, &["cancel", "1"]);
    assert_eq!(spool.record("failed/1")["reason"], "cancelled");
}

#[test]
fn a_queue_that_is_not_there_is_named_and_not_written_down() {
    let spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    spool.add(&["-q", "backup", "true"]);
    spool.add(&["-q", "once", "true"]);
    fs::write(
        spool.path().join("config.json"),
        r#"{"queues": {"upload": {"slots": 1}}}"#,
    )
    .unwrap();
    // The queue's directory is removed; its job stays, first finished, then held.
    ok(&spool, &["cancel", "3"]);
    fs::remove_dir(spool.path().join("pending/once")).unwrap();
    let before = tree(&spool);
    for (queue, hint) in [
        ("mial", "did you mean mail?"),
        ("uplod", "did you mean upload?"),
        ("onec", "did you mean once?"),
        ("defualt", "did you mean default?"),
        ("nosuch", "pirn add -q nosuch makes one"),
    ] {
        for args in [
            &["ls", "-q"][..],
            &["ls", "-U", "--ids", "-q"],
            &["ls", "--json", "complete", "-q"],
            &["pause"],
            &["resume"],
        ] {
            let done = spool.pirn(&[args, &[queue]].concat());
            assert_eq!(
                (done.code, done.stdout, done.stderr),
                (
                    66,
                    String::new(),
                    format!("pirn: there is no queue {queue}; {hint}\n")
                ),
                "{args:?} {queue}"
            );
            assert_eq!(tree(&spool), before, "{args:?} {queue}");
        }
    }
    for queue in ["default", "mail", "backup", "upload", "once"] {
        assert_eq!(spool.pirn(&["ls", "-q", queue]).code, 0, "{queue}");
        if queue != "default" {
            ok(&spool, &["pause", queue]);
        }
        ok(&spool, &["resume", queue]);
    }
    assert_eq!(spool.pirn(&["ls", "--ids", "-q", "once"]).stdout, "3\n");
    assert_eq!(spool.pirn(&["ls", "--ids", "-q", "mail"]).stdout, "1\n");
    assert_eq!(spool.pirn(&["ls", "--ids", "-q", "upload"]).stdout, "");
}

#[test]
fn a_queue_that_only_a_held_job_names() {
    let spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    ok(&spool, &["hold", "1"]);
    fs::remove_dir(spool.path().join("pending/mail")).unwrap();
    assert_eq!(spool.pirn(&["ls", "-q", "mail"]).code, 0);
    assert_eq!(spool.pirn(&["ls", "-q", "mial"]).code, 66);
}

#[test]
fn a_token_for_a_named_file_needs_no_spool() {
    let spool = Spool::new();
    let file = spool.beside("tokens");
    let done = spool.finish(
        spool
            .command(["token", "new", "ci", "push", "--file"])
            .arg(&file),
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(file.exists() && !spool.path().exists());
}

#[test]
fn the_job_of_a_file_in_bad_is_missed_with_the_reason() {
    let spool = Spool::serving(&[]);
    for (name, content, reason) in [
        ("7", r#"{"command": "true""#, "line 1"),
        ("7~1", "{}", "nothing to run"),
    ] {
        spool.drop_file("7", content);
        assert!(spool.wait_bad(name).contains(reason));
        for command in ["show", "log", "wait"] {
            let done = spool.pirn(&[command, "7"]);
            assert_eq!((done.code, done.stdout.as_str()), (66, ""));
            let path = spool.path().join("bad").join(name);
            let says = format!(
                "pirn: there is no job 7: a file of this name was moved to {}: ",
                path.display()
            );
            assert!(done.stderr.starts_with(&says), "{}", done.stderr);
            assert!(done.stderr.contains(reason), "{}", done.stderr);
        }
    }
    // A job of this name hides the files in bad/.
    spool.drop_file("7", "echo fine");
    spool.wait_record("complete/7");
    assert_eq!(spool.pirn(&["log", "7"]).stdout, "fine\n");
}
