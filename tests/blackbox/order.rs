//! The order of jobs: priority, dates, groups, parents.

use crate::spool::Spool;
use crate::tools::{Gate, text};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A spool with one slot, which is held until the gate opens; jobs append their ids to a file.
struct Line {
    spool: Spool,
    gate: Gate,
}

impl Line {
    fn new(slots: &str) -> Self {
        let spool = Spool::serving(&["--slots", slots]);
        let gate = Gate::new(&spool, "line-gate");
        for n in 0..slots.parse().unwrap() {
            spool.drop_file(&format!("blocker{n}"), gate.wait());
            spool.wait_note(&format!("blocker{n}"));
        }
        Self { spool, gate }
    }

    fn drop(&self, id: &str, mut record: Value) {
        record["command"] = json!(format!(
            "echo ${{PIRN_ID}} >> {}",
            self.spool.beside("order").display()
        ));
        self.spool.drop_json(id, &record);
    }

    fn order(&self) -> Vec<String> {
        let text = fs::read_to_string(self.spool.beside("order")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// A time in RFC 3339 UTC with this offset from now.
fn date(offset: &str) -> String {
    let out = Command::new("date")
        .args(["-u", "-d", offset, "+%Y-%m-%dT%H:%M:%S.%NZ"])
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[test]
fn higher_priority_first_then_oldest() {
    let mut line = Line::new("1");
    for (id, priority) in [
        ("a", 0),
        ("b", 5),
        ("c", -3),
        ("d", 5),
        ("e", 0),
        ("f", 1000),
    ] {
        line.drop(id, json!({"priority": priority}));
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    line.gate.open(1);
    line.spool.wait_record("complete/c");
    assert_eq!(line.order(), ["f", "b", "d", "a", "e", "c"]);
}

#[test]
fn a_directory_that_becomes_a_queue_starts_with_its_oldest_job() {
    let spool = Spool::serving(&["--slots", "1"]);
    let (dir, order) = (spool.beside("mail"), spool.beside("order"));
    fs::create_dir(&dir).unwrap();
    // Names whose hashes do not follow their ages.
    let names: Vec<String> = (0..40)
        .map(|n| format!("job-{}", n * 7919 % 1000))
        .collect();
    let begun = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    for (n, name) in names.iter().enumerate() {
        let file = fs::File::create(dir.join(name)).unwrap();
        let text = format!("echo $PIRN_ID >> {}\n", order.display());
        std::io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
        let made = begun + std::time::Duration::from_secs(n as u64);
        file.set_modified(made).unwrap();
    }
    fs::rename(&dir, spool.path().join("pending/mail")).unwrap();
    spool.wait_for("all of them", || spool.ls("complete").len() == names.len());
    let ran: Vec<String> = fs::read_to_string(order)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(ran, names);
}

#[test]
fn numbers_in_the_order_they_were_added() {
    let mut line = Line::new("1");
    let script = format!(
        "echo ${{PIRN_ID}} >> {}",
        line.spool.beside("order").display()
    );
    let ids: Vec<String> = (0..12).map(|_| line.spool.add(&[&script])).collect();
    assert_eq!(ids, (1..=12).map(|n| n.to_string()).collect::<Vec<_>>());
    line.gate.open(1);
    line.spool.wait_record("complete/12");
    assert_eq!(line.order(), ids);
}

#[test]
fn not_before() {
    let spool = Spool::serving(&[]);
    let due = date("+1 second");
    let (_, record) = spool.run_json("soon", &json!({"command": "true", "not_before": due}));
    assert!(text(&record, "started_at") >= &due[..23], "{record}");
    let past = json!({"command": "true", "not_before": "2001-01-01T00:00:00+02:00"});
    assert_eq!(spool.run_json("past", &past).0, "complete");
    spool.drop_json(
        "later",
        &json!({"command": "true", "not_before": date("+1 hour")}),
    );
    spool.settle();
    assert!(spool.has("pending/later"));
    // The user makes it due by writing it again.
    spool.drop_json("later", &json!({"command": "true"}));
    spool.wait_record("complete/later");
}

#[test]
fn expires() {
    let mut line = Line::new("1");
    line.drop(
        "7",
        json!({"expires": date("+1 second"), "name": "short-lived"}),
    );
    line.drop("8", json!({"expires": date("+1 hour")}));
    line.drop("9", json!({"expires": "2020-01-01T00:00:00Z"}));
    for id in ["7", "9"] {
        let record = line.spool.wait_record(&format!("failed/{id}"));
        assert_eq!(
            (&record["reason"], record.get("exit_code")),
            (&json!("expired"), None)
        );
        assert_eq!(record.get("started_at"), None);
    }
    assert_eq!(line.spool.record("failed/7")["name"], "short-lived");
    line.gate.open(1);
    line.spool.wait_record("complete/8");
    assert_eq!(line.order(), ["8"]);
}

#[test]
fn a_group_runs_one_at_a_time_in_order() {
    let mut line = Line::new("4");
    let busy = line.spool.beside("busy");
    let script = format!(
        "mkdir {0} || echo overlap >> {1}; echo $PIRN_ID >> {1}; sleep 0.02; rmdir {0}",
        busy.display(),
        line.spool.beside("order").display()
    );
    for n in 0..10 {
        let id = format!("g{n}");
        line.spool
            .drop_json(&id, &json!({"command": script, "group": "db"}));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    line.gate.open(4);
    line.spool.wait_record("complete/g9");
    assert_eq!(
        line.order(),
        (0..10).map(|n| format!("g{n}")).collect::<Vec<_>>()
    );
}

#[test]
fn a_group_holds_nobody_else() {
    let spool = Spool::serving(&["--slots", "4"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json("first", &json!({"command": gate.wait(), "group": "a"}));
    spool.wait_note("first");
    spool.drop_json("second", &json!({"command": "true", "group": "a"}));
    spool.drop_json("other-group", &json!({"command": "true", "group": "b"}));
    spool.drop_json("no-group", &json!({"command": "true"}));
    spool.wait_record("complete/other-group");
    spool.wait_record("complete/no-group");
    assert!(spool.has("pending/second"));
    gate.open(1);
    spool.wait_record("complete/second");
}

#[test]
fn a_retry_keeps_its_place_in_the_group() {
    let spool = Spool::serving(&["--slots", "4"]);
    let order = spool.beside("order");
    let job = |line: &str| json!({"command": format!("echo $PIRN_ID$PIRN_ATTEMPT >> {}; {line}", order.display()), "group": "g", "backoff": {"first": "50ms"}});
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "a",
        &job(&format!("{}; [ $PIRN_ATTEMPT = 2 ]", gate.wait())),
    );
    spool.wait_note("a");
    spool.drop_json("b", &job("true"));
    gate.open(2);
    spool.wait_record("complete/b");
    assert_eq!(fs::read_to_string(order).unwrap(), "a1\na2\nb1\n");
}

#[test]
fn a_removed_parent_leaves_its_child_waiting() {
    let line = Line::new("1");
    line.drop("parent", json!({}));
    line.drop("child", json!({"after": ["parent"]}));
    line.spool.rm("pending/parent");
    let mut line = line;
    line.gate.open(1);
    line.spool.settle();
    assert!(line.spool.has("pending/child"), "{:?}", line.order());
    line.drop("parent", json!({}));
    line.spool.wait_record("complete/child");
    assert_eq!(line.order(), ["parent", "child"]);
}

/// The daemon starts no job before it knows all that wait, since another could be first.
#[test]
fn room_that_comes_back_at_the_first_look_starts_nothing_early() {
    const JOBS: u64 = 3_000;
    let mut spool = Spool::made();
    let order = spool.beside("order");
    let line = format!("echo $PIRN_ID >> {}", order.display());
    let began = SystemTime::now() - Duration::from_secs(2 * JOBS);
    for n in 0..JOBS {
        let file = fs::File::create_new(spool.path().join(format!("pending/{n}"))).unwrap();
        (&file).write_all(line.as_bytes()).unwrap();
        file.set_modified(began + Duration::from_secs(JOBS - n))
            .unwrap();
    }
    spool.config(r#"{"min_free": "999999G"}"#);
    spool.serve(&["--slots", "1", "--no-sync"]);
    spool.wait_daemon_log("nothing is started");
    spool.config("{}");
    let order = || fs::read_to_string(&order).unwrap_or_default();
    spool.wait_for("five jobs", || order().lines().count() >= 5);
    let first: Vec<String> = order().lines().take(5).map(str::to_owned).collect();
    assert_eq!(first, ["2999", "2998", "2997", "2996", "2995"]);
}
