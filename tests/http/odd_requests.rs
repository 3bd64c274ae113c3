//! Requests that make sense to nobody, or at an odd moment.

use crate::client::{ANYBODY_MAY_RUN, Conn, ask, get, post};
use crate::spool::Spool;
use serde_json::json;

/// What a client has seen may be anything, and later than all there is.
#[test]
fn an_offset_may_be_any_number() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "1"]);
    spool.drop_file("a", "echo begun; exec sleep 600");
    spool.wait_log("a", "begun");
    let far = u64::MAX.to_string();
    let resume = format!("Last-Event-ID: {far}");
    for (target, lines) in [
        ("/v1/events".to_owned(), vec![resume.as_str()]),
        ("/v1/jobs/a/log?follow".to_owned(), vec![resume.as_str()]),
        (format!("/v1/jobs/a/log?follow&from={far}"), vec![]),
    ] {
        let mut conn = Conn::to(port);
        conn.ask("GET", &target, &lines, "");
        let head = conn.head().expect("an answer");
        assert_eq!(head.status, 200, "{target}");
        if target.ends_with("events") {
            // Something is sent, and the stream goes on.
            let mut text = String::new();
            post(port, "/v1/jobs", "true");
            assert!(conn.event(&mut text).is_some());
        }
    }
    assert_eq!(get(port, "/v1/jobs/a").status, 200);
    let log = spool.daemon_log();
    assert!(
        !log.contains("panicked") && !log.contains("log/a:"),
        "{log}"
    );
    assert_eq!(spool.pirn(&["cancel", "a"]).code, 0);
}

/// A push that is repeated meets its job, wherever that waits by then.
#[test]
fn a_repeated_push_meets_a_job_that_is_held() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    for job in [
        r#"{"command": "true", "queue": "mail"}"#,
        r#"{"command": "true"}"#,
    ] {
        let key = format!("Idempotency-Key: \"{}\"", job.len());
        let push = |body: &str| ask(port, "POST", "/v1/jobs", &[&key], body);
        let name = format!("/v1/jobs/named{}", job.len());
        let put = |body: &str| ask(port, "PUT", &name, &[], body).status;
        let first = push(job);
        assert_eq!((first.status, put(job)), (201, 201));
        let id = first.json()["id"].as_str().unwrap().to_owned();
        for path in [format!("/v1/jobs/{id}"), name.clone()] {
            assert_eq!(post(port, &format!("{path}/hold"), "").status, 200);
        }
        assert_eq!((push(job).status, put(job)), (201, 200));
        let other = r#"{"command": "false", "queue": "web"}"#;
        assert_eq!((push(other).status, put(other)), (422, 409));
    }
    assert_eq!(spool.ls("held").len(), 4);
}

/// The settings are valid after any change of any queue.
#[test]
fn a_queue_may_have_any_name() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    for (path, name) in [
        ("a%22b", "a\"b"),
        ("a%5Cb", "a\\b"),
        ("%C3%BC%20x", "ü x"),
        ("%7B%7D", "{}"),
    ] {
        let target = format!("/v1/queues/{path}");
        let reply = ask(
            port,
            "PATCH",
            &target,
            &[],
            r#"{"paused": true, "slots": 2}"#,
        );
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let set = &spool.record("config.json")["queues"][name];
        assert_eq!(*set, json!({"slots": 2}), "{path}");
        assert!(spool.has(&format!("pending/{name}/.paused")));
        let shown = get(port, "/v1/queues").json();
        assert!(
            shown["queues"]
                .as_array()
                .unwrap()
                .iter()
                .any(|q| q["name"] == name)
        );
        assert_eq!(get(port, "/metrics").status, 200);
    }
}
