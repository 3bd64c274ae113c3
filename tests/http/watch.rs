//! Events, metrics, and what watches services.

use crate::client::{ANYBODY_MAY_RUN, Conn, ask, get, post};
use crate::spool::Spool;
use serde_json::{Value, json};
use std::collections::HashSet;

fn listen(port: u16, lines: &[&str]) -> Conn {
    let mut conn = Conn::to(port);
    conn.ask("GET", "/v1/events", lines, "");
    assert_eq!(
        conn.head().unwrap().header("content-type"),
        "text/event-stream"
    );
    conn
}

#[test]
fn every_change_of_state_is_an_event() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let mut conn = listen(port, &[]);
    let mut text = String::new();
    assert_eq!(conn.event(&mut text).unwrap()["event"], "ready");
    let mut last = String::new();
    let mut states_of = |id: &str| {
        let mut seen: Vec<(String, Value)> = Vec::new();
        while seen
            .last()
            .is_none_or(|(_, state)| *state != json!("complete"))
        {
            let event = conn.event(&mut text).unwrap();
            assert_eq!(event["event"], "job");
            let told: Value = serde_json::from_str(&event["data"]).unwrap();
            assert_eq!(told["id"], id);
            last = event["id"].clone();
            seen.push((
                told["queue"].as_str().unwrap_or("-").to_owned(),
                told["state"].clone(),
            ));
        }
        seen.dedup();
        seen
    };
    let job = r#"{"command": "true", "queue": "new"}"#;
    let wanted = [("new", "pending"), ("-", "active"), ("-", "complete")]
        .map(|(queue, state)| (queue.to_owned(), json!(state)));
    // Its queue is new: it may have left it before that is known.
    post(port, "/v1/jobs", job);
    let seen = states_of("1");
    assert!(seen == wanted || seen == wanted[1..], "{seen:?}");
    post(port, "/v1/jobs", job);
    assert_eq!(states_of("2"), wanted);

    // Whoever comes back hears what happened meanwhile.
    drop(conn);
    spool.rm("complete/2");
    let mut conn = listen(port, &[&format!("Last-Event-ID: {last}")]);
    let gone = conn.event(&mut text).unwrap();
    assert_eq!(gone["event"], "job");
    assert!(gone["data"].contains("\"state\":null"), "{gone:?}");
    let mut conn = listen(port, &["Last-Event-ID: 1"]);
    assert_eq!(
        conn.event(&mut text).unwrap()["event"],
        "lost",
        "of an earlier daemon"
    );
}

#[test]
fn a_reader_that_stops_reading_costs_nothing() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let mut slow = listen(port, &[]);
    let mut text = String::new();
    assert_eq!(slow.event(&mut text).unwrap()["event"], "ready");
    for n in 0..6000 {
        spool.drop_file(&format!("job-{n}-{}", "x".repeat(100)), "true");
    }
    assert_eq!(get(port, "/v1/jobs?limit=1").status, 200);
    // It is told so when it has missed some; nothing is told in another order. (Twice it may be told of a file that
    // another process had open for a moment, because this one was starting a third.)
    let (mut next, mut known) = (0, HashSet::new());
    while next < 6000 {
        let event = slow.event(&mut text).unwrap();
        if event["event"] == "lost" {
            continue;
        }
        let told: Value = serde_json::from_str(&event["data"]).unwrap();
        let n: usize = told["id"]
            .as_str()
            .unwrap()
            .split('-')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        if told["state"] == "pending" {
            assert!(n >= next || known.contains(&n), "{n} after {next}");
            known.insert(n);
            next = next.max(n + 1);
        }
    }
}

#[test]
fn metrics_can_be_read() {
    let (_spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    post(port, "/v1/jobs?wait=20s", "true");
    post(port, "/v1/jobs?wait=20s", "exit 100");
    let page = get(port, "/metrics");
    assert!(
        page.header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let page = page.text();
    for line in [
        "pirn_jobs{state=\"complete\"} 1",
        "pirn_jobs{state=\"failed\"} 1",
        "pirn_jobs_waiting{queue=\"default\"} 0",
        "pirn_job_attempts_total{queue=\"default\",outcome=\"exited\"} 2",
        "pirn_jobs_finished_total{queue=\"default\",result=\"complete\"} 1",
        "pirn_job_duration_seconds_count{queue=\"default\"} 2",
        "pirn_job_wait_seconds_bucket{queue=\"default\",le=\"+Inf\"} 2",
        "queued_jobs 0",
        "total_jobs{worker_id=\"1\"} 2",
        "job_duration_count{worker_id=\"1\"} 2",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = name.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        assert!(
            page.contains(&format!("# TYPE {family} "))
                || page.contains(&format!("# TYPE {name} ")),
            "{line}"
        );
    }
}

#[test]
fn methods_and_paths() {
    let (_spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let wrong = post(port, "/healthz", "");
    assert_eq!(
        (wrong.status, wrong.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
    let options = ask(port, "OPTIONS", "/v1/jobs", &[], "");
    assert_eq!(
        (options.status, options.header("allow")),
        (204, "GET, HEAD, OPTIONS, POST")
    );
    assert_eq!(ask(port, "BREW", "/v1/jobs/1", &[], "").status, 405);
    let head = ask(port, "HEAD", "/v1/queues", &[], "");
    assert!(head.status == 200 && head.header("content-length") != "0");
    for path in [
        "/v1/",
        "/v1/jobs/",
        "//v1/jobs",
        "/v1//jobs",
        "/V1/jobs",
        "/v1/jobs/1/log/x",
    ] {
        let status = get(port, path).status;
        assert_eq!(status, 404, "{path}");
    }
}
