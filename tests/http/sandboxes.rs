//! Sandboxes and limits of jobs that come over HTTP.

use crate::client::{ANYBODY_MAY_RUN, get, post};
use crate::spool::Spool;
use serde_json::{Value, json};

/// A line of shell that says whether it may make sockets.
const SOCKET: &str =
    "python3 -c 'import socket; socket.socket()' 2>/dev/null && echo open || echo closed";

fn output(port: u16, body: &Value) -> Value {
    post(port, "/v1/jobs?wait=20s", &body.to_string()).json()
}

#[test]
fn the_default_sandbox_holds_for_callers_who_may_only_push() {
    let config = json!({"defaults": {"sandbox": {"network": "none"}}});
    let (spool, port) = Spool::with_http(&config.to_string(), &[]);
    if get(port, "/v1").json()["sandbox"]["seccomp"] != true {
        return eprintln!("skipped: there is no seccomp");
    }
    spool.script("try", &format!("#!/bin/sh\n{SOCKET}\n"));
    let done = output(port, &json!({"script": "try"}));
    assert_eq!(
        (&done["output"], &done["sandboxed"]["seccomp"]),
        (&json!("closed\n"), &json!(true)),
        "{done}"
    );
    let replaced = post(port, "/v1/jobs", r#"{"script": "try", "sandbox": {}}"#);
    assert_eq!(replaced.status, 401);
    assert!(
        replaced.json()["detail"]
            .as_str()
            .unwrap()
            .contains("sandbox needs the right")
    );
    // The control: a caller with `run` replaces it.
    let config = json!({"defaults": {"sandbox": {"network": "none"}}, "http": {"anonymous": ["read", "run"]}});
    let (spool, port) = Spool::with_http(&config.to_string(), &[]);
    spool.script("try", &format!("#!/bin/sh\n{SOCKET}\n"));
    let done = output(port, &json!({"script": "try", "sandbox": {}}));
    assert_eq!(
        (&done["output"], &done["sandbox"]),
        (&json!("open\n"), &json!({})),
        "{done}"
    );
}

#[test]
fn mistakes_are_named() {
    let (_spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    for (body, words) in [
        (
            json!({"command": "true", "sandbox": {"networt": "none"}}),
            "sandbox.networt: unknown field; did you mean \"network\"?",
        ),
        (
            json!({"command": "true", "sandbox": {"rw": ["x"]}}),
            "sandbox.rw: expected a path",
        ),
        (
            json!({"command": "true", "sandbox": {"network": {"connect": [65536]}}}),
            "sandbox.network.connect: expected",
        ),
        (
            json!({"command": "true", "sandbox": {"private_tmp": true}}),
            "sandbox.private_tmp: this version",
        ),
        (
            json!({"command": "true", "user": "nobody"}),
            "user: this version",
        ),
        (
            json!({"command": "true", "resources": {"cpu": -1}}),
            "resources.cpu: expected",
        ),
        (
            json!({"url": "http://[::1]/", "sandbox": {}}),
            "sandbox, resources: go with",
        ),
    ] {
        let refused = post(port, "/v1/jobs", &body.to_string());
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(refused.status, 422, "{body}: {detail}");
        assert!(detail.contains(words), "{body}: {detail}");
    }
    let batch = post(
        port,
        "/v1/jobs:batch",
        r#"{"command": "true", "sandbox": {"x": 1}}"#,
    );
    assert!(
        batch.text().contains("sandbox.x: unknown field"),
        "{}",
        batch.text()
    );
    let sent = json!({"command": "true", "sandbox": {"ro": ["/srv"], "network": {"udp": true}}, "resources": {"memory": "1M"}});
    let job = post(port, "/v1/jobs", &sent.to_string()).json();
    assert_eq!(job["sandbox"], sent["sandbox"], "{job}");
    assert_eq!(job["resources"]["memory"], 1 << 20);
}
