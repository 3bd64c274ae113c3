//! How many tries a pushed job has: written down when it is accepted; in other servers' words one, as there.

use crate::client::{ask, get, post};
use crate::spool::Spool;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const SETTINGS: &str = r#"{"http": {"anonymous": ["read", "run", "admin"]}, "defaults": {"tries": 5}, "slots": 0,
    "queues": {"mail": {"defaults": {"tries": 7}}}}"#;

const JSON: &str = "Content-Type: application/json";

fn tries_of(port: u16, id: &str) -> Value {
    get(port, &format!("/v1/jobs/{id}")).json()["tries"].clone()
}

#[test]
fn a_pushed_job_says_how_many_tries_it_has() {
    let (_plain, port) = Spool::with_http(
        r#"{"http": {"anonymous": ["read", "run"]}, "slots": 0}"#,
        &[],
    );
    assert_eq!(post(port, "/v1/jobs", "true").json()["tries"], 1);
    let (_spool, port) = Spool::with_http(SETTINGS, &[]);
    for (body, tries) in [
        ("true", 5),
        (r#"{"command": "true", "queue": "mail"}"#, 7),
        (r#"{"command": "true", "queue": "mail", "tries": 2}"#, 2),
    ] {
        assert_eq!(
            post(port, "/v1/jobs", body).json()["tries"],
            tries,
            "{body}"
        );
    }
    let put = ask(
        port,
        "PUT",
        "/v1/jobs/put",
        &[JSON],
        r#"{"command": "true"}"#,
    );
    assert_eq!(put.json()["tries"], 5);
    let copy = post(port, "/v1/jobs/put/copy", "").json();
    assert_eq!(copy["tries"], 5, "{copy}");
    let lines = "{\"command\": \"true\"}\n{\"command\": \"true\", \"queue\": \"mail\"}\n{\"command\": \"true\", \"tries\": 3}\n";
    let answers = post(port, "/v1/jobs:batch", lines).text();
    let ids: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let tries: Vec<Value> = ids
        .iter()
        .map(|told: &Value| tries_of(port, told["id"].as_str().unwrap()))
        .collect();
    assert_eq!(json!(tries), json!([5, 7, 3]), "{answers}");
}

#[test]
fn the_same_push_is_the_same_job_whatever_the_default_is_by_now() {
    let (spool, port) = Spool::with_http(SETTINGS, &[]);
    let (plain, three) = (
        r#"{"command": "true"}"#,
        r#"{"command": "true", "tries": 3}"#,
    );
    let push = |key: &str, body: &str| {
        let key = format!("Idempotency-Key: {key}");
        ask(port, "POST", "/v1/jobs", &[JSON, &key], body)
    };
    let put = |body: &str| ask(port, "PUT", "/v1/jobs/put", &[JSON], body).status;
    let first = push("a", plain).json()["id"].clone();
    assert_eq!((put(plain), push("b", three).status), (201, 201));
    spool.config(&SETTINGS.replace('5', "6"));
    spool.wait_for("the new default", || {
        post(port, "/v1/jobs", "true").json()["tries"] == 6
    });
    assert_eq!(
        (push("a", plain).json()["id"].clone(), put(plain)),
        (first, 200)
    );
    assert_eq!(push("b", three).status, 201);
    // Asked for otherwise it is another job.
    assert_eq!(
        (
            push("a", three).status,
            put(three),
            push("b", &three.replace('3', "4")).status
        ),
        (422, 409, 422)
    );
}

/// The records that clients of hq, qmd and jobrunner make under these settings, in this order.
fn pushed(settings: &str) -> Vec<Value> {
    let mut spool = Spool::new();
    std::fs::create_dir_all(spool.path()).unwrap();
    spool.config(settings);
    let mut daemon = spool.command(["serve", "--jobrunner", "--http", "127.0.0.1:0"]);
    daemon
        .env("JOBRUNNER_CMD", "/bin/true")
        .env("JOBRUNNER_HTTP_LISTEN_PORT", "0");
    spool.serve_with(daemon);
    spool.wait_for("the doors to open", || spool.ports().len() == 2);
    spool.script("s.sh", "#!/bin/sh\n");
    let port = |path: &str| {
        let ports = spool.ports();
        ports
            .into_iter()
            .find(|port| get(*port, path).status == 200)
            .unwrap()
    };
    let (http, jobrunner) = (port("/scripts"), port("/status"));
    let call = json!({"url": "http://127.0.0.1:9/"}).to_string();
    assert_eq!(ask(http, "POST", "/job", &[JSON], &call).status, 200);
    let run = json!({"callback_url": "http://127.0.0.1:9/"}).to_string();
    assert_eq!(post(http, "/scripts/s.sh", &run).status, 200);
    let payload = json!({"id": "p", "data": STANDARD.encode("x")}).to_string();
    let mut client = crate::client::Conn::to(jobrunner);
    client.ask("POST", "/payload", &[JSON], &payload);
    spool.wait_for("the payload", || spool.has("pending/jobrunner/3"));
    ["1", "qmd/2", "jobrunner/3"]
        .iter()
        .map(|name| spool.record(&format!("pending/{name}")))
        .collect()
}

#[test]
fn clients_of_other_servers_are_told_of_the_first_failure() {
    let tries = |settings: &str| -> Vec<Value> {
        pushed(settings)
            .iter()
            .map(|record| record["tries"].clone())
            .collect()
    };
    assert_eq!(
        json!(tries(r#"{"paused": true, "defaults": {"tries": 5}}"#)),
        json!([1, 1, 1])
    );
    let own = r#"{"paused": true, "defaults": {"tries": 5}, "queues": {"default": {"defaults": {"tries": 2}},
        "qmd": {"defaults": {"tries": 3}}, "jobrunner": {"defaults": {"tries": 4}}}}"#;
    assert_eq!(json!(tries(own)), json!([2, 3, 4]));
}
