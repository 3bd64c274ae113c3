//! How tries end and what follows: timeouts, exit codes, tries, backoff, and their traces in the record.

use crate::spool::Spool;
use crate::tools::text;
use serde_json::{Value, json};
use std::fs;

fn tries(record: &Value) -> usize {
    record["attempts"].as_array().unwrap().len()
}

#[test]
fn timeout_ends_the_whole_tree() {
    let spool = Spool::serving(&[]);
    let line = "setsid sleep 600 & echo ready; sleep 600";
    let (state, record, timeout) = spool.run_ready(
        "1",
        |timeout| json!({"command": line, "timeout": timeout, "tries": 1}),
    );
    assert_eq!(
        (state.as_str(), &record["reason"], &record["signal"]),
        ("failed", &json!("timeout"), &json!(15))
    );
    assert_eq!(spool.all_processes(), [0; 0]);
    let took = record["duration"].as_f64().unwrap();
    assert!((0.0..4.7).contains(&(took - timeout)), "{took}");
    assert_eq!(record["output"], "ready\n");
}

#[test]
fn after_the_grace_comes_kill() {
    let spool = Spool::serving(&[]);
    let line = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done";
    let (_, record, timeout) = spool.run_ready(
        "1",
        |timeout| json!({"command": line, "timeout": timeout, "grace": 0.3, "tries": 1}),
    );
    assert_eq!(
        (&record["reason"], &record["signal"]),
        (&json!("timeout"), &json!(9))
    );
    assert!(text(&record, "output").contains("asked\n"));
    let took = record["duration"].as_f64().unwrap();
    assert!((0.3..4.8).contains(&(took - timeout)), "{took}");
}

#[test]
fn a_job_that_tidies_up_in_its_grace() {
    let spool = Spool::serving(&[]);
    let job = |trap: &str, timeout: f64| {
        let line = format!("trap '{trap}' TERM; echo ready; while :; do sleep 0.02; done");
        json!({"command": line, "timeout": timeout, "tries": 1})
    };
    let (state, record, _) = spool.run_ready("1", |timeout| job("echo tidy; exit 3", timeout));
    assert_eq!(
        (state.as_str(), &record["reason"], &record["exit_code"]),
        ("failed", &json!("timeout"), &json!(3))
    );
    assert!(text(&record, "output").ends_with("tidy\n"));
    // A try that exits with 0 after its timeout has failed, too.
    let (state, record, _) = spool.run_ready("2", |timeout| job("exit 0", timeout));
    assert_eq!(
        (state.as_str(), &record["reason"]),
        ("failed", &json!("timeout"))
    );
}

#[test]
fn a_timeout_is_tried_again() {
    let spool = Spool::serving(&[]);
    // On a slow machine the second try may be too late, too.
    let job = json!({"command": "[ $PIRN_ATTEMPT != 1 ] || sleep 600", "timeout": "200ms", "tries": 99, "backoff": {"first": "5ms"}});
    let (state, record) = spool.run_json("1", &job);
    assert_eq!(state, "complete", "{record}");
    let tries = record["attempts"].as_array().unwrap();
    let (last, others) = tries.split_last().unwrap();
    assert_eq!(last["reason"], "exited");
    assert!(!others.is_empty() && others.iter().all(|t| t["reason"] == "timeout"));
}

#[test]
fn exit_codes_decide() {
    let spool = Spool::serving(&[]);
    let quick = json!({"first": "5ms"});
    for (name, code, rules, expected) in [
        ("any", 1, json!({}), 3),
        ("permanent", 100, json!({}), 1),
        ("permanent-listed", 100, json!({"retry_on": [100]}), 1),
        ("temporary", 75, json!({}), 3),
        ("listed", 4, json!({"retry_on": [3, 4]}), 3),
        ("not-listed", 5, json!({"retry_on": [3, 4]}), 1),
        ("always-75", 75, json!({"retry_on": [4]}), 3),
        ("always-111", 111, json!({"retry_on": []}), 3),
        ("none-listed", 1, json!({"retry_on": []}), 1),
        ("fatal", 2, json!({"fail_on": [2]}), 1),
        ("fatal-not", 3, json!({"fail_on": [2]}), 3),
        (
            "fatal-and-listed",
            2,
            json!({"fail_on": [2], "retry_on": [2]}),
            1,
        ),
        ("high", 255, json!({}), 3),
    ] {
        let mut record = rules;
        record["command"] = json!(format!("exit {code}"));
        record["backoff"] = quick.clone();
        let (state, record) = spool.run_json(name, &record);
        assert_eq!(
            (state.as_str(), &record["exit_code"]),
            ("failed", &json!(code)),
            "{name}"
        );
        assert_eq!(
            (record["reason"].as_str(), tries(&record)),
            (Some("exited"), expected),
            "{name}"
        );
        assert_eq!(record["attempt"], expected, "{name}");
    }
}

#[test]
fn tries_and_a_success_in_between() {
    let spool = Spool::serving(&[]);
    let job = json!({"command": "echo try $PIRN_ATTEMPT; [ $PIRN_ATTEMPT = 4 ]", "tries": 9, "backoff": {"first": "2ms", "factor": 1}});
    let (state, record) = spool.run_json("1", &job);
    assert_eq!((state.as_str(), tries(&record)), ("complete", 4));
    assert_eq!(spool.read("log/1"), "try 1\ntry 2\ntry 3\ntry 4\n");
    let offsets: Vec<_> = (0..4)
        .map(|n| record["attempts"][n]["log_offset"].as_u64())
        .collect();
    assert_eq!(offsets, [Some(0), Some(6), Some(12), Some(18)]);
    assert_eq!(
        (&record["output"], &record["log_bytes"]),
        (&json!("try 4\n"), &json!(24))
    );
}

#[test]
fn backoff_grows_to_its_bound() {
    let spool = Spool::serving(&[]);
    let starts = spool.beside("starts");
    let job = json!({"command": format!("date +%s%N >> {}; false", starts.display()), "tries": 5,
        "backoff": {"first": "100ms", "factor": 2, "max": "250ms"}});
    spool.run_json("1", &job);
    let at: Vec<f64> = fs::read_to_string(starts)
        .unwrap()
        .lines()
        .map(|line| line.parse::<f64>().unwrap() / 1e6)
        .collect();
    let waits: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Jitter shortens a wait by at most a quarter; only a slow machine makes it longer.
    for (wait, nominal) in waits.iter().zip([100.0, 200.0, 250.0, 250.0]) {
        assert!(
            *wait >= nominal * 0.5 && *wait < nominal + 5_000.0,
            "{waits:?}"
        );
    }
    assert!(waits[1] > 100.0 && waits[2] > 125.0, "{waits:?}");
}

#[test]
fn what_waits_for_its_next_try_says_when() {
    let spool = Spool::serving(&[]);
    spool.drop_json(
        "1",
        &json!({"command": "echo x; false", "backoff": {"first": "1h", "max": "2h"}}),
    );
    spool.wait_for("the backoff", || {
        spool.has("pending/1") && spool.read("pending/1").contains("attempts")
    });
    let record = spool.record("pending/1");
    assert_eq!((&record["attempt"], tries(&record)), (&json!(1), 1));
    let due = text(&record, "retry_at");
    assert!(due > text(&record["attempts"][0], "finished_at"), "{due}");
    assert_eq!(record.get("finished_at"), None, "it is not over");
    assert_eq!(record.get("exit_code"), None);
}

#[test]
fn signals_are_named() {
    let spool = Spool::serving(&[]);
    for (name, signal, number) in [
        ("term", "TERM", 15),
        ("kill", "KILL", 9),
        ("segv", "SEGV", 11),
        ("hup", "HUP", 1),
    ] {
        let job = json!({"command": format!("kill -{signal} $$"), "tries": 1});
        let (state, record) = spool.run_json(name, &job);
        assert_eq!(
            (state.as_str(), &record["reason"], &record["signal"]),
            ("failed", &json!("signaled"), &json!(number))
        );
        assert_eq!(record.get("exit_code"), None);
    }
}

#[test]
fn once_is_not_tried_again() {
    let spool = Spool::serving(&[]);
    let (state, record) = spool.run_json(
        "1",
        &json!({"command": "echo ran; exit 1", "once": true, "tries": 5}),
    );
    assert_eq!((state.as_str(), tries(&record)), ("failed", 1));
    assert_eq!(
        (spool.read("log/1").as_str(), &record["once"]),
        ("ran\n", &json!(true))
    );
}

#[test]
fn what_a_job_leaves_in_the_background_does_not_hold_its_end() {
    let spool = Spool::serving(&[]);
    let job = json!({"command": "(sleep 0.3; echo late) & echo early"});
    let (state, record) = spool.run_json("1", &job);
    assert_eq!(
        (state.as_str(), &record["exit_code"]),
        ("complete", &json!(0))
    );
    assert!(text(&record, "output").starts_with("early\n"));
    // After a failure, no process of the try may be left when the next one starts.
    let runs = spool.beside("runs");
    let line = format!(
        "[ -z \"$(cat {0} 2>/dev/null | xargs -r -n1 sh -c 'kill -0 $0 2>/dev/null && echo alive')\" ] || echo two at once; sleep 600 & echo $! >> {0}; false",
        runs.display()
    );
    let (_, record) = spool.run_json(
        "2",
        &json!({"command": line, "tries": 3, "backoff": {"first": "5ms"}}),
    );
    assert_eq!(tries(&record), 3);
    assert!(!spool.has("log/2"), "{}", spool.read("log/2"));
    assert_eq!(spool.processes("2"), [0; 0]);
}

#[test]
fn children_exits_of_many_at_once_are_all_noticed() {
    let spool = Spool::serving(&["--slots", "16"]);
    for n in 0..200 {
        spool.drop_json(
            &n.to_string(),
            &json!({"command": ["sh", "-c", format!("exit {}", n % 3)], "tries": 1}),
        );
    }
    for n in 0..200 {
        let (state, record) = spool.wait_end(&n.to_string());
        assert_eq!(record["exit_code"], n % 3);
        assert_eq!(state, if n % 3 == 0 { "complete" } else { "failed" });
    }
}
