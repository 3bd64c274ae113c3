//! jobrunner's paths and its environment variables.

use crate::client::{Conn, Reply, ask, get, post};
use crate::qmd::curl;
use crate::spool::{Spool, write_program};
use crate::strace::{Injection, has_tool};
use crate::tools::Gate;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shows what the command is given, and answers with the request turned around.
const COMMAND: &str = r#"#!/bin/sh
echo "$JOBRUNNER_CMD $JOBRUNNER_WORKER_ID $JOBRUNNER_REQUEST_ID [$JOBRUNNER_PASSWORD] $COLOUR"
pwd >&2
[ ! -t 0 ] && cat
rev < "$JOBRUNNER_REQUEST_DATA_FN" > "$JOBRUNNER_RESPONSE_DATA_FN"
exit 3
"#;

/// A command beside the spool.
pub fn command(spool: &Spool, text: &str) -> String {
    let path = spool.beside("command");
    write_program(&path, text);
    path.to_str().unwrap().to_owned()
}

pub fn daemon(spool: &Spool, command: &str, variables: &[(&str, &str)], args: &[&str]) -> Command {
    let mut daemon = spool.command(["serve", "--jobrunner"]);
    daemon.args(args);
    daemon.current_dir(spool.beside("."));
    daemon.env("JOBRUNNER_CMD", command);
    daemon.env("JOBRUNNER_HTTP_LISTEN_PORT", "0");
    daemon.envs(variables.iter().copied());
    daemon
}

/// A daemon as jobrunner's start script would start it.
fn serving(text: &str, variables: &[(&str, &str)], args: &[&str]) -> (Spool, u16) {
    let mut spool = Spool::new();
    let command = command(&spool, text);
    let daemon = daemon(&spool, &command, variables, args);
    spool.serve_with(daemon);
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let port = spool.ports()[0];
    (spool, port)
}

fn body(id: &str, data: &[u8]) -> String {
    json!({"id": id, "data": STANDARD.encode(data)}).to_string()
}

/// Sends a payload, and does not wait for the answer.
fn begin(port: u16, id: usize) -> Conn {
    let mut conn = Conn::to(port);
    conn.ask("POST", "/payload", &[], &body(&id.to_string(), b"x"));
    conn
}

fn send(port: u16, id: &str, data: &[u8]) -> Value {
    let reply = post(port, "/payload", &body(id, data));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    reply.json()
}

fn bytes(answer: &Value, key: &str) -> Vec<u8> {
    STANDARD.decode(answer[key].as_str().unwrap()).unwrap()
}

fn text(answer: &Value, key: &str) -> String {
    String::from_utf8(bytes(answer, key)).unwrap()
}

#[test]
fn the_request_of_the_readme() {
    let variables = [("JOBRUNNER_PASSWORD", "pass word\n"), ("COLOUR", "blue")];
    let (spool, port) = serving(COMMAND, &variables, &[]);
    let target = format!("http://127.0.0.1:{port}/payload");
    let sent = r#"{"id": "a/7", "data": "aGVsbG8K"}"#;
    let header = [
        "-H",
        "Content-Type: application/json",
        "-H",
        "X-JR-PASSWORD: pass word",
    ];
    let args = [&header[..], &["-d", sent, &target]].concat();
    let Some(answer) = curl(&args) else { return };
    let json: Value = serde_json::from_str(&answer).unwrap();
    let command = spool.beside("command").to_str().unwrap().to_owned();
    let output = format!("{command} 1 a/7 [] blue\n");
    let here = fs::canonicalize(spool.beside(".")).unwrap();
    let wanted = format!(
        "{{\"data\":\"{}\",\"worker_id\":1,\"elapsed_sec\":{},\"exit_status\":3,\"output\":\"{}\",\"error\":\"{}\"}}\n",
        STANDARD.encode("olleh\n"),
        json["elapsed_sec"],
        STANDARD.encode(output),
        STANDARD.encode(format!("{}\n", here.display())),
    );
    assert_eq!(answer, wanted);
    assert!(json["elapsed_sec"].as_f64().unwrap() > 0.0);
    assert_eq!(spool.scratch(), Vec::<String>::new());
    let record = spool.record("failed/1");
    assert_eq!(
        (&record["name"], &record["queue"]),
        (&json!("a/7"), &json!("jobrunner"))
    );
    assert!(!record.to_string().contains("pass word") && !spool.daemon_log().contains("pass word"));
    let shown = get(port, "/v1/jobs/1").text();
    assert!(!shown.contains("COLOUR"), "{shown}");
}

#[test]
fn any_bytes() {
    let cat = "#!/bin/sh\ncat $JOBRUNNER_REQUEST_DATA_FN | tee $JOBRUNNER_RESPONSE_DATA_FN\ncat $JOBRUNNER_REQUEST_DATA_FN >&2\n";
    let (spool, port) = serving(cat, &[], &[]);
    for size in [1, 2, 3, 49_151, 49_152, 49_153, 300_000] {
        let data: Vec<u8> = (0..size).map(|n: usize| (n * 7 + n / 256) as u8).collect();
        let answer = send(port, "7", &data);
        for key in ["data", "output", "error"] {
            assert!(bytes(&answer, key) == data, "{key} of {size} bytes");
        }
    }
    let list = post(
        port,
        "/payload",
        r#"{"ID": "7", "Data": [0, 255, 10], "more": 1} and so on"#,
    );
    assert_eq!(bytes(&list.json(), "data"), [0, 255, 10]);
    // More than a record may hold.
    spool.config(r#"{"max_job_bytes": "1M"}"#);
    spool.wait_daemon_log("config: read");
    let reply = post(port, "/payload", &body("7", &vec![0; 1 << 20]));
    assert_eq!(reply.status, 413);
}

#[test]
fn an_answer_larger_than_memory_would_like() {
    let (_spool, port) = serving("#!/bin/sh\nhead -c 20000000 /dev/zero\n", &[], &[]);
    let answer = send(port, "7", b"x");
    assert_eq!(bytes(&answer, "output"), vec![0; 20_000_000]);
    assert_eq!(
        (text(&answer, "data"), text(&answer, "error")),
        (String::new(), String::new())
    );
}

#[test]
fn what_is_refused_and_in_which_order() {
    let (spool, port) = serving("#!/bin/sh\n", &[("JOBRUNNER_PASSWORD", "right")], &[]);
    let no = "Invalid password supplied in X-JR-PASSWORD header\n";
    let right = "X-JR-PASSWORD: right";
    for (method, header, body, status, text) in [
        ("GET", right, "", 405, ""),
        ("PUT", right, "{}", 405, ""),
        ("POST", "A: b", "", 400, ""),
        ("POST", "A: b", "{", 400, ""),
        ("POST", right, "[]", 400, ""),
        ("POST", right, r#"{"id": 7, "data": "aGk="}"#, 400, ""),
        ("POST", right, r#"{"id": "7", "data": "aGk"}"#, 400, ""),
        ("POST", right, r#"{"id": "7", "data": "a Gk"}"#, 400, ""),
        ("POST", "A: b", "{}", 401, no),
        ("POST", "X-JR-PASSWORD: wrong", "{}", 401, no),
        ("POST", "X-JR-PASSWORD: righ", "{}", 401, no),
        ("POST", right, "{}", 400, "Json key 'id' missing or empty\n"),
        (
            "POST",
            right,
            r#"{"id": "", "data": "aGk="}"#,
            400,
            "Json key 'id' missing or empty\n",
        ),
        (
            "POST",
            right,
            r#"{"id": "7"}"#,
            400,
            "Json key 'data' missing or empty\n",
        ),
        (
            "POST",
            right,
            r#"{"id": "7", "data": null}"#,
            400,
            "Json key 'data' missing or empty\n",
        ),
        (
            "POST",
            right,
            r#"{"id": "\u0000", "data": "aGk="}"#,
            400,
            "Json key 'id' contains a NUL character\n",
        ),
    ] {
        let reply = ask(port, method, "/payload", &[header], body);
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (status, text),
            "{method} {header} {body}"
        );
    }
    assert_eq!(get(port, "/v1/jobs").json()["jobs"], json!([]));
    let good = ask(port, "POST", "/payload", &[right], &body("7", b"x"));
    assert_eq!(good.status, 200);
    drop(spool);
    // Without a password none must be shown, and only those who may push may send.
    let (spool, port) = serving("#!/bin/sh\n", &[], &[]);
    assert_eq!(
        ask(port, "POST", "/payload", &[right], &body("7", b"x")).text(),
        no
    );
    assert_eq!(send(port, "7", b"x")["exit_status"], 0);
    fs::write(
        spool.path().join("config.json"),
        r#"{"http": {"anonymous": ["read"]}}"#,
    )
    .unwrap();
    assert_eq!(post(port, "/payload", &body("7", b"x")).status, 401);
}

#[test]
fn ten_wait_for_each_worker() {
    let mut spool = Spool::new();
    let mut gate = Gate::new(&spool, "gate");
    let command = command(
        &spool,
        &format!("#!/bin/sh\necho $JOBRUNNER_WORKER_ID\n{}\n", gate.wait()),
    );
    let daemon = daemon(&spool, &command, &[("JOBRUNNER_NUM_WORKERS", "2")], &[]);
    spool.serve_with(daemon);
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let port = spool.ports()[0];
    let begin = |n| begin(port, n);
    let mut conns: Vec<Conn> = (0..2).map(begin).collect();
    spool.wait_for("both to run", || spool.ls("active").len() == 2);
    conns.extend((2..22).map(begin));
    spool.wait_for("the others to wait", || {
        spool.ls("pending/jobrunner").len() == 20
    });
    assert_eq!(
        get(port, "/status").text(),
        "{\"queued_jobs\":20,\"total_jobs\":2}\n"
    );
    let full = post(port, "/payload", &body("x", b"x"));
    assert_eq!(
        (full.status, full.text().as_str()),
        (503, "job queue too large (20)\n")
    );
    gate.open(22);
    let answers: Vec<Reply> = conns.iter_mut().map(Conn::reply).collect();
    let mut workers = Vec::new();
    for answer in &answers {
        let answer = answer.json();
        assert_eq!(
            text(&answer, "output"),
            format!("{}\n", answer["worker_id"])
        );
        workers.push(answer["worker_id"].as_u64().unwrap());
    }
    workers.sort_unstable();
    workers.dedup();
    assert_eq!(workers, [1, 2]);
    let status = get(port, "/status");
    assert_eq!(status.text(), "{\"queued_jobs\":0,\"total_jobs\":22}\n");
    assert_eq!(status.header("content-type"), "application/json");
    let metrics = get(port, "/metrics");
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let metrics = metrics.text();
    for line in [
        "# TYPE queued_jobs gauge",
        "queued_jobs 0",
        "# TYPE total_jobs counter",
        "total_jobs{worker_id=\"1\"} 22",
        "# TYPE job_duration summary",
        "job_duration_count{worker_id=\"1\"} 22",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }
    assert!(metrics.contains("\njob_duration_sum{worker_id=\"1\"} "));
}

/// As the original's: what the commands that were written for it look for.
#[test]
fn the_names_of_the_files() {
    let sample = r#"#!/bin/sh
mkdir "$JOBRUNNER_REQUEST_ID.copies" 2>/dev/null
for path in "$JOBRUNNER_REQUEST_DATA_FN" "$JOBRUNNER_RESPONSE_DATA_FN"; do
    stat -c '%a %n' "$path" | sed 's,/.*/,,'
done
cd "$(dirname "$JOBRUNNER_REQUEST_DATA_FN")" || exit
for file in jobdata*_req_*; do cat "$file" > "$JOBRUNNER_RESPONSE_DATA_FN"; done
"#;
    let (spool, port) = serving(sample, &[], &[]);
    for (n, id, label) in [
        (1, "a7", "a7".to_owned()),
        (2, "../*/\u{1}x y", "..____x y".to_owned()),
        (3, &"ü".repeat(99), "ü".repeat(50)),
    ] {
        let answer = send(port, id, b"hello");
        assert_eq!(text(&answer, "data"), "hello", "{answer}");
        let named = format!("jobdata_w_1_id_{label}");
        let wanted = format!("600 {named}_req_{n}\n600 {named}_res_{n}\n");
        assert_eq!(text(&answer, "output"), wanted);
        assert_eq!(spool.scratch(), [""; 0]);
    }
}

/// A payload is the caller's: nothing of it stays when it is answered, or its caller has gone.
#[test]
fn payloads_do_not_stay() {
    let mut spool = Spool::new();
    let mut gate = Gate::new(&spool, "gate");
    let text = format!(
        "#!/bin/sh\n{}\ncat $JOBRUNNER_REQUEST_DATA_FN > $JOBRUNNER_RESPONSE_DATA_FN\n",
        gate.wait()
    );
    let command = command(&spool, &text);
    spool.serve_with(daemon(&spool, &command, &[], &[]));
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let port = spool.ports()[0];
    let secret = "a secret of the caller";
    let begin = |id: &str| {
        let mut conn = Conn::to(port);
        conn.ask("POST", "/payload", &[], &body(id, secret.as_bytes()));
        conn
    };
    let is_told = |place: &str| {
        let text = spool.read(place);
        text.contains(secret)
            || text.contains(&STANDARD.encode(secret))
            || text.contains("\"files\"")
    };
    let mut answered = begin("1");
    spool.wait_note("1");
    assert!(is_told("active/1"), "else a crash would lose it");
    gate.open(1);
    assert_eq!(bytes(&answered.reply().json(), "data"), secret.as_bytes());
    assert!(!is_told("complete/1"));
    // A client that says nothing more may listen still.
    let mut silent = begin("2");
    spool.wait_note("2");
    silent.finish();
    gate.open(1);
    assert_eq!(bytes(&silent.reply().json(), "data"), secret.as_bytes());
    let gone = begin("3");
    spool.wait_note("3");
    drop(gone);
    gate.open(1);
    spool.wait_record("complete/3");
    assert!(!is_told("complete/2") && !is_told("complete/3"));
    spool.wait_for("their files to be gone", || spool.scratch().is_empty());
    // One that never ran, too.
    let _gone = begin("4");
    spool.wait_note("4");
    spool.mv("active/4", "failed/4");
    let record = spool.wait_record("failed/4");
    assert_eq!(
        (&record["reason"], record.get("files")),
        (&json!("cancelled"), None)
    );
    // Run again by hand it says why it cannot.
    assert_eq!(spool.pirn(&["retry", "3"]).code, 0);
    let record = spool.wait_record("failed/3");
    assert_eq!(record["exit_code"], 100, "{record}");
    assert!(spool.read("log/3~err").contains("send it again"));
}

/// The caller of a job that a daemon adopted went with the daemon before it.
#[test]
fn answers_that_nobody_waits_for_are_removed() {
    let mut spool = Spool::new();
    assert_eq!(spool.pirn(&["add", "true"]).code, 0);
    let ago = |seconds: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    for (id, tmp, seconds) in [
        ("old", "answer", 120),
        ("new", "answer", 0),
        ("kept", "keep", 120),
    ] {
        let record = json!({
            "id": id, "command": "true", "tmp": tmp, "attempt": 1, "exit_code": 0, "reason": "exited",
            "created_at": ago(seconds), "started_at": ago(seconds), "finished_at": ago(seconds),
        });
        fs::write(spool.path().join("complete").join(id), record.to_string()).unwrap();
        fs::create_dir(spool.path().join("tmp").join(id)).unwrap();
        fs::write(spool.path().join("tmp").join(id).join("file"), "").unwrap();
    }
    spool.serve(&[]);
    spool.wait_gone("tmp/old");
    spool.stop();
    assert_eq!(spool.scratch(), ["kept", "new"]);
}

/// The number of its workers says nothing about other jobs.
#[test]
fn workers_are_the_slots_of_one_queue() {
    let mut spool = Spool::new();
    let mut gate = Gate::new(&spool, "gate");
    fs::create_dir_all(spool.path()).unwrap();
    fs::write(spool.path().join("config.json"), r#"{"slots": 4}"#).unwrap();
    let command = command(&spool, &format!("#!/bin/sh\n{}\n", gate.wait()));
    let daemon = daemon(&spool, &command, &[("JOBRUNNER_NUM_WORKERS", "2")], &[]);
    spool.serve_with(daemon);
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let port = spool.ports()[0];
    // Two of the four slots, so that those of the payloads are not the lowest ones.
    for name in ["a", "b"] {
        spool.drop_file(name, gate.wait());
        spool.wait_note(name);
    }
    let mut conns: Vec<Conn> = (1..=3).map(|n| begin(port, n)).collect();
    spool.wait_for("two of the payloads to run", || {
        spool.ls("active").len() == 4
    });
    spool.wait_for("the third to wait", || {
        spool.ls("pending/jobrunner").len() == 1
    });
    assert_eq!(get(port, "/stats").json()["dispatchers"], 4);
    assert!(get(port, "/metrics").text().contains("\npirn_slots 4\n"));
    let queues = get(port, "/v1/queues").json();
    assert_eq!(queues["slots"], 4);
    let of_queue = queues["queues"].as_array().unwrap().iter();
    let slots: Vec<_> = of_queue
        .map(|q| (q["name"].clone(), q["slots"].clone()))
        .collect();
    assert_eq!(
        slots,
        [
            (json!("default"), Value::Null),
            (json!("jobrunner"), json!(2))
        ]
    );
    gate.open(5);
    let worker = |conn: &mut Conn| conn.reply().json()["worker_id"].as_u64().unwrap();
    let mut workers: Vec<u64> = conns.iter_mut().map(worker).collect();
    workers.sort_unstable();
    workers.dedup();
    assert_eq!(workers, [1, 2]);
}

/// Without `--slots` and a setting there are as many slots as workers at least. A setting of the queue wins over the
/// variable, and ten payloads wait for each of those.
#[test]
fn how_many_slots_there_are() {
    let mut spool = Spool::new();
    let mut gate = Gate::new(&spool, "gate");
    let command = command(&spool, &format!("#!/bin/sh\n{}\n", gate.wait()));
    let variables = [("JOBRUNNER_NUM_WORKERS", "300")];
    spool.serve_with(daemon(&spool, &command, &variables, &[]));
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    assert_eq!(get(spool.ports()[0], "/stats").json()["dispatchers"], 300);
    spool.stop();
    let more = daemon(&spool, &command, &variables, &["--slots", "2"]);
    spool.serve_with(more);
    spool.wait_for("the door to open", || spool.ports().len() == 2);
    let port = spool.ports()[1];
    assert_eq!(get(port, "/stats").json()["dispatchers"], 2);
    spool.wait_daemon_log("the queue jobrunner has 300 slots, and all queues together have 2");
    spool.config(r#"{"queues": {"jobrunner": {"slots": 1}}}"#);
    let mut conns = vec![begin(port, 0)];
    spool.wait_for("the first to run", || spool.ls("active").len() == 1);
    conns.extend((1..=10).map(|n| begin(port, n)));
    spool.wait_for("the others to wait", || {
        spool.ls("pending/jobrunner").len() == 10
    });
    let full = post(port, "/payload", &body("x", b"x"));
    assert_eq!(
        (full.status, full.text().as_str()),
        (503, "job queue too large (10)\n")
    );
    gate.open(11);
    assert!(conns.iter_mut().all(|conn| conn.reply().status == 200));
}

/// All see the same queue, and no more are let in than there is room for.
#[test]
fn fifty_callers_at_once() {
    let mut spool = Spool::new();
    let mut gate = Gate::new(&spool, "gate");
    let command = command(&spool, &format!("#!/bin/sh\n{}\n", gate.wait()));
    spool.serve_with(daemon(
        &spool,
        &command,
        &[("JOBRUNNER_NUM_WORKERS", "2")],
        &[],
    ));
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let port = spool.ports()[0];
    let running: Vec<Conn> = (0..2).map(|n| begin(port, n)).collect();
    spool.wait_for("both to run", || spool.ls("active").len() == 2);
    let start = std::sync::Barrier::new(50);
    let refused = AtomicUsize::new(0);
    let caller = |n: usize| {
        let mut conn = Conn::to(port);
        start.wait();
        conn.ask("POST", "/payload", &[], &body(&n.to_string(), b"x"));
        let status = conn.reply().status;
        refused.fetch_add(usize::from(status == 503), Ordering::SeqCst);
        status
    };
    let waiting = || spool.ls("pending/jobrunner").len();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let caller = &caller;
        let all: Vec<_> = (0..50).map(|n| scope.spawn(move || caller(n))).collect();
        spool.wait_for("each to wait or to be refused", || {
            waiting() + refused.load(Ordering::SeqCst) == 50
        });
        gate.open(52);
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(503)), (20, 30), "{statuses:?}");
    drop(running);
}

#[test]
fn how_commands_end() {
    let (spool, port) = serving("#!/bin/sh\nkill -9 $$\n", &[], &[]);
    assert_eq!(send(port, "7", b"x")["exit_status"], -1);
    let command = spool.beside("command");
    fs::set_permissions(&command, fs::Permissions::from_mode(0o644)).unwrap();
    let answer = send(port, "7", b"x");
    assert_eq!(answer["exit_status"], 126, "{answer}");
    assert!(text(&answer, "error").contains("command"), "{answer}");
    fs::remove_file(&command).unwrap();
    assert_eq!(send(port, "7", b"x")["exit_status"], 127);
    // What it leaves in place of its response is not followed.
    let link = "#!/bin/sh\nln -sf /etc/passwd $JOBRUNNER_RESPONSE_DATA_FN\n";
    write_program(&command, link);
    let answer = send(port, "7", b"x");
    assert_eq!(
        (&answer["exit_status"], &answer["data"]),
        (&json!(0), &json!(""))
    );
    assert_eq!(spool.scratch(), Vec::<String>::new());
}

/// At a stop a payload that runs is waited for. One that waits is withdrawn before its caller is sent elsewhere: else it
/// would run there and here.
#[test]
fn a_daemon_that_is_stopped() {
    let mut spool = Spool::new();
    let mut gate = Gate::new(&spool, "gate");
    let command = command(&spool, &format!("#!/bin/sh\n{}\n", gate.wait()));
    let first = daemon(&spool, &command, &[("JOBRUNNER_NUM_WORKERS", "1")], &[]);
    spool.serve_with(first);
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let port = spool.ports()[0];
    let mut running = begin(port, 1);
    spool.wait_note("1");
    let mut waiting: Vec<Conn> = (2..=6).map(|n| begin(port, n)).collect();
    spool.wait_for("five to wait", || spool.ls("pending/jobrunner").len() == 5);
    spool.signal("TERM");
    // They need not wait for the one that runs.
    for conn in &mut waiting {
        let reply = conn.reply();
        let told = (reply.status, reply.text());
        assert_eq!(told, (503, "Service Unavailable\n".to_owned()));
    }
    assert_eq!(spool.ls("pending/jobrunner"), [""; 0]);
    assert!(spool.has("active/1"));
    gate.open(1);
    assert_eq!(running.reply().json()["exit_status"], 0);
    assert_eq!(spool.wait_exit(), 0);
    let second = daemon(&spool, &command, &[], &["--drain"]);
    spool.serve_with(second);
    assert_eq!(spool.wait_exit(), 0);
    assert_eq!(
        (spool.ls("complete"), spool.ls("failed").len()),
        (vec!["1".to_owned()], 0)
    );
}

/// What a payload has left cannot be read. 503 would send its caller elsewhere, where it would run again.
#[test]
fn an_answer_that_is_lost_is_no_refusal() {
    if !has_tool("strace", "strace") {
        return;
    }
    let mut spool = Spool::new();
    let mut gate = Gate::new(&spool, "gate");
    let command = command(&spool, &format!("#!/bin/sh\n{}\n", gate.wait()));
    spool.serve_with(daemon(&spool, &command, &[], &[]));
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let mut caller = begin(spool.ports()[0], 1);
    spool.wait_note("1");
    // The thread that waits for the end.
    let waiting = spool.thread("http-conn");
    let shortage = Injection::in_thread(&spool, waiting, "openat:error=EMFILE");
    gate.open(1);
    let reply = caller.reply();
    assert_eq!(reply.status, 500, "{}", reply.text());
    assert!(reply.text().contains("was accepted"), "{}", reply.text());
    shortage.end();
    assert_eq!(spool.wait_record("complete/1")["exit_code"], 0);
}

/// A daemon that becomes a new one can answer neither the caller whose payload runs nor the one whose payload waits. The
/// former is not told that its payload was not accepted.
#[test]
fn callers_of_a_daemon_that_is_replaced() {
    let mut spool = Spool::new();
    let mut gate = Gate::new(&spool, "gate");
    let command = command(&spool, &format!("#!/bin/sh\n{}\n", gate.wait()));
    spool.serve_with(daemon(
        &spool,
        &command,
        &[("JOBRUNNER_NUM_WORKERS", "1")],
        &[],
    ));
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let port = spool.ports()[0];
    let mut running = begin(port, 1);
    spool.wait_note("1");
    let mut waiting = begin(port, 2);
    spool.wait_file("pending/jobrunner/2");
    spool.signal("USR2");
    assert_eq!(running.reply().status, 500);
    assert_eq!(waiting.reply().status, 503);
    spool.wait_for("the new image to listen", || spool.ports().len() > 1);
    assert_eq!(spool.ls("pending/jobrunner"), [""; 0]);
    gate.open(1);
    spool.wait_record("complete/1");
}

#[test]
fn a_daemon_that_is_replaced() {
    let echo = "#!/bin/sh\necho $COLOUR; cat $JOBRUNNER_REQUEST_DATA_FN\n";
    let variables = [("JOBRUNNER_PASSWORD", "right"), ("COLOUR", "blue")];
    let (spool, port) = serving(echo, &variables, &[]);
    spool.signal("USR2");
    spool.wait_for("the new image to listen", || spool.ports().len() > 1);
    assert_eq!(spool.ports()[1], port);
    let right = ["X-JR-PASSWORD: right"];
    let answer = ask(port, "POST", "/payload", &right, &body("7", b"x")).json();
    assert_eq!(text(&answer, "output"), "blue\nx");
    assert_eq!(post(port, "/payload", &body("7", b"x")).status, 401);
}

#[test]
fn how_it_is_started() {
    let spool = Spool::new();
    let command = command(&spool, "#!/bin/sh\n");
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port().to_string();
    for (variables, code, words) in [
        (&[("JOBRUNNER_CMD", "")][..], 1, "JOBRUNNER_CMD is empty"),
        (
            &[("JOBRUNNER_CMD", "no-such-program")],
            1,
            "no-such-program",
        ),
        (
            &[("JOBRUNNER_NUM_WORKERS", "many")],
            1,
            "JOBRUNNER_NUM_WORKERS",
        ),
        (
            &[("JOBRUNNER_HTTP_LISTEN_ADDRESS", "here")],
            1,
            "JOBRUNNER_HTTP_LISTEN_ADDRESS",
        ),
        (
            &[("JOBRUNNER_HTTP_LISTEN_ADDRESS", "0.0.0.0")],
            78,
            "there is no JOBRUNNER_PASSWORD; set one",
        ),
        (
            &[("JOBRUNNER_HTTP_LISTEN_PORT", &taken)],
            1,
            "JOBRUNNER_HTTP_LISTEN_ADDRESS and PORT: 127.0.0.1:",
        ),
    ] {
        let done = spool.finish(&mut daemon(&spool, &command, variables, &[]));
        assert_eq!(
            (done.code, done.stderr.contains(words)),
            (code, true),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn an_address_that_others_reach() {
    let variables = [
        ("JOBRUNNER_HTTP_LISTEN_ADDRESS", "0.0.0.0"),
        ("JOBRUNNER_PASSWORD", "right"),
    ];
    let mut spool = Spool::new();
    let command = command(&spool, "#!/bin/sh\n");
    let daemon = daemon(&spool, &command, &variables, &["--slots", "1"]);
    spool.serve_with(daemon);
    let port = spool.open_port();
    let good = ask(
        port,
        "POST",
        "/payload",
        &["X-JR-PASSWORD: right"],
        &body("7", b"x"),
    );
    assert_eq!(good.status, 200);
    // Whatever name it is called by: who knows the password means this server.
    let by_name = |method: &str, path: &str, line: &str, body: &str| {
        let mut conn = Conn::to(port);
        conn.write(format!(
            "{method} {path} HTTP/1.1\r\nHost: runner.example:8080\r\n{line}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        conn.reply().status
    };
    let (sent, password) = (body("8", b"x"), "X-JR-PASSWORD: right\r\n");
    assert_eq!(by_name("POST", "/payload", password, &sent), 200);
    assert_eq!(by_name("POST", "/payload", "", &sent), 401);
    let page = format!("{password}Origin: http://evil.example\r\n");
    assert_eq!(by_name("POST", "/payload", &page, &sent), 403);
    assert_eq!(by_name("GET", "/status", password, ""), 200);
    assert_eq!(by_name("GET", "/status", "", ""), 401);
    assert_eq!(by_name("GET", "/v1/jobs", password, ""), 421);
    // Others see nothing without the password, here.
    assert_eq!(get(port, "/status").status, 401);
    assert_eq!(get(port, "/v1/jobs").status, 401);
    let status = ask(port, "GET", "/status", &["X-JR-PASSWORD: right"], "");
    assert_eq!(status.text(), "{\"queued_jobs\":0,\"total_jobs\":2}\n");
    // Nobody has asked for it here.
    let (_other, port) = Spool::with_http("{}", &[]);
    assert_eq!(post(port, "/payload", &body("7", b"x")).status, 404);
    assert_eq!(get(port, "/status").status, 404);
}
