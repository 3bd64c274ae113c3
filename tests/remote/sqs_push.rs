//! `pirn push` and `pirn result` on SQS.

use crate::ask::Asker;
use crate::moto::{Moto, SharedMoto};
use crate::spool::{Done, Spool};
use serde_json::{Value, json};
use std::fs;
use std::sync::Weak;

static MOTO: SharedMoto = SharedMoto::new(Weak::new());

/// A spool whose settings name queues on the server.
fn sender(moto: &Moto, queues: &Value) -> Spool {
    let spool = Spool::made();
    let mut queues = queues.clone();
    for (_, queue) in queues.as_object_mut().unwrap() {
        queue["endpoint"] = json!(moto.url());
    }
    let config = json!({ "remote": queues }).to_string();
    fs::write(spool.path().join("config.json"), config).unwrap();
    spool
}

fn pirn(spool: &Spool, args: &[&str], input: &str) -> Done {
    let path = spool.beside("lines");
    fs::write(&path, input).unwrap();
    let mut command = spool.command(args);
    command.stdin(fs::File::open(path).unwrap());
    command.env("AWS_ACCESS_KEY_ID", "test");
    command.env("AWS_SECRET_ACCESS_KEY", "secret");
    command.env("XDG_CACHE_HOME", spool.beside("cache"));
    spool.finish(&mut command)
}

fn ids(done: &Done) -> Vec<String> {
    assert_eq!(done.code, 0, "{}", done.stderr);
    done.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn jobs_are_sent_to_a_queue_that_is_made_for_them() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let asker = Asker(moto.port);
    let spool = sender(&moto, &json!({"w": {"url": "sqs:pushed"}}));
    let mut sent = ids(&pirn(&spool, &["push", "w", "--tries", "2", "echo 0"], ""));
    let lines: String = (1..13).map(|n| format!("echo {n}\n")).collect();
    sent.extend(ids(&pirn(&spool, &["push", "--batch", "w"], &lines)));
    let mut got = asker.take_all("pushed");
    got.sort_by_key(|(id, _)| sent.iter().position(|sent| sent == id));
    let bodies: Vec<Value> = got
        .iter()
        .map(|(_, body)| serde_json::from_str(body).unwrap())
        .collect();
    let mut expected = vec![json!({"command": "echo 0", "tries": 2})];
    expected.extend((1..13).map(|n| json!({"command": format!("echo {n}")})));
    assert_eq!(bodies, expected);
    let there: Vec<String> = got.into_iter().map(|(id, _)| id).collect();
    assert_eq!(there, sent);
    // A receiver that takes jobs from there may fail five times.
    let url = asker.url("pushed").unwrap();
    let call = json!({"QueueUrl": url, "AttributeNames": ["RedrivePolicy"]});
    let policy = asker.must("GetQueueAttributes", &call)["Attributes"]["RedrivePolicy"].clone();
    let policy: Value = serde_json::from_str(policy.as_str().unwrap()).unwrap();
    assert_eq!(policy["maxReceiveCount"].to_string().trim_matches('"'), "5");
    assert!(asker.url("pushed_failed").is_some());
}

#[test]
fn records_are_marked_and_shell_text_is_not() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let asker = Asker(moto.port);
    let spool = sender(
        &moto,
        &json!({"r": {"url": "sqs:records"}, "c": {"url": "sqs:commands", "format": "command"},
            "f": {"url": "sqs:ordered.fifo"}}),
    );
    for (name, queue, body, form) in [
        ("r", "records", "{\"command\":\"true\"}", json!("record")),
        ("c", "commands", "true", Value::Null),
        (
            "f",
            "ordered.fifo",
            "{\"command\":\"true\"}",
            json!("record"),
        ),
    ] {
        ids(&pirn(&spool, &["push", name, "true"], ""));
        let receive = json!({"QueueUrl": asker.url(queue).unwrap(), "MessageAttributeNames": ["All"],
            "AttributeNames": ["All"]});
        let got = asker.must("ReceiveMessage", &receive)["Messages"][0].clone();
        let shown: String = got["Body"].as_str().unwrap().split_whitespace().collect();
        assert_eq!(shown, body, "{name}");
        assert_eq!(
            got["MessageAttributes"]["PirnFormat"]["StringValue"], form,
            "{name}"
        );
        let group = match name {
            "f" => json!("pirn"),
            _ => Value::Null,
        };
        assert_eq!(got["Attributes"]["MessageGroupId"], group, "{name}");
    }
    let done = pirn(&spool, &["push", "c", "--tries", "2", "true"], "");
    assert_eq!((done.code, done.stdout.as_str()), (65, ""));
    assert!(done.stderr.contains("format: command"), "{}", done.stderr);
}

#[test]
fn the_record_is_taken_from_the_queue_of_results() {
    let Some(moto) = Moto::shared(&MOTO) else {
        return;
    };
    let asker = Asker(moto.port);
    let queues =
        json!({"w": {"url": "sqs:asked", "results": "asked_results"}, "n": {"url": "sqs:asked"}});
    let spool = sender(&moto, &queues);
    let id = ids(&pirn(&spool, &["push", "w", "exit 4"], "")).remove(0);
    assert_eq!(pirn(&spool, &["result", "w", &id], "").code, 75);
    asker.make("asked_results");
    let record = |id: &str, code: i32| {
        json!({"id": id, "command": "x", "reason": "exited", "exit_code": code}).to_string()
    };
    asker.send("asked_results", "no record");
    asker.send("asked_results", &record("other", 7));
    assert_eq!(pirn(&spool, &["result", "w", &id], "").code, 75);
    asker.send("asked_results", &record(&id, 4));
    let done = pirn(&spool, &["result", "w", &id, "--wait", "60s"], "");
    assert_eq!(
        (done.code, done.stdout),
        (4, format!("{}\n", record(&id, 4)))
    );
    // Others can still have theirs at once.
    let done = pirn(&spool, &["result", "w", "other", "--wait", "60s"], "");
    assert_eq!(done.code, 7, "{}", done.stderr);
    assert_eq!(asker.take_all("asked_results").len(), 1);
    let done = pirn(&spool, &["result", "n", &id], "");
    assert_eq!(done.code, 78);
    assert!(done.stderr.contains("results"), "{}", done.stderr);
}

#[test]
fn wrong_names_and_settings_are_refused() {
    let spool = Spool::made();
    let config =
        json!({"remote": {"work": {"url": "sqs:a*"}, "two": {"urls": ["sqs:a", "sqs:b"]}}});
    fs::write(spool.path().join("config.json"), config.to_string()).unwrap();
    for (name, part) in [
        ("wrok", "did you mean work?"),
        ("work", "no * at its end"),
        ("two", "2 queues"),
    ] {
        let done = pirn(&spool, &["push", name, "true"], "");
        assert_eq!(done.code, 78, "{name}");
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }
}
