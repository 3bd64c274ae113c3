//! What a job asks for when it has ended.

use crate::client::{get, post};
use crate::spool::Spool;
use crate::tools::Gate;
use crate::worker::{Sent, Worker, answer};
use serde_json::{Value, json};

fn body(sent: &Sent) -> Value {
    serde_json::from_str(&sent.body).unwrap()
}

#[test]
fn the_record_is_sent_when_the_job_has_ended() {
    let config = r#"{"http": {"webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}"#;
    let (spool, _) = Spool::with_http(config, &[]);
    let worker = Worker::with::<&[u8]>(&[]);
    spool.drop_json(
        "7",
        &json!({
            "command": "echo hi; exit 3", "tries": 1, "env": {"SECRET": "hush"},
            "callback_url": worker.url("/done"), "x": {"mine": 1},
        }),
    );
    let sent = worker.wait(1).remove(0);
    assert_eq!(sent.line, "POST /done HTTP/1.1");
    let told = body(&sent);
    assert_eq!(
        (&told["id"], &told["state"]),
        (&json!("7"), &json!("failed"))
    );
    assert_eq!(
        (&told["exit_code"], &told["output"]),
        (&json!(3), &json!("hi\n"))
    );
    assert_eq!(told["x"], json!({"mine": 1}));
    assert!(!sent.body.contains("hush"), "{}", sent.body);
    let id = sent.one("webhook-id");
    assert!(id.starts_with("callback-7-"), "{id}");
    assert!(sent.one("webhook-signature").starts_with("v1,"));
    let seconds: i64 = sent.one("webhook-timestamp").parse().unwrap();
    assert!((jiff::Timestamp::now().as_second() - seconds).abs() < 60);
    let record = spool.wait_record(&format!("complete/{id}"));
    assert_eq!(
        (&record["queue"], &record["status_code"]),
        (&json!("callbacks"), &json!(200))
    );
    assert_eq!(worker.sent().len(), 1);
}

#[test]
fn a_callback_is_tried_again_under_its_name() {
    let spool = Spool::serving(&[]);
    let busy = answer("503 Busy", &[], "");
    let moved = answer("307 Elsewhere", &["Location: /x"], "");
    let worker = Worker::with(&[busy, moved]);
    spool.drop_json(
        "a",
        &json!({"command": "true", "callback_url": worker.url("/")}),
    );
    let sent = worker.wait(2);
    assert_eq!(sent[0].one("webhook-id"), sent[1].one("webhook-id"));
    assert_eq!(sent[0].body, sent[1].body);
    assert_eq!(
        sent[0].all("webhook-signature"),
        [""; 0],
        "there is no secret"
    );
    let id = sent[0].one("webhook-id");
    let record = spool.wait_record(&format!("failed/{id}"));
    assert_eq!(record["status_code"], 307, "a redirect is a failure");
}

#[test]
fn a_command_is_run_when_the_job_has_ended() {
    let spool = Spool::serving(&[]);
    spool.drop_json(
        "job",
        &json!({
            "command": "exit 4", "tries": 1, "name": "n", "cwd": "/", "env": {"A": "b"},
            "on_finish": "pwd; echo $A; env | grep ^PIRN_PARENT | sort; cat",
        }),
    );
    let ended = |name: &String| name.starts_with("finish-job-");
    spool.wait_for("the command", || spool.ls("complete").iter().any(ended));
    let id = spool.ls("complete").into_iter().find(ended).unwrap();
    let output = spool.read(&format!("log/{id}"));
    let (told, record) = output.split_once('{').unwrap();
    assert_eq!(
        told,
        "/\nb\nPIRN_PARENT_ATTEMPT=1\nPIRN_PARENT_EXIT_CODE=4\nPIRN_PARENT_ID=job\nPIRN_PARENT_NAME=n\n\
         PIRN_PARENT_QUEUE=default\nPIRN_PARENT_REASON=exited\nPIRN_PARENT_STATE=failed\n"
    );
    let record: Value = serde_json::from_str(&format!("{{{record}")).unwrap();
    assert_eq!(
        (&record["id"], &record["exit_code"]),
        (&json!("job"), &json!(4))
    );
    assert!(record.get("env").is_none());
}

/// Every way to end, and none of the ways to go on.
#[test]
fn each_end_is_told_once() {
    let mut spool = Spool::serving(&["--slots", "1"]);
    let worker = Worker::with::<&[u8]>(&[]);
    let with = |record: Value| {
        let mut record = record;
        record["callback_url"] = json!(worker.url("/"));
        record
    };
    let told = |id: &str| {
        let sent = worker.sent();
        let of_job = sent.iter().map(body).filter(|told| told["id"] == id);
        of_job.collect::<Vec<_>>()
    };
    spool.drop_json(
        "again",
        &with(json!({"command": "exit 1", "tries": 3, "backoff": {"first": "10ms"}})),
    );
    spool.wait_for("one callback", || told("again").len() == 1);
    assert_eq!(told("again")[0]["attempt"], 3);
    spool.drop_json(
        "old",
        &with(json!({"command": "true", "expires": "2020-01-01T00:00:00Z"})),
    );
    spool.wait_for("one callback", || told("old").len() == 1);
    assert_eq!(told("old")[0]["reason"], "expired");
    spool.drop_json("none", &with(json!({"command": ["/does/not/exist"]})));
    spool.wait_for("one callback", || told("none").len() == 1);
    assert_eq!(told("none")[0]["reason"], "not_started");
    // Withdrawn by a command, which no daemon need know of; and by hand while it runs.
    spool.stop();
    spool.drop_json("waiting", &with(json!({"command": "true"})));
    assert_eq!(spool.pirn(&["cancel", "waiting"]).code, 0);
    spool.serve(&["--slots", "1"]);
    spool.wait_for("one callback", || told("waiting").len() == 1);
    assert_eq!(told("waiting")[0]["reason"], "cancelled");
    spool.drop_json("running", &with(json!({"command": "sleep 60"})));
    spool.wait_for("it to run", || spool.has("active/running"));
    std::fs::rename(
        spool.path().join("active/running"),
        spool.path().join("failed/running"),
    )
    .unwrap();
    spool.wait_for("one callback", || told("running").len() == 1);
    assert_eq!(told("running")[0]["reason"], "cancelled");
    // Run again by hand, it ends again.
    assert_eq!(spool.pirn(&["retry", "again"]).code, 0);
    spool.wait_for("another callback", || told("again").len() == 2);
    spool.wait_for("the last of them to end", || spool.ls("active").is_empty());
    assert_eq!(worker.sent().len(), 6);
}

/// A daemon that was killed between writing an end and showing it: the next one shows it, and tells of it first.
#[test]
fn no_end_is_forgotten() {
    let mut spool = Spool::serving(&["--slots", "0"]);
    let worker = Worker::with::<&[u8]>(&[]);
    spool.stop();
    let over = json!({
        "id": "cut", "command": "true", "callback_url": worker.url("/"), "on_finish": "true", "attempt": 1,
        "created_at": "2026-01-01T00:00:00.000Z", "started_at": "2026-01-01T00:00:01.000Z",
        "finished_at": "2026-01-01T00:00:02.000Z", "exit_code": 0, "reason": "exited",
    });
    for _ in 0..2 {
        let path = spool.path().join("active/cut");
        std::fs::write(&path, over.to_string()).unwrap();
        let _ = std::fs::remove_file(spool.path().join("complete/cut"));
        spool.serve(&["--drain"]);
        assert_eq!(spool.wait_exit(), 0);
        let ended = spool.ls("complete");
        let of = |word: &str| ended.iter().filter(|name| name.starts_with(word)).count();
        assert_eq!(
            (of("callback-cut-"), of("finish-cut-"), ended.len()),
            (1, 1, 3)
        );
        assert_eq!(worker.sent().len(), 1, "the same end has the same name");
    }
}

#[test]
fn a_draining_daemon_does_what_follows_too() {
    let mut spool = Spool::new();
    let worker = Worker::with::<&[u8]>(&[]);
    std::fs::create_dir_all(spool.path().join("pending")).unwrap();
    spool.drop_json(
        "last",
        &json!({"command": "true", "callback_url": worker.url("/")}),
    );
    spool.serve(&["--drain"]);
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(worker.sent().len(), 1);
}

#[test]
fn a_job_that_has_the_name_of_the_queue_is_in_nobodys_way() {
    let spool = Spool::serving(&["--slots", "1"]);
    let worker = Worker::with::<&[u8]>(&[]);
    spool.drop_json(
        "callbacks",
        &json!({"command": "true", "not_before": "2999-01-01T00:00:00Z"}),
    );
    spool.drop_json(
        "a",
        &json!({"command": "true", "callback_url": worker.url("/")}),
    );
    worker.wait(1);
    spool.wait_record("complete/a");
}

#[test]
fn a_large_record_is_told_too() {
    let (spool, port) = Spool::with_http(
        r#"{"max_job_bytes": "2K", "http": {"anonymous": ["run"]}}"#,
        &[],
    );
    let worker = Worker::with::<&[u8]>(&[]);
    let deep = format!("{}{}", "[".repeat(99), "]".repeat(99));
    let job = format!(
        r#"{{"command": "head -c 9000 /dev/zero | tr '\\0' x | tee $PIRN_OUT", "tmp": true, "x": {deep},
            "callback_url": "{}", "files": {{"a": "{}"}}}}"#,
        worker.url("/"),
        "y".repeat(500)
    );
    let reply = post(port, "/v1/jobs", &job);
    assert_eq!(reply.status, 201, "{}", reply.text());
    let told = body(&worker.wait(1)[0]);
    assert_eq!(told["result"].as_str().unwrap().len(), 9000);
    assert!(told.get("files").is_none() && told.get("x").is_none());
    assert_eq!(spool.ls("bad"), [""; 0]);
}

/// A receiver that never answers keeps the slots of its queue, and none of the others.
#[test]
fn callbacks_leave_slots_for_jobs() {
    for (config, slots, most) in [
        (json!({}), "4", 4),
        (json!({}), "1", 4),
        (json!({"queues": {"callbacks": {"slots": 2}}}), "1", 2),
    ] {
        let (spool, port) = Spool::with_http(&config.to_string(), &["--slots", slots]);
        let worker = Worker::with(&vec!["hang"; 20]);
        for n in 0..5 {
            let job = json!({"command": "true", "callback_url": worker.url("/")});
            spool.drop_json(&format!("a{n}"), &job);
        }
        let calls = || {
            let active = spool.ls("active").into_iter();
            active.filter(|id| id.starts_with("callback-")).count()
        };
        spool.wait_for("as many calls as may be", || calls() == most);
        for n in 0..9 {
            spool.drop_file(&format!("b{n}"), "true");
            spool.wait_record(&format!("complete/b{n}"));
            assert_eq!(calls(), most, "{config}");
        }
        assert_eq!(worker.sent().len(), most, "{config}");
        let queues = get(port, "/v1/queues").json();
        let queues = queues["queues"].as_array().unwrap().iter();
        let shown: Vec<_> = queues.filter(|q| q["name"] == "callbacks").collect();
        assert_eq!(shown[0]["slots"], most, "{config}");
    }
}

/// More urgent jobs than there are slots for, for as long as the test lasts.
#[test]
fn urgent_jobs_do_not_keep_callbacks_from_running() {
    let spool = Spool::serving(&["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    let worker = Worker::with::<&[u8]>(&[]);
    let job = json!({
        "command": "true", "priority": 20, "callback_url": worker.url("/"), "on_finish": gate.wait(),
    });
    for n in 0..9 {
        spool.drop_json(
            &format!("z{n}"),
            &json!({"command": gate.wait(), "priority": 10}),
        );
    }
    spool.wait_for("one to run", || spool.ls("active").len() == 1);
    spool.drop_json("told", &job);
    gate.open(1);
    spool.wait_record("complete/told");
    assert_eq!(body(&worker.wait(1)[0])["id"], "told");
    let runs = |word: &str| spool.ls("active").iter().any(|id| id.starts_with(word));
    spool.wait_for("on_finish to run", || runs("finish-told-"));
    let urgent = |id: &String| id.starts_with('z');
    let waiting = spool.ls("pending").into_iter().filter(urgent).count();
    assert_eq!(waiting, 7, "the urgent jobs wait");
    gate.open(9);
}

/// The command that cancels and the daemon both write the end of a job that waits. It has one callback all the same.
#[test]
fn a_job_cancelled_beside_the_daemon_has_one_callback() {
    const JOBS: usize = 60;
    let mut spool = Spool::serving(&["--slots", "0"]);
    let worker = Worker::with::<&[u8]>(&[]);
    let job = json!({"command": "true", "callback_url": worker.url("/"), "on_finish": "true"});
    let ids: Vec<String> = (0..JOBS).map(|n| format!("job-{n}")).collect();
    for id in &ids {
        spool.drop_json(id, &job);
    }
    for id in &ids {
        assert_eq!(spool.pirn(&["cancel", id]).code, 0);
    }
    // The daemon ends once it is done with all of them.
    spool.stop();
    let made = spool.ls("pending/callbacks");
    let of = |kind: &str| made.iter().filter(|id| id.starts_with(kind)).count();
    assert_eq!((of("callback-"), of("finish-")), (JOBS, JOBS));
    // The same job again is another run.
    assert_eq!(spool.pirn(&["retry", "job-0"]).code, 0);
    assert_eq!(spool.pirn(&["cancel", "job-0"]).code, 0);
    assert_eq!(spool.ls("pending/callbacks").len(), 2 * JOBS + 2);
}

/// A pause and `--slots 0` are for them too, and a command that ends is no way around it.
#[test]
fn callbacks_stop_with_the_jobs() {
    let mut spool = Spool::serving(&["--slots", "0"]);
    let worker = Worker::with::<&[u8]>(&[]);
    spool.stop();
    // A withdrawn job has a callback, though nothing ran.
    spool.drop_json(
        "a",
        &json!({"command": "true", "callback_url": worker.url("/")}),
    );
    assert_eq!(spool.pirn(&["cancel", "a"]).code, 0);
    let all = ["pause"].as_slice();
    let of_queue = ["pause", "callbacks"].as_slice();
    for (slots, pause) in [("0", None), ("2", Some(all)), ("2", Some(of_queue))] {
        if let Some(pause) = pause {
            assert_eq!(spool.pirn(pause).code, 0);
        }
        let served = spool.pirn(&["serve", "--drain", "--slots", slots]);
        assert_eq!(served.code, 0, "{}", served.stderr);
        assert_eq!(spool.ls("pending/callbacks").len(), 1, "{pause:?}");
        if let Some([_, queue @ ..]) = pause {
            assert_eq!(spool.pirn(&[&["resume"], queue].concat()).code, 0);
        }
    }
    assert_eq!(worker.sent().len(), 0);
    spool.serve(&["--slots", "2"]);
    assert_eq!(body(&worker.wait(1)[0])["id"], "a");
}
