//! `pirn push` and `pirn result` on Redis.

use crate::redis_server::RedisServer;
use crate::spool::{Done, Spool, wait_for};
use redis::{Commands, Connection};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::process::Stdio;

/// The fields of one message.
type Fields = HashMap<String, String>;

fn connect(server: &RedisServer) -> Connection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_connection().unwrap()
}

fn messages(client: &mut Connection, stream: &str) -> Vec<(String, Fields)> {
    client.xrange_all(stream).unwrap()
}

fn record(fields: &Fields) -> Value {
    serde_json::from_str(&fields["job"]).unwrap()
}

fn ok(done: &Done) -> Vec<String> {
    assert_eq!(done.code, 0, "{}", done.stderr);
    done.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a_job_is_sent_with_what_was_asked_for_and_no_more() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let spool = Spool::new();
    let url = format!("{}#work", server.url());
    let mut plain = ok(&spool.pirn(&["push", &url, "echo hello"]));
    let full = ok(&spool.pirn(&[
        "push",
        &url,
        "--tries",
        "3",
        "--timeout",
        "90s",
        "--group",
        "g",
        "--env",
        "A=b",
        "-C",
        "/srv",
        "--umask",
        "027",
        "--",
        "rsync",
        "a b",
        "c",
    ]));
    let sent = messages(&mut connect(&server), "pirn:{work}");
    plain.extend(full);
    let ids: Vec<_> = sent.iter().map(|(id, _)| format!("work.{id}")).collect();
    assert_eq!(plain, ids);
    assert_eq!(record(&sent[0].1), json!({"command": "echo hello"}));
    assert_eq!(sent[0].1.len(), 1);
    assert_eq!(
        record(&sent[1].1),
        json!({"command": ["rsync", "a b", "c"], "tries": 3, "timeout": "1m 30s", "group": "g",
            "env": {"A": "b"}, "cwd": "/srv", "umask": "027"})
    );
    assert_eq!(sent[1].1["group"], "g");
    // Nothing is made here.
    assert!(!spool.path().exists());
}

#[test]
fn many_jobs_are_sent_in_their_order() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let spool = Spool::new();
    let url = format!("{}#work", server.url());
    let mut input: String = (0..3000).map(|n| format!("echo {n}\n")).collect();
    input.push_str("\n{\"command\": \"x\", \"tries\": 9, \"comment\": \"last\"}\n");
    let push = ["push", "--batch", "--tries", "2", &url];
    let ids = ok(&spool.pirn_with_input(&push, input.as_bytes()));
    let mut client = connect(&server);
    let sent = messages(&mut client, "pirn:{work}");
    assert_eq!(sent.len(), 3001);
    for (n, (id, fields)) in sent.iter().enumerate() {
        assert_eq!(format!("work.{id}"), ids[n]);
        let expected = match n {
            3000 => json!({"command": "x", "tries": 9, "comment": "last"}),
            n => json!({"command": format!("echo {n}"), "tries": 2}),
        };
        assert_eq!(record(fields), expected);
    }

    // Up to the first line that is no job for another machine.
    for (bad, why) in [
        ("{\"command\": \"x\", \"queue\": \"q\"}", "queue"),
        ("{\"command\": \"x\", \"after\": [\"1\"]}", "after"),
        ("{\"comand\": \"x\"}", "command"),
        ("{", "line 3"),
    ] {
        let before = messages(&mut client, "pirn:{work}").len();
        let input = format!("true\n\n{bad}\nfalse\n");
        let done = spool.pirn_with_input(&push, input.as_bytes());
        assert_eq!((done.code, done.stdout.lines().count()), (65, 1), "{bad}");
        assert!(
            done.stderr.contains("line 3: ") && done.stderr.contains(why),
            "{}",
            done.stderr
        );
        assert!(
            done.stderr.contains("sent before it: 1,"),
            "{}",
            done.stderr
        );
        assert_eq!(messages(&mut client, "pirn:{work}").len(), before + 1);
    }
}

#[test]
fn options_that_only_hold_here_are_refused() {
    let spool = Spool::new();
    let url = "redis://127.0.0.1:1#q";
    for options in [
        &["--id", "x"][..],
        &["--queue", "q"],
        &["--after", "1"],
        &["--after-any", "1"],
        &["-C", "relative"],
        &["--ro", "relative"],
    ] {
        let done = spool.pirn(&[&["push", url], options, &["true"]].concat());
        assert_eq!(done.code, 2, "{options:?}: {}", done.stderr);
        assert!(done.stderr.contains("another machine"), "{}", done.stderr);
    }
    for url in ["redis://127.0.0.1:1", "http://x#q", "redis://h#a*"] {
        assert_eq!(spool.pirn(&["push", url, "true"]).code, 78, "{url}");
    }
    assert_eq!(spool.pirn(&["push", "--batch", url, "true"]).code, 2);
}

#[test]
fn exit_codes_tell_troubles_from_refusals() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let spool = Spool::new();
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("requirepass").arg("good");
    set.exec(&mut connect(&server)).unwrap();
    let host = format!("127.0.0.1:{}", server.port);
    for user in ["", ":bad@"] {
        let done = spool.pirn(&["push", &format!("redis://{user}{host}#q"), "true"]);
        assert_eq!(done.code, 78, "{}", done.stderr);
        assert!(!done.stderr.contains("bad"), "{}", done.stderr);
        assert_eq!(done.stdout, "");
    }
    ok(&spool.pirn(&["push", &format!("redis://:good@{host}#q"), "true"]));
    server.crash();
    let done = spool.pirn(&["push", &format!("redis://:good@{host}#q"), "true"]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (75, ""),
        "{}",
        done.stderr
    );
}

#[test]
fn the_record_of_an_ended_job_is_printed() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let spool = Spool::new();
    let url = format!("{}#work", server.url());
    let id = ok(&spool.pirn(&["push", &url, "exit 3"])).remove(0);
    let mut client = connect(&server);
    let done = spool.pirn(&["result", &url, &id]);
    assert_eq!((done.code, done.stdout.as_str()), (75, ""));
    assert!(done.stderr.contains("has not ended"), "{}", done.stderr);
    let done = spool.pirn(&["result", &url, &id, "--wait", "0.2s"]);
    assert_eq!(done.code, 75);

    // A waiting command learns of the end at once.
    let record = "{\"command\": \"exit 3\", \"reason\": \"exited\", \"exit_code\": 3}";
    let mut waiting = spool
        .command(["result", &url, &id, "--wait", "1h"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let blocked = || {
        let clients: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query(&mut connect(&server))
            .unwrap();
        clients.lines().any(|line| line.contains("cmd=xread"))
    };
    wait_for("the reader", blocked);
    let stream_id = id.strip_prefix("work.").unwrap().to_owned();
    let key = format!("pirn:{{work}}:result:{stream_id}");
    client.set::<_, _, ()>(key, record).unwrap();
    client
        .xdel::<_, _, ()>("pirn:{work}", &[&stream_id])
        .unwrap();
    let ended = [("id", stream_id.as_str()), ("record", record)];
    client
        .xadd::<_, _, _, _, ()>("pirn:{work}:ended", "*", &ended)
        .unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(3));
    let done = spool.pirn(&["result", &url, &id]);
    assert_eq!((done.code, done.stdout), (3, format!("{record}\n")));

    for unknown in ["work.1-0", "1-0", "x", "work.x-0"] {
        let done = spool.pirn(&["result", &url, unknown, "--wait", "1h"]);
        assert_eq!(done.code, 66, "{unknown}: {}", done.stderr);
    }
    let url = url.replace("redis://", "redis://default:secret@");
    let done = spool.pirn(&["result", &url, "x"]);
    assert_eq!(done.code, 66, "{}", done.stderr);
    assert!(!done.stderr.contains("secret"), "{}", done.stderr);
}
