//! `pirn pull` from SQS, where every fault is to order.

use crate::faults::{Fault, FaultySqs};
use crate::spool::{Spool, wait_for};
use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

/// A process that is killed when the test ends.
struct Pull(Child);

impl Drop for Pull {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn with_keys(command: &mut Command) -> &mut Command {
    let home = std::env::temp_dir();
    command
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_PROFILE")
        .env("XDG_CACHE_HOME", home.join("none"))
        .env("PIRN_LOG", "debug")
}

/// Settings for a bridge to this queue.
pub fn configure(spool: &Spool, sqs: &FaultySqs, queue: &str, more: serde_json::Value) {
    let mut entry =
        serde_json::json!({"url": format!("sqs:{queue}"), "endpoint": sqs.url(), "wait": "1s"});
    let fields = entry.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let text = serde_json::json!({"remote": {"work": entry}}).to_string();
    fs::write(spool.beside("new"), text).unwrap();
    fs::rename(spool.beside("new"), spool.path().join("config.json")).unwrap();
}

fn pull(spool: &Spool) -> Pull {
    let mut command = spool.command(["pull", "work"]);
    Pull(spool.spawn_logged(with_keys(&mut command)))
}

pub fn drain(spool: &Spool) -> crate::spool::Done {
    let mut command = spool.command(["pull", "--drain", "work"]);
    spool.finish(with_keys(&mut command))
}

fn has(spool: &Spool, place: &str, id: &str) -> bool {
    spool.path().join(place).join(id).exists()
}

#[test]
fn jobs_are_acknowledged_or_go_to_the_failed_queue() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 1);
    let spool = Spool::serving(&["--slots", "4"]);
    configure(&spool, &sqs, "a", serde_json::json!({"slots": 4}));
    let good: Vec<String> = (0..12)
        .map(|n| sqs.asker().send("a", &format!("echo {n}")))
        .collect();
    let bad = sqs.asker().send("a", "exit 9");
    let done = drain(&spool);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(good.iter().all(|id| has(&spool, "complete", id)));
    assert!(has(&spool, "failed", &bad));
    let record = spool.record(&format!("complete/{}", good[0]));
    assert_eq!(
        (&record["output"], &record["timeout"]),
        (&"0\n".into(), &"11h 55m".into())
    );
    assert_eq!(sqs.bodies("a"), Vec::<String>::new());
    assert_eq!(sqs.bodies("a_failed"), ["exit 9"]);
    // Twelve acknowledgements share calls.
    assert!(sqs.count("DeleteMessageBatch") < 12);
}

#[test]
fn a_message_that_comes_twice_is_run_once() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 3);
    let spool = Spool::serving(&["--slots", "2"]);
    configure(&spool, &sqs, "a", serde_json::json!({"slots": 2}));
    let runs = spool.beside("runs");
    let id = sqs
        .asker()
        .send("a", &format!("echo >> {}; sleep 1", runs.display()));
    sqs.order("ReceiveMessage", Fault::Doubled);
    let bridge = pull(&spool);
    wait_for("the second receive", || {
        spool.daemon_log().contains("has come again")
    });
    wait_for("it to be acknowledged", || {
        sqs.bodies("a").is_empty() && has(&spool, "complete", &id)
    });
    // Also after its end.
    sqs.show_again(&id);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(fs::read_to_string(&runs).unwrap().lines().count(), 1);
    drop(bridge);
}

#[test]
fn trouble_with_the_server_is_sat_out() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 3);
    let spool = Spool::serving(&["--slots", "2"]);
    configure(
        &spool,
        &sqs,
        "a",
        serde_json::json!({"slots": 1, "lease": "4s"}),
    );
    for fault in [
        Fault::Status(500),
        Fault::Reset,
        Fault::Error(400, "RequestThrottled", "slow down"),
    ] {
        sqs.order("ReceiveMessage", fault);
    }
    for fault in [Fault::Busy, Fault::Lost, Fault::Status(503)] {
        sqs.order("DeleteMessageBatch", fault);
    }
    let runs = spool.beside("runs");
    let id = sqs
        .asker()
        .send("a", &format!("echo >> {}", runs.display()));
    let bridge = pull(&spool);
    wait_for("it to be run", || has(&spool, "complete", &id));
    wait_for("the faults to be over", || sqs.is_done());
    wait_for("it to be acknowledged", || sqs.bodies("a").is_empty());
    assert_eq!(fs::read_to_string(&runs).unwrap().lines().count(), 1);
    drop(bridge);
}

#[test]
fn a_lost_lease_is_said_and_the_job_goes_on() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 3);
    let spool = Spool::serving(&["--slots", "2"]);
    configure(&spool, &sqs, "a", serde_json::json!({"lease": "2s"}));
    sqs.order(
        "ChangeMessageVisibilityBatch",
        Fault::Refused("ReceiptHandleIsInvalid", "stale"),
    );
    let id = sqs.asker().send("a", "sleep 2");
    let bridge = pull(&spool);
    wait_for("word of it", || {
        spool.daemon_log().contains("the lease is lost")
    });
    let rows = spool.pirn(&["pull", "--status"]).stdout;
    assert!(rows.contains(&id), "{rows}");
    wait_for("it to end", || has(&spool, "complete", &id));
    let status: serde_json::Value =
        serde_json::from_str(&spool.pirn(&["status", "--json"]).stdout).unwrap();
    assert!(
        status["remote"][0]["lost"].as_u64().unwrap() >= 1,
        "{status}"
    );
    drop(bridge);
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("once", 1);
    sqs.asker().make_pair("order.fifo", 3);
    let spool = Spool::serving(&[]);
    for (queue, more, part) in [
        ("nowhere", serde_json::json!({}), "there is no queue"),
        (
            "once",
            serde_json::json!({"prefetch": 1}),
            "set prefetch to 0",
        ),
        (
            "order.fifo",
            serde_json::json!({"ack": "accepted"}),
            "set ack to",
        ),
    ] {
        configure(&spool, &sqs, queue, more);
        let done = drain(&spool);
        assert_eq!(done.code, 78, "{queue}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{queue}: {}", done.stderr);
    }
    let done = spool.pirn(&["pull", "wrok"]);
    assert_eq!(done.code, 78);
    assert!(
        done.stderr.contains("did you mean work?"),
        "{}",
        done.stderr
    );
    configure(
        &spool,
        &sqs,
        "once",
        serde_json::json!({"endpoint": "http://127.0.0.1:9"}),
    );
    assert_eq!(drain(&spool).code, 75);
}

#[test]
fn results_are_sent_before_the_acknowledgement() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 1);
    sqs.asker().make("out");
    let spool = Spool::serving(&["--slots", "2"]);
    let more =
        serde_json::json!({"results": "out", "job": {"env": {"SECRET": "x"}, "stdin": "in"}});
    configure(&spool, &sqs, "a", more);
    let good = sqs.asker().send("a", "cat");
    let bad = sqs.asker().send("a", "exit 4");
    assert_eq!(drain(&spool).code, 0);
    let results: Vec<serde_json::Value> = (sqs.bodies("out").iter())
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let of = |id: &str| results.iter().find(|result| result["id"] == id).unwrap();
    assert_eq!(
        (&of(&good)["state"], &of(&good)["output"]),
        (&"complete".into(), &"in".into())
    );
    assert_eq!(
        (&of(&bad)["state"], &of(&bad)["exit_code"]),
        (&"failed".into(), &4.into())
    );
    assert!(of(&good)["host"].is_string());
    assert!(of(&good)["env"].is_null() && of(&good)["stdin"].is_null());
    let calls = sqs.operations();
    let sent = calls
        .iter()
        .position(|call| call.starts_with("SendMessage") && call != "SendMessage");
    assert!(
        sent < calls.iter().position(|call| call == "DeleteMessageBatch"),
        "{calls:?}"
    );
}

/// After a power cut the directory of the bridge may be gone.
#[test]
fn leases_are_found_again_by_the_records() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 2);
    let spool = Spool::serving(&["--slots", "3"]);
    configure(
        &spool,
        &sqs,
        "a",
        serde_json::json!({"slots": 3, "lease": "1m"}),
    );
    let (runs, go) = (spool.beside("runs"), spool.beside("go"));
    let command = |wait: &str| format!("echo >> {}; {wait}", runs.display());
    let wait = format!("while ! [ -e {} ]; do sleep 0.02; done", go.display());
    let ended = sqs.asker().send("a", &command("sleep 0.3"));
    let running = sqs.asker().send("a", &command(&wait));
    let first = pull(&spool);
    wait_for("both to run", || {
        fs::read_to_string(&runs)
            .unwrap_or_default()
            .lines()
            .count()
            == 2
    });
    drop(first);
    wait_for("one to end", || has(&spool, "complete", &ended));
    fs::remove_dir_all(spool.path().join("remote")).unwrap();
    let second = pull(&spool);
    wait_for("one to be acknowledged", || sqs.bodies("a").len() == 1);
    fs::write(&go, "").unwrap();
    wait_for("the other one too", || sqs.bodies("a").is_empty());
    assert!(has(&spool, "complete", &running));
    assert_eq!(fs::read_to_string(&runs).unwrap().lines().count(), 2);
    drop(second);
}

/// Two machines keep the order of each group, also through a failure.
#[test]
fn groups_keep_their_order_across_machines() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a.fifo", 1);
    let spools = [
        Spool::serving(&["--slots", "3"]),
        Spool::serving(&["--slots", "3"]),
    ];
    let order = spools[0].beside("order");
    for n in 0..5 {
        for group in ["x", "y"] {
            let code = if n == 1 { 1 } else { 0 };
            let text = format!(
                "sleep 0.1; echo {group}{n} >> {}; exit {code}",
                order.display()
            );
            sqs.asker().send_in("a.fifo", &text, group);
        }
    }
    for spool in &spools {
        configure(spool, &sqs, "a.fifo", serde_json::json!({"slots": 3}));
    }
    let bridges = [pull(&spools[0]), pull(&spools[1])];
    wait_for("all to be over", || sqs.bodies("a.fifo").is_empty());
    let text = fs::read_to_string(&order).unwrap();
    for group in ["x", "y"] {
        let of = text.lines().filter(|line| line.starts_with(group));
        let wanted: Vec<String> = (0..5).map(|n| format!("{group}{n}")).collect();
        assert_eq!(of.collect::<Vec<_>>(), wanted, "{text}");
    }
    assert_eq!(sqs.bodies("a_failed.fifo").len(), 2);
    let ended = fs::read_dir(spools[0].path().join("complete"))
        .unwrap()
        .next();
    if let Some(ended) = ended {
        let name = ended.unwrap().file_name().into_string().unwrap();
        let record = spools[0].record(&format!("complete/{name}"));
        assert!(
            record["group"].as_str().unwrap().starts_with("a.fifo/"),
            "{record}"
        );
    }
    drop(bridges);
}
