//! Messages and servers that mean ill, and users who remove what a bridge works with.

use crate::faults::{Fault, FaultySqs, read_call};
use crate::spool::{Spool, wait_for};
use crate::sqs_model::md5_hex;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A process that is killed when the test ends.
struct Pull(Child);

impl Drop for Pull {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that hands out the messages that a test makes up, each once, and takes everything else for done.
struct MadeUp {
    port: u16,
    messages: Arc<Mutex<Vec<Value>>>,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
}

impl MadeUp {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (messages, calls) = (Arc::default(), Arc::default());
        let server = Self {
            port,
            messages: Arc::clone(&messages),
            calls: Arc::clone(&calls),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (messages, calls) = (Arc::clone(&messages), Arc::clone(&calls));
                std::thread::spawn(move || {
                    let mut input = BufReader::new(stream.try_clone().unwrap());
                    let mut output = stream;
                    while let Some(call) = read_call(&mut input) {
                        calls
                            .lock()
                            .unwrap()
                            .push((call.operation.clone(), call.body.clone()));
                        let body = answer(&call.operation, &call.body, &messages).to_string();
                        let head =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                        if output
                            .write_all(format!("{head}{body}").as_bytes())
                            .is_err()
                        {
                            return;
                        }
                    }
                });
            }
        });
        server
    }

    fn deliver(&self, id: &str, body: &str, format: &str) {
        let form = json!({"PirnFormat": {"DataType": "String", "StringValue": format}});
        self.messages.lock().unwrap().push(json!({
            "MessageId": id, "ReceiptHandle": format!("r-{id}"), "Body": body, "MD5OfBody": md5_hex(body),
            "Attributes": {"ApproximateReceiveCount": "1"}, "MessageAttributes": form}));
    }

    fn count(&self, operation: &str) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(name, _)| name == operation).count()
    }

    fn said(&self, operation: &str) -> String {
        let calls = self.calls.lock().unwrap();
        let bodies = calls.iter().filter(|(name, _)| name == operation);
        bodies.map(|(_, body)| body.to_string()).collect()
    }
}

fn answer(operation: &str, body: &Value, messages: &Mutex<Vec<Value>>) -> Value {
    match operation {
        "GetQueueUrl" => json!({"QueueUrl": "http://elsewhere.example/123456789012/a"}),
        "ReceiveMessage" => {
            let messages: Vec<Value> = messages.lock().unwrap().drain(..).collect();
            json!({ "Messages": messages })
        }
        _ => {
            let entries = body["Entries"].as_array().cloned().unwrap_or_default();
            let done: Vec<Value> = entries.iter().map(|e| json!({"Id": e["Id"]})).collect();
            json!({"Successful": done, "Failed": []})
        }
    }
}

fn with_keys(command: &mut Command) -> &mut Command {
    command
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_PROFILE")
        .env("XDG_CACHE_HOME", "/proc/none")
        .env("PIRN_LOG", "pirn=debug")
}

fn configure(spool: &Spool, port: u16, more: &Value) {
    let mut entry =
        json!({"url": "sqs:a", "endpoint": format!("http://127.0.0.1:{port}"), "wait": "1s"});
    let fields = entry.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let text = json!({"remote": {"work": entry}}).to_string();
    fs::write(spool.beside("new"), text).unwrap();
    fs::rename(spool.beside("new"), spool.path().join("config.json")).unwrap();
}

fn pull(spool: &Spool) -> Pull {
    Pull(spool.spawn_logged(with_keys(&mut spool.command(["pull", "work"]))))
}

#[test]
fn an_id_is_no_file_of_the_bridge() {
    let sqs = MadeUp::start();
    let spool = Spool::serving(&["--slots", "8"]);
    configure(&spool, sqs.port, &json!({"slots": 10}));
    let bridge = pull(&spool);
    let lock = spool.path().join("remote/work/lock");
    wait_for("the lock", || lock.exists());
    let inode = fs::metadata(&lock).unwrap().ino();
    for id in [
        "lock",
        "boot",
        "counts",
        "../../../x",
        ".",
        "..",
        "a/b",
        "-S",
        "",
        "a~",
    ] {
        sqs.deliver(id, "true", "command");
    }
    sqs.deliver("last", "true", "command");
    wait_for("the last", || spool.has("complete/last"));
    assert_eq!(spool.ls("complete"), ["last"]);
    assert_eq!(fs::metadata(&lock).unwrap().ino(), inode);
    drop(bridge);
}

#[test]
fn bodies_of_all_kinds_become_jobs_or_are_given_back() {
    let sqs = MadeUp::start();
    let spool = Spool::serving(&["--slots", "8"]);
    configure(&spool, sqs.port, &json!({"slots": 20}));
    let bridge = pull(&spool);
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (id, body) in [
        ("deep", format!("{{\"command\": \"true\", \"y\": {deep}}}")),
        (
            "deeper",
            format!("{{\"command\": \"true\", \"x\": {{\"a\": {deep}}}}}"),
        ),
        ("nul", r#"{"command": ["printf", "a\u0000b"]}"#.to_owned()),
        (
            "twice",
            r#"{"command": "true", "command": "false"}"#.to_owned(),
        ),
        (
            "twice-x",
            r#"{"command": "true", "x": {}, "x": {"lease": {}}}"#.to_owned(),
        ),
        ("list", "[]".to_owned()),
    ] {
        sqs.deliver(id, &body, "record");
        wait_for("it to be given back", || {
            let back = sqs.said("ChangeMessageVisibilityBatch");
            back.contains(&format!("\"r-{id}\""))
        });
    }
    let long = format!("true {}", "\u{1}".repeat(1 << 20));
    sqs.deliver("long", &long, "command");
    let set = r#"{"command": "true", "\u0069d": "y", "queue": "q", "after": ["no"], "state": "complete",
        "x": {"lease": {"by": "me"}, "k": 1}, "exit_code": 3, "pid": 1, "attempt": 5}"#;
    sqs.deliver("set", set, "record");
    let record = spool.wait_record("complete/set");
    assert_eq!(
        (&record["id"], &record["exit_code"], &record["attempt"]),
        (&json!("set"), &json!(0), &json!(1))
    );
    let x = &record["x"];
    assert_eq!((&x["k"], &x["lease"]["by"]), (&json!(1), &json!("work")));
    assert!(record["queue"].is_null() && record["after"].is_null());
    wait_for("the long one", || spool.has("complete/long"));
    assert_eq!(spool.ls("bad"), Vec::<String>::new());
    drop(bridge);
}

/// A queue without a failed queue has such messages for ever.
#[test]
fn a_message_that_is_no_job_keeps_nobody_busy() {
    let sqs = FaultySqs::start();
    sqs.asker().make("a");
    let spool = Spool::serving(&["--slots", "2"]);
    configure(&spool, sqs.port, &json!({"format": "record"}));
    let before = Instant::now();
    sqs.asker().send("a", "no record");
    let bridge = pull(&spool);
    wait_for("two refusals", || {
        spool.daemon_log().matches("refused").count() == 2
    });
    assert!(before.elapsed() >= Duration::from_secs(2));
    drop(bridge);
}

#[test]
fn a_server_that_does_not_wait_is_not_asked_all_the_time() {
    let sqs = MadeUp::start();
    let spool = Spool::serving(&[]);
    configure(&spool, sqs.port, &json!({}));
    let start = Instant::now();
    let bridge = pull(&spool);
    wait_for("some polls", || sqs.count("ReceiveMessage") >= 5);
    assert!(start.elapsed() >= Duration::from_millis(400));
    drop(bridge);
}

/// The servers do not all know a new queue at once. Its absence says nothing about the message.
#[test]
fn a_result_waits_for_its_queue() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 3);
    let spool = Spool::serving(&["--slots", "2"]);
    configure(&spool, sqs.port, &json!({"results": "out"}));
    sqs.asker().send("a", "true");
    for _ in 0..3 {
        let gone = Fault::Error(400, "QueueDoesNotExist", "not yet");
        sqs.order("SendMessageBatch", gone);
    }
    let bridge = pull(&spool);
    wait_for("the result", || sqs.bodies("out").len() == 1);
    wait_for("the acknowledgement", || sqs.bodies("a").is_empty());
    assert!(!spool.daemon_log().contains("lost"));
    drop(bridge);
}

#[test]
fn a_result_that_is_too_long_does_not_keep_its_message() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 3);
    sqs.asker().make("out");
    let spool = Spool::serving(&["--slots", "2"]);
    configure(&spool, sqs.port, &json!({"results": "out"}));
    sqs.asker().send("a", "true");
    let long = Fault::Error(400, "BatchRequestTooLong", "too long");
    sqs.order("SendMessageBatch", long);
    let bridge = pull(&spool);
    wait_for("the acknowledgement", || sqs.bodies("a").is_empty());
    assert!(spool.daemon_log().contains("a result is not sent"));
    drop(bridge);
}

#[test]
fn a_job_that_is_being_edited_keeps_its_lease() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 3);
    let spool = Spool::serving(&["--slots", "1"]);
    configure(&spool, sqs.port, &json!({"slots": 3}));
    let go = spool.beside("go");
    let command = format!("while ! [ -e {} ]; do sleep 0.02; done", go.display());
    let first = sqs.asker().send("a", &command);
    let bridge = pull(&spool);
    wait_for("the first to run", || spool.has(&format!("active/{first}")));
    let id = sqs.asker().send("a", "true");
    wait_for("the second to wait", || spool.has(&format!("pending/{id}")));
    let (waiting, held) = (format!("pending/{id}"), format!("held/{id}"));
    spool.mv(&waiting, &held);
    let whole = spool.read(&held);
    let replace = |text: &str| {
        fs::write(spool.beside("new"), text).unwrap();
        fs::rename(spool.beside("new"), spool.path().join(&held)).unwrap();
    };
    replace("{\"comm");
    fs::write(&go, "").unwrap();
    wait_for("the first to be acknowledged", || {
        sqs.bodies("a") == ["true"]
    });
    replace(&whole);
    spool.mv(&held, &waiting);
    wait_for("the second too", || sqs.bodies("a").is_empty());
    assert!(spool.has(&format!("complete/{id}")));
    drop(bridge);
}

/// It would go on taking messages that it cannot keep.
#[test]
fn a_bridge_whose_directory_is_removed_ends() {
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("a", 3);
    let spool = Spool::serving(&["--slots", "2"]);
    configure(&spool, sqs.port, &json!({}));
    let mut bridge = pull(&spool);
    sqs.asker().send("a", "true");
    wait_for("the first", || sqs.bodies("a").is_empty());
    fs::remove_dir_all(spool.path().join("remote/work")).unwrap();
    sqs.asker().send("a", "true");
    let mut code = None;
    let end = Instant::now() + Duration::from_secs(20);
    while code.is_none() && Instant::now() < end {
        code = bridge.0.try_wait().unwrap().map(|status| status.code());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(code, Some(Some(74)), "{}", spool.daemon_log());
    assert!(spool.daemon_log().contains("remote/work was removed"));
}
