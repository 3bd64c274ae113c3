//! The bounds of a spool: retention, the disk guard, the number of waiting jobs, the size of a job; and the jobs that a
//! daemon serves.

use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::json;
use std::fs;

fn finished(spool: &Spool) -> Vec<String> {
    let mut all = spool.ls("complete");
    all.extend(spool.ls("failed"));
    all.sort();
    all
}

#[test]
fn keep_count_forgets_the_oldest_with_their_logs() {
    let mut spool = Spool::new();
    spool.config(r#"{"keep_count": 3}"#);
    spool.serve(&["--slots", "1"]);
    for n in 0..7 {
        let job = json!({"command": "echo out; echo err >&2; exit $((PIRN_ID % 2))", "tries": 1, "split": true, "tmp": "keep"});
        let id = n.to_string();
        spool.drop_json(&id, &job);
        // Retention may remove it before we look.
        spool.wait_for("its end", || {
            !spool.has(&format!("pending/{id}")) && !spool.has(&format!("active/{id}"))
        });
    }
    spool.wait_for("three to be left", || finished(&spool) == ["4", "5", "6"]);
    spool.wait_for("their logs alone", || {
        spool.ls("log").len() == 6 && spool.scratch() == ["4", "5", "6"]
    });
}

#[test]
fn keep_forgets_what_is_old() {
    let mut spool = Spool::serving(&[]);
    for id in ["old", "new"] {
        spool.drop_file(id, "echo x");
        spool.wait_record(&format!("complete/{id}"));
    }
    spool.stop();
    crate::tools::sh(&format!(
        "touch -d '-29 days' {}",
        spool.path().join("complete/old").display()
    ));
    let record = spool.read("complete/old");
    let at = spool.record("complete/old")["finished_at"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::write(
        spool.path().join("complete/old"),
        record.replace(&at, "2026-01-01T00:00:00Z"),
    )
    .unwrap();
    crate::tools::sh(&format!(
        "touch -d 2026-01-01 {}",
        spool.path().join("complete/old").display()
    ));
    spool.serve(&[]);
    // 28 days is the default.
    spool.wait_gone("complete/old");
    spool.wait_gone("log/old");
    assert!(spool.has("complete/new") && spool.has("log/new"));
}

#[test]
fn keep_null_keeps_for_ever() {
    let mut spool = Spool::serving(&[]);
    for id in ["old", "new"] {
        spool.drop_file(id, "echo x");
        spool.wait_record(&format!("complete/{id}"));
    }
    spool.stop();
    crate::tools::sh(&format!(
        "touch -d 2001-01-01 {}",
        spool.path().join("complete/old").display()
    ));
    spool.config(r#"{"keep": null}"#);
    spool.serve(&[]);
    spool.settle();
    assert!(spool.has("complete/old"));
    spool.config(r#"{"keep": "1ms"}"#);
    spool.wait_for("all to be forgotten", || {
        finished(&spool).is_empty() && spool.ls("log").is_empty()
    });
}

/// As if the clock had been two years ahead while the machine was off.
#[test]
fn a_clock_that_is_far_ahead_makes_nothing_old() {
    let mut spool = Spool::serving(&[]);
    for (id, years) in [("older", 3), ("old", 2)] {
        spool.drop_file(id, "echo x");
        spool.wait_record(&format!("complete/{id}"));
        let path = spool.path().join("complete").join(id);
        crate::tools::sh(&format!("touch -d '-{years} years' {}", path.display()));
    }
    spool.stop();
    spool.serve(&[]);
    spool.wait_daemon_log("nothing is forgotten for its age");
    spool.drop_file("new", "true");
    spool.wait_record("complete/new");
    assert_eq!(finished(&spool), ["new", "old", "older"]);
    // A job that ends now does not show that the clock is right; other bounds still hold.
    spool.config(r#"{"keep": "27d", "keep_count": 2}"#);
    spool.wait_gone("complete/older");
    assert_eq!(finished(&spool), ["new", "old"]);
    assert!(spool.has("log/old"));
    let said = spool.daemon_log();
    assert_eq!(
        said.matches("nothing is forgotten for its age").count(),
        1,
        "{said}"
    );
}

#[test]
fn keep_bytes_counts_logs() {
    let mut spool = Spool::new();
    spool.config(r#"{"keep_bytes": "100K"}"#);
    spool.serve(&["--slots", "1"]);
    for n in 0..4 {
        spool.drop_file(&format!("big{n}"), "head -c 40000 /dev/zero | tr '\\0' x");
        spool.wait_for("its end", || {
            !spool.has(&format!("pending/big{n}")) && !spool.has(&format!("active/big{n}"))
        });
    }
    spool.wait_for("two to be left", || finished(&spool) == ["big2", "big3"]);
}

#[test]
fn bad_is_not_touched_by_retention() {
    let mut spool = Spool::new();
    spool.config(r#"{"keep_count": 0, "keep": "1ms"}"#);
    spool.serve(&[]);
    spool.drop_file("broken", "{");
    spool.wait_bad("broken");
    spool.drop_file("1", "true");
    spool.wait_for("1 to be forgotten", || {
        !spool.has("pending/1") && !spool.has("active/1") && finished(&spool).is_empty()
    });
    assert_eq!(spool.ls("bad"), ["broken", "broken.reason"]);
}

#[test]
fn min_free_holds_back_new_work_only() {
    let mut spool = Spool::new();
    spool.config("{}");
    spool.serve(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("running", gate.wait());
    spool.wait_note("running");
    let guards = [r#"{"min_free": "1000000G"}"#, r#"{"min_free": "99.99%"}"#];
    for (n, guard) in guards.into_iter().enumerate() {
        spool.config(guard);
        // Two edits at once are read as one.
        spool.wait_for("the edit to be read", || {
            spool.daemon_log().matches("config: read").count() == n + 1
        });
        let done = spool.pirn(&["add", "true"]);
        assert_eq!((done.code, done.stdout.as_str()), (75, ""), "{guard}");
        assert!(done.stderr.contains("iB of min_free"), "{}", done.stderr);
    }
    spool.drop_file("dropped", "echo at last");
    spool.wait_daemon_log("nothing is started");
    assert!(spool.has("pending/dropped"));
    // Running jobs may finish.
    gate.open(1);
    spool.wait_record("complete/running");
    assert!(spool.has("pending/dropped") && !spool.has("log/dropped"));
    spool.config("{}");
    assert_eq!(spool.wait_record("complete/dropped")["output"], "at last\n");
    assert_eq!(spool.pirn(&["add", "true"]).code, 0);
}

#[test]
fn max_pending() {
    let spool = Spool::new();
    spool.config(r#"{"max_pending": 2}"#);
    spool.add(&["true"]);
    spool.add(&["-q", "mail", "true"]);
    let done = spool.pirn(&["add", "true"]);
    assert_eq!((done.code, done.stdout.as_str()), (75, ""));
    assert!(
        done.stderr.contains("max_pending") && done.stderr.contains('2'),
        "{}",
        done.stderr
    );
    spool.rm("pending/1");
    spool.add(&["true"]);
}

#[test]
fn max_job_bytes() {
    let mut spool = Spool::new();
    spool.config(r#"{"max_job_bytes": 2048}"#);
    spool.serve(&[]);
    spool.drop_file("fits", format!("true # {}", "x".repeat(2000)));
    spool.drop_file("not", format!("true # {}", "x".repeat(2048)));
    assert!(spool.wait_bad("not").contains("2048"));
    spool.wait_record("complete/fits");
    spool.config(r#"{"max_job_bytes": "4K"}"#);
    spool.wait_daemon_log("config: read");
    spool.mv("bad/not", "pending");
    spool.wait_record("complete/not");
}

#[test]
fn only_the_queues_that_match() {
    let spool = Spool::serving(&["--only", "ma*", "--only", "web"]);
    for queue in ["mail", "map", "web", "website", "default", "m"] {
        let record = json!({"command": "true", "queue": queue});
        spool.drop_json(&format!("in-{queue}"), &record);
    }
    for id in ["mail", "map", "web"] {
        spool.wait_record(&format!("complete/in-{id}"));
    }
    spool.wait_file("pending/website/in-website");
    spool.wait_file("pending/m/in-m");
    spool.drop_json("last", &json!({"command": "true", "queue": "mail"}));
    spool.wait_record("complete/last");
    assert!(
        spool.has("pending/in-default")
            && spool.has("pending/website/in-website")
            && spool.has("pending/m/in-m")
    );
}

#[test]
fn drain_ends_when_nothing_is_left_to_run() {
    let mut spool = Spool::new();
    let many: Vec<String> = (0..20)
        .map(|n| spool.add(&[&format!("echo {n}")]))
        .collect();
    let child = spool.add(&["--after", &many[19], "echo child"]);
    let retried = spool.add(&[
        "--tries",
        "2",
        "--backoff",
        "first=100ms",
        "[ $PIRN_ATTEMPT = 2 ]",
    ]);
    let later = spool.add(&["--in", "500ms", "echo later"]);
    spool.serve(&["--drain"]);
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(spool.ls("pending"), [""; 0]);
    for id in many.iter().chain([&child, &retried, &later]) {
        assert!(spool.has(&format!("complete/{id}")), "{id}");
    }
}

#[test]
fn drain_of_an_empty_spool_ends_at_once() {
    let spool = Spool::new();
    let is_over = |pid: u32| !crate::spool::is_alive(i64::from(pid));
    spool.make();
    let drained = |spool: &Spool| {
        let mut child = spool.spawn_logged(&mut spool.command(["serve", "--drain"]));
        crate::spool::wait_for("the daemon to exit", || is_over(child.id()));
        child.wait().unwrap().success()
    };
    assert!(drained(&spool));
    // A job that can never run here does not keep the daemon: its queue is paused, or its parent is not there.
    spool.config(r#"{"queues": {"mail": {"paused": true}}}"#);
    spool.add(&["-q", "mail", "true"]);
    spool.drop_json("orphan", &json!({"command": "true", "after": ["nobody"]}));
    assert!(drained(&spool));
    assert!(spool.has("pending/mail/1") && spool.has("pending/orphan"));
}
