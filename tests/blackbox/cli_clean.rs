//! `clean` and `retry --copy`.

use crate::spool::Spool;
use crate::tools::ok;
use serde_json::json;
use std::fs;
use std::process::Command;

/// Jobs `a` and `b` in `complete/`, `c` in `failed/`, all with logs; `a` ended two hours ago.
fn ended() -> Spool {
    let mut spool = Spool::serving(&[]);
    for id in ["a", "b"] {
        spool.run_json(id, &json!({"command": "echo out", "tags": ["t"]}));
    }
    spool.run_json(
        "c",
        &json!({"command": "echo out; exit 1", "tries": 1, "queue": "mail", "tags": ["t"]}),
    );
    spool.stop();
    let path = spool.path().join("complete/a");
    let touched = Command::new("touch")
        .args(["-d", "-2 hours"])
        .arg(path)
        .status();
    assert!(touched.unwrap().success());
    spool
}

#[test]
fn clean_empties_complete() {
    let spool = ended();
    spool.add(&["true"]);
    ok(&spool, &["clean"]);
    assert_eq!(
        (spool.ls("complete"), spool.ls("failed"), spool.ls("log")),
        (vec![], vec!["c".to_owned()], vec!["c".to_owned()])
    );
    assert!(spool.has("pending/1"));
    ok(&spool, &["clean"]);
    ok(&spool, &["clean", "--state", "failed"]);
    assert_eq!((spool.ls("failed"), spool.ls("log")), (vec![], vec![]));
}

#[test]
fn clean_of_a_spool_in_which_nothing_has_ended() {
    let spool = Spool::new();
    fs::create_dir_all(spool.path().join("pending")).unwrap();
    ok(&spool, &["clean", "--all"]);
    assert!(!spool.has("complete"));
}

#[test]
fn clean_all_empties_failed_too() {
    let spool = ended();
    spool.add(&["true"]);
    ok(&spool, &["clean", "--all", "--older", "1h"]);
    assert_eq!(
        (spool.ls("complete").len(), spool.ls("failed").len()),
        (1, 1)
    );
    ok(&spool, &["clean", "-a"]);
    assert_eq!(
        (spool.ls("complete"), spool.ls("failed"), spool.ls("log")),
        (vec![], vec![], vec![])
    );
    assert!(spool.has("pending/1"));
}

#[test]
fn clean_by_age_and_state() {
    let spool = ended();
    ok(
        &spool,
        &[
            "clean", "--older", "1h", "--state", "failed", "--state", "complete",
        ],
    );
    assert_eq!(
        (spool.ls("complete"), spool.ls("failed")),
        (vec!["b".to_owned()], vec!["c".to_owned()])
    );
    ok(
        &spool,
        &[
            "clean", "--older", "0s", "--state", "failed", "--state", "complete",
        ],
    );
    assert_eq!(
        (spool.ls("complete").len(), spool.ls("failed").len()),
        (0, 0)
    );
    for wrong in [&["--state", "pending"][..], &["--older", "soon"], &["a"]] {
        assert_eq!(
            spool.pirn(&[&["clean"], wrong].concat()).code,
            2,
            "{wrong:?}"
        );
    }
}

#[test]
fn clean_spares_a_job_of_the_name_that_waits() {
    let spool = ended();
    spool.drop_file("b", "true");
    ok(&spool, &["clean"]);
    assert!(spool.has("pending/b") && !spool.has("complete/b"));
    assert_eq!(Spool::new().pirn(&["clean"]).code, 66);
}

#[test]
fn retry_makes_copies() {
    let spool = ended();
    let before = spool.read("failed/c");
    let done = spool.pirn(&[
        "retry", "--failed", "--tag", "t", "--queue", "mail", "--copy",
    ]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, "1\n"),
        "{}",
        done.stderr
    );
    assert_eq!(spool.read("failed/c"), before);
    let copy = spool.record("pending/mail/1");
    assert_eq!(
        (&copy["command"], &copy["tags"], &copy["tries"]),
        (&json!("echo out; exit 1"), &json!(["t"]), &json!(1))
    );
    for gone in [
        "finished_at",
        "exit_code",
        "attempts",
        "output",
        "started_at",
    ] {
        assert_eq!(copy.get(gone), None, "{gone}");
    }
    // Jobs that wait can be copied too, when they are named.
    let done = spool.pirn(&["retry", "--copy", "1", "b"]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, "2\n3\n"),
        "{}",
        done.stderr
    );
    assert_eq!(spool.ls("pending/mail"), ["1", "2"]);
    assert_eq!(spool.pirn(&["retry", "--copy", "9"]).code, 66);
    fs::remove_file(spool.path().join("pending/3")).unwrap();
    ok(&spool, &["retry", "--failed", "--tag", "t"]);
    assert!(spool.has("pending/mail/c"));
}
