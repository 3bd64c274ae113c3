//! Jobs that take several slots, and tokens.

use crate::spool::{Spool, is_alive};
use crate::tools::text;
use serde_json::json;

/// Writes into its log what it was given, then waits until the file is there.
fn holding(file: &std::path::Path) -> String {
    format!(
        "echo \"<$PIRN_GPU> <$CUDA_VISIBLE_DEVICES> <$PIRN_DISK>\"; until [ -e {} ]; do sleep 0.02; done",
        file.display()
    )
}

#[test]
fn units_are_handed_out_and_noted() {
    let spool = Spool::made();
    spool.config(r#"{"tokens": {"gpu": ["0", "1", "2"], "disk": ["sda"], "licence": 5}}"#);
    let mut spool = spool;
    spool.serve(&["--slots", "8"]);
    let go = spool.beside("go");
    let hold = holding(&go);
    spool.add(&[
        "--id",
        "a",
        "--use",
        "gpu=2,licence",
        "--use",
        "disk",
        &hold,
    ]);
    spool.wait_for("its output", || {
        spool.has("log/a") && spool.read("log/a") == "<0,1> <0,1> <sda>\n"
    });
    // Its record had them before it began.
    assert_eq!(
        spool.record("active/a")["units"],
        json!({"gpu": ["0", "1"], "disk": ["sda"]})
    );
    let shown = spool.pirn(&["show", "a"]).stdout;
    assert!(shown.contains("disk=sda, gpu=0,1\n"), "{shown}");
    spool.drop_file("b", json!({"command": hold, "use": {"gpu": 1}}).to_string());
    spool.wait_for("its output", || {
        spool.has("log/b") && spool.read("log/b") == "<2> <2> <>\n"
    });
    spool.add(&["--id", "c", "--use", "gpu", "true"]);
    spool.add(&["--id", "plain", "true"]);
    spool.wait_file("complete/plain");
    assert!(spool.has("pending/c"));
    // A setting that gives one more has effect at once.
    spool.config(r#"{"tokens": {"gpu": ["0", "1", "2", "3"], "disk": ["sda"], "licence": 5}}"#);
    spool.wait_file("complete/c");
    assert_eq!(spool.record("complete/c")["units"], json!({"gpu": ["3"]}));
    std::fs::write(&go, "").unwrap();
    for name in ["a", "b"] {
        spool.wait_file(&format!("complete/{name}"));
    }
}

/// The variable of the caller does not count: its cards may be another job's.
#[test]
fn the_cards_are_those_that_were_given() {
    let spool = Spool::made();
    spool.config(r#"{"tokens": {"gpu": ["7"]}}"#);
    let mut spool = spool;
    spool.serve(&[]);
    let env = json!({"CUDA_VISIBLE_DEVICES": "0", "PIRN_GPU": "0"});
    let job =
        json!({"command": "echo $CUDA_VISIBLE_DEVICES $PIRN_GPU", "env": env, "use": {"gpu": 1}});
    let (state, record) = spool.run_json("1", &job);
    assert_eq!(
        (state.as_str(), text(&record, "output")),
        ("complete", "7 7\n")
    );
}

#[test]
fn units_stay_taken_over_a_crash() {
    let spool = Spool::made();
    spool.config(r#"{"tokens": {"gpu": ["0", "1"]}}"#);
    let mut spool = spool;
    spool.serve(&["--slots", "8"]);
    let go = spool.beside("go");
    let hold = holding(&go);
    spool.add(&["--id", "a", "--use", "gpu", &hold]);
    spool.wait_for("its output", || {
        spool.has("log/a") && spool.read("log/a").starts_with("<0>")
    });
    spool.crash();
    spool.serve(&["--slots", "8"]);
    spool.add(&["--id", "b", "--use", "gpu", &hold]);
    spool.wait_for("its output", || {
        spool.has("log/b") && spool.read("log/b").starts_with("<1>")
    });
    spool.add(&["--id", "c", "--use", "gpu=2", "echo $PIRN_GPU"]);
    spool.add(&["--id", "plain", "true"]);
    spool.wait_file("complete/plain");
    assert!(spool.has("pending/c"));
    std::fs::write(&go, "").unwrap();
    spool.wait_file("complete/c");
    assert_eq!(spool.read("log/c"), "0,1\n");
}

/// A process that a successful job leaves behind would go on using the unit.
#[test]
fn a_job_with_tokens_leaves_nothing_behind() {
    let spool = Spool::made();
    spool.config(r#"{"tokens": {"gpu": ["0"]}}"#);
    let mut spool = spool;
    spool.serve(&[]);
    let job = |uses| json!({"command": "sleep 1000 & echo $!", "use": uses, "grace": "5s"});
    let (state, record) = spool.run_json("with", &job(json!({"gpu": 1})));
    assert_eq!(
        (state.as_str(), &record["exit_code"]),
        ("complete", &json!(0))
    );
    let left: i64 = text(&record, "output").trim().parse().unwrap();
    assert!(!is_alive(left));
    // One without tokens may.
    let (_, record) = spool.run_json("without", &job(json!({})));
    let left: i64 = text(&record, "output").trim().parse().unwrap();
    assert!(is_alive(left));
    crate::tools::sh(&format!("kill {left}"));
}

#[test]
fn a_wide_job_takes_its_slots() {
    let spool = Spool::serving(&["--slots", "3"]);
    let go = spool.beside("go");
    let hold = holding(&go);
    spool.add(&["--id", "wide", "--slots", "2", &hold]);
    spool.wait_file("active/wide");
    spool.add(&["--id", "narrow", &hold]);
    spool.wait_file("active/narrow");
    spool.add(&["--id", "next", "--slots", "3", "echo $PIRN_SLOT"]);
    spool.add(&["--id", "last", "true"]);
    std::fs::write(&go, "").unwrap();
    spool.wait_file("complete/last");
    let started = |name: &str| spool.record(&format!("complete/{name}"))["started_at"].clone();
    assert!(
        text(&json!({"at": started("next")}), "at") <= text(&json!({"at": started("last")}), "at")
    );
    assert_eq!(spool.read("log/next"), "0\n");
}
