//! Jobs that call a URL.

use crate::client::{ask, post};
use crate::spool::Spool;
use crate::worker::{Worker, answer};
use serde_json::json;
use std::net::TcpListener;

#[test]
fn a_payload_is_delivered_byte_for_byte() {
    let spool = Spool::serving(&[]);
    let worker = Worker::with(&[answer("201 Created", &[], "thanks\n")]);
    let text = format!(
        r#"{{"url": "{}", "headers": {{"X-Token": "s3cret", "content-type": "text/x"}},
            "payload":  {{ "a" :1.50,"a":"\u00e9",
  "b":[ ] }} }}"#,
        worker.url("/hook?x=1")
    );
    spool.drop_file("call", &text);
    let record = spool.wait_record("complete/call");
    let sent = worker.wait(1).remove(0);
    assert_eq!(sent.line, "POST /hook?x=1 HTTP/1.1");
    assert_eq!(sent.body, "{ \"a\" :1.50,\"a\":\"\\u00e9\",\n  \"b\":[ ] }");
    assert_eq!(sent.one("x-token"), "s3cret");
    assert_eq!(sent.one("content-type"), "text/x");
    assert_eq!(sent.one("accept-encoding"), "gzip");
    assert_eq!(sent.one("x-pirn-job-id"), "call");
    assert_eq!(sent.one("x-pirn-attempt"), "1");
    assert!(sent.one("user-agent").starts_with("pirn/"));
    assert_eq!(sent.all("accept"), [""; 0]);
    assert_eq!(record["status_code"], 201);
    assert_eq!(record["output"], "thanks\n");
    assert_eq!(spool.read("log/call"), "thanks\n");
    assert!(record.get("result").is_none() && record.get("error").is_none());
    assert!(spool.read("complete/call").contains(&sent.body));
}

#[test]
fn no_payload_is_no_body() {
    let spool = Spool::serving(&[]);
    let worker = Worker::with::<&[u8]>(&[]);
    spool.drop_json("a", &json!({"url": worker.url("/")}));
    spool.drop_json("b", &json!({"url": worker.url("/"), "payload": null}));
    spool.wait_record("complete/a");
    spool.wait_record("complete/b");
    for sent in worker.wait(2) {
        assert_eq!((sent.one("content-length"), sent.body.as_str()), ("0", ""));
        assert_eq!(sent.one("content-type"), "application/json");
    }
}

#[test]
fn statuses_decide_what_follows() {
    let spool = Spool::serving(&[]);
    let quick = json!({"first": "10ms"});
    for (n, (status, tries, state)) in [
        ("204 No Content", 1, "complete"),
        ("404 Not Found", 1, "failed"),
        ("304 Not Modified", 1, "failed"),
        ("503 Service Unavailable", 2, "failed"),
        ("429 Too Many Requests", 2, "failed"),
    ]
    .into_iter()
    .enumerate()
    {
        let once = answer(status, &[], "");
        let worker = Worker::with(&[once.clone(), once]);
        let id = format!("s{n}");
        spool.drop_json(
            &id,
            &json!({"url": worker.url("/"), "tries": 2, "backoff": quick}),
        );
        let record = spool.wait_record(&format!("{state}/{id}"));
        assert_eq!(record["attempt"], tries, "{status}: {record}");
        assert_eq!(worker.sent().len(), tries, "{status}");
        let code: u16 = status[..3].parse().unwrap();
        assert_eq!(record["status_code"], code);
        if state == "failed" {
            assert_eq!(record["error"], format!("answered {status}"));
            assert_eq!(record["attempts"][0]["error"], record["error"]);
        }
    }
}

#[test]
fn a_server_that_is_down_is_called_again() {
    let spool = Spool::serving(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    spool.drop_json(
        "up",
        &json!({"url": format!("http://{address}/"), "tries": 1000, "backoff": {"first": "50ms", "factor": 1}}),
    );
    spool.wait_for("a try that failed", || {
        spool.daemon_log().contains("try 1 of 1000 ended")
    });
    let worker = Worker::at(TcpListener::bind(address).unwrap(), &[b""; 0]);
    let record = spool.wait_record("complete/up");
    assert!(record["attempt"].as_u64().unwrap() > 1);
    let first = record["attempts"][0]["error"].as_str().unwrap();
    assert!(first.contains("refused"), "{first}");
    assert_eq!(worker.sent().len(), 1);
}

/// In seconds, or as a date in any of its three forms; by the server's clock, if that says what it is.
#[test]
fn a_server_says_when_to_come_back() {
    let spool = Spool::serving(&["--slots", "8"]);
    let form = |format: &str, seconds: i64| {
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        at.strftime(format).to_string()
    };
    let fixdate = "%a, %d %b %Y %H:%M:%S GMT";
    let after = |text: String| vec![format!("Retry-After: {text}")];
    let ways = [
        (after("3600".to_owned()), true),
        (after(form(fixdate, 3600)), true),
        (after(form("%A, %d-%b-%y %H:%M:%S GMT", 3600)), true),
        (after(form("%a %b %e %H:%M:%S %Y", 3600)), true),
        (
            [
                after(form(fixdate, -3600)),
                vec![format!("Date: {}", form(fixdate, -7200))],
            ]
            .concat(),
            true,
        ),
        (after(form(fixdate, -3600)), false),
        (after("soon".to_owned()), false),
    ];
    for (n, (lines, _)) in ways.iter().enumerate() {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let worker = Worker::with(&[answer("503 Busy", &lines, "")]);
        spool.drop_json(
            &format!("later{n}"),
            &json!({"url": worker.url("/"), "backoff": {"first": 0, "max": "5s"}}),
        );
    }
    for (n, (lines, waits)) in ways.iter().enumerate() {
        let record = spool.wait_record(&format!("complete/later{n}"));
        let at = |n: usize, key: &str| {
            let text = record["attempts"][n][key].as_str().unwrap().to_owned();
            text.parse::<jiff::Timestamp>().unwrap()
        };
        let waited = at(1, "started_at").duration_since(at(0, "finished_at"));
        assert_eq!(
            waited.as_millis() >= 4500,
            *waits,
            "{lines:?}: {waited:?}, at most the longest backoff"
        );
    }
}

#[test]
fn timeouts_and_cancels_hold() {
    let spool = Spool::serving(&["--slots", "2"]);
    let worker = Worker::with(&["hang", "hang"]);
    spool.drop_json(
        "slow",
        &json!({"url": worker.url("/"), "tries": 1, "timeout": "3s"}),
    );
    assert_eq!(spool.wait_record("failed/slow")["reason"], "timeout");
    spool.drop_json("stop", &json!({"url": worker.url("/")}));
    worker.wait(2);
    assert_eq!(spool.pirn(&["cancel", "stop"]).code, 0);
    spool.wait_for("its end", || {
        spool.record("failed/stop")["reason"] == "cancelled"
    });
}

#[test]
fn calls_go_where_the_operator_allows() {
    let spool = Spool::serving(&[]);
    let worker = Worker::with::<&[u8]>(&[]);
    let config = |allow: serde_json::Value| {
        let text = json!({"http": {"url_allow": allow}}).to_string();
        let known = spool.daemon_log().matches("config: read").count();
        std::fs::write(spool.path().join("config.json"), text).unwrap();
        spool.wait_for("the config", || {
            spool.daemon_log().matches("config: read").count() > known
        });
    };
    let outcome = |id: &str, url: &str| {
        spool.drop_json(id, &json!({"url": url, "tries": 1}));
        spool.pirn(&["wait", id, "--timeout", "20s"]);
        let state = ["complete", "failed"]
            .into_iter()
            .find(|dir| spool.has(&format!("{dir}/{id}")));
        let record = spool.record(&format!("{}/{id}", state.unwrap()));
        (
            state.unwrap().to_owned(),
            record["error"].as_str().unwrap_or_default().to_owned(),
            record["exit_code"].as_i64(),
        )
    };
    // By default this machine, by whatever name.
    let local = format!("http://localhost:{}/", worker.port);
    assert_eq!(outcome("a", &local).0, "complete");
    let (state, error, code) = outcome("b", "http://192.0.2.1/");
    assert_eq!((state.as_str(), code), ("failed", Some(100)));
    assert!(
        error.contains("192.0.2.1") && error.contains("url_allow"),
        "{error}"
    );
    // A name stands for public addresses: this one does not lead to any.
    config(json!(["localhost", "*"]));
    for (id, url) in [("c", &local), ("d", &worker.url("/"))] {
        let (state, error, code) = outcome(id, url);
        assert_eq!((state.as_str(), code), ("failed", Some(100)), "{error}");
    }
    config(json!([format!("127.0.0.1:{}", worker.port)]));
    assert_eq!(outcome("e", &local).0, "complete");
    assert_eq!(outcome("f", "http://127.0.0.1:1/").2, Some(100));
    assert_eq!(worker.sent().len(), 2);
}

#[test]
fn redirects_are_checked_like_the_first_call() {
    let spool = Spool::serving(&[]);
    let to = |status: &str, place: &str| answer(status, &[&format!("Location: {place}")], "");
    let target = Worker::with::<&[u8]>(&[]);
    let worker = Worker::with(&[
        to("307 Temporary Redirect", "next?a=1"),
        to("302 Found", &target.url("/other")),
        to("302 Found", "http://169.254.169.254/latest/meta-data/"),
        to("302 Found", &format!("http://localhost:{}/x", target.port)),
    ]);
    let job = json!({
        "url": worker.url("/a/b"), "payload": [1], "tries": 1,
        "headers": {"Authorization": "Bearer x"},
    });
    spool.drop_json("follow", &job);
    spool.wait_record("complete/follow");
    let sent = worker.wait(2);
    assert_eq!(sent[1].line, "POST /a/next?a=1 HTTP/1.1");
    assert_eq!(
        (sent[1].body.as_str(), sent[1].one("authorization")),
        ("[1]", "Bearer x")
    );
    assert_eq!(sent[1].one("referer"), worker.url("/a/b"));
    let last = target.wait(1).remove(0);
    assert_eq!(
        (last.line.as_str(), last.body.as_str()),
        ("GET /other HTTP/1.1", "")
    );
    assert_eq!(last.all("content-type"), [""; 0]);
    spool.drop_json("escape", &job);
    let record = spool.wait_record("failed/escape");
    let error = record["error"].as_str().unwrap();
    assert!(error.contains("169.254.169.254"), "{error}");
    // What is meant for one host is not told to another.
    spool.drop_json("abroad", &job);
    spool.wait_record("complete/abroad");
    let abroad = target.wait(2).remove(1);
    assert_eq!(abroad.all("authorization"), [""; 0]);
}

#[test]
fn redirects_have_an_end() {
    let spool = Spool::serving(&[]);
    let again = answer("307 Temporary Redirect", &["Location: /"], "");
    let worker = Worker::with(&vec![again; 20]);
    spool.drop_json("round", &json!({"url": worker.url("/"), "tries": 1}));
    let record = spool.wait_record("failed/round");
    let error = record["error"].as_str().unwrap();
    assert!(error.ends_with("stopped after 10 redirects"), "{error}");
    assert_eq!(worker.sent().len(), 11);
}

#[test]
fn compressed_answers_are_read() {
    let spool = Spool::serving(&[]);
    // printf 'squeezed' | gzip -n
    let body = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x2b\x2e\x2c\x4d\x4d\xad\x4a\x4d\x01\x00\xde\x26\x14\x00\x08\x00\x00\x00";
    let mut reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    reply.extend_from_slice(body);
    let worker = Worker::with(&[reply]);
    spool.drop_json("zip", &json!({"url": worker.url("/"), "tries": 1}));
    assert_eq!(spool.wait_record("complete/zip")["output"], "squeezed");
}

#[test]
fn secrets_are_not_for_other_processes() {
    let (spool, port) = Spool::with_http("{}", &[]);
    let worker = Worker::with(&["hang"]);
    let job = json!({
        "url": worker.url("/"), "headers": {"Authorization": "Bearer hush1"}, "payload": "hush2",
    });
    let reply = post(port, "/v1/jobs", &job.to_string());
    assert_eq!(
        reply.status, 201,
        "calls are bounded by the operator's list"
    );
    assert!(!reply.text().contains("hush1"), "{}", reply.text());
    worker.wait(1);
    let shown = ask(port, "GET", "/v1/jobs/1", &[], "");
    assert!(shown.text().contains("hush2") && !shown.text().contains("hush1"));
    spool.wait_for("the note", || spool.record("active/1")["pid"].is_number());
    let pid = spool.record("active/1")["pid"].to_string();
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(
            text.to_lowercase().contains("pirn") && !text.contains("hush"),
            "{file}: {text}"
        );
    }
}

#[test]
fn a_call_gives_nobody_more_rights() {
    let config = r#"{"http": {"anonymous": ["read", "run", "admin"]}}"#;
    let (spool, port) = Spool::with_http(config, &[]);
    let token = spool.pirn(&["token", "new", "far", "push"]).stdout;
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let push = |body: serde_json::Value| {
        ask(
            port,
            "POST",
            "/v1/jobs?wait=20s",
            &[&bearer],
            &body.to_string(),
        )
    };
    let own = format!("http://127.0.0.1:{port}/v1/jobs");
    let refused = push(json!({"url": own, "payload": {"command": "true"}, "tries": 1}));
    assert_eq!(refused.json()["status_code"], 401, "{}", refused.text());
    for fields in [
        json!({"url": own, "sign": true}),
        json!({"url": own, "on_finish": "true"}),
        json!({"url": own, "env": {"A": "b"}}),
    ] {
        assert_eq!(push(fields.clone()).status, 403, "{fields}");
    }
}

#[test]
fn mistakes_in_a_call_are_named() {
    let spool = Spool::serving(&[]);
    for (n, (record, word)) in [
        (json!({"url": ""}), "url"),
        (json!({"url": 1}), "url"),
        (json!({"url": "http://x/", "command": "a"}), "more than one"),
        (json!({"url": "http://x/", "args": []}), "args"),
        (json!({"url": "http://x/", "stdin": "a"}), "stdin"),
        (
            json!({"url": "http://x/", "headers": {"a": 1}}),
            "headers.a",
        ),
        (json!({"url": "http://x/", "dialect": "qmd"}), "dialect"),
        (json!({"command": "true", "payload": 1}), "payload"),
    ]
    .into_iter()
    .enumerate()
    {
        spool.drop_json(&format!("bad{n}"), &record);
        let reason = spool.wait_bad(&format!("bad{n}"));
        assert!(reason.contains(word), "{record}: {reason}");
    }
    for (n, (job, word)) in [
        (
            json!({"url": "not a url"}),
            "unsupported protocol scheme \"\"",
        ),
        (
            json!({"url": "ftp://127.0.0.1/"}),
            "unsupported protocol scheme \"ftp\"",
        ),
        (
            json!({"url": "http://127.0.0.1/", "headers": {"a b": "c"}}),
            "header",
        ),
        (
            json!({"url": "http://127.0.0.1/", "headers": {"a": "b\nc"}}),
            "header",
        ),
        (json!({"url": "http:///x"}), "http:///x"),
    ]
    .into_iter()
    .enumerate()
    {
        spool.drop_json(&format!("fail{n}"), &job);
        let record = spool.wait_record(&format!("failed/fail{n}"));
        let error = record["error"].as_str().unwrap();
        assert!(error.contains(word), "{job}: {error}");
        assert_eq!(
            record["attempt"], 1,
            "{job}: another try would meet the same"
        );
    }
}
