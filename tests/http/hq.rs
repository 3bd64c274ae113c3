//! hq's API, as its clients see it.

use crate::client::{Conn, Reply, ask, get};
use crate::spool::Spool;
use crate::worker::{Worker, answer};
use serde_json::{Value, json};
use std::process::Command;

const JSON: &str = "Content-Type: application/json";

fn push(port: u16, job: &Value) -> Value {
    let reply = ask(port, "POST", "/job", &[JSON], &job.to_string());
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn act(port: u16, method: &str, target: &str) -> (u16, Value) {
    let reply = ask(port, method, target, &[JSON], "");
    let body = reply.json();
    if reply.status != 200 {
        assert_eq!(body["status"], reply.status);
    }
    (reply.status, body)
}

fn job(port: u16, id: &str) -> Value {
    get(port, &format!("/job/{id}")).json()
}

fn wait_status(spool: &Spool, port: u16, id: &str, status: &str) -> Value {
    spool.wait_for(status, || job(port, id)["status"] == status);
    job(port, id)
}

#[test]
fn a_job_from_push_to_success() {
    let (spool, port) = Spool::with_http("{}", &[]);
    let worker = Worker::with(&[answer("200 OK", &[], "done <b>\n")]);
    let text = format!(
        r#"{{"name": "n", "comment": "c", "URL": "{}", "timeout": 60, "unknown": 1,
            "headers": {{"X-Custom": "v", "Content-Type": "text/x", "User-Agent": "me", "X-Token": "hush"}},
            "payload":  {{ "b" : 1.0, "a":[ ] }} }} and what follows"#,
        worker.url("/hook")
    );
    let pushed = ask(port, "POST", "/job", &[JSON], &text);
    assert_eq!(
        (pushed.status, pushed.header("content-type")),
        (200, "application/json; charset=UTF-8")
    );
    assert!(
        pushed.text().ends_with("}\n") && pushed.text().contains(r#""payload":{"b":1.0,"a":[]}"#)
    );
    let shown = pushed.json();
    let made = shown["createdAt"].as_str().unwrap().to_owned();
    assert_eq!(
        shown,
        json!({
            "canceled": false, "comment": "c", "createdAt": made, "err": "", "failure": false, "finishedAt": null,
            "headers": {"X-Custom": "v", "Content-Type": "text/x", "User-Agent": "me", "X-Token": "***"},
            "id": "1", "name": "n", "output": "", "payload": {"b": 1.0, "a": []}, "running": false,
            "startedAt": null, "status": "unfinished", "statusCode": null, "success": false, "timeout": 60,
            "url": worker.url("/hook"), "waiting": false,
        })
    );
    let sent = worker.wait(1).remove(0);
    assert_eq!(sent.body, r#"{ "b" : 1.0, "a":[ ] }"#);
    assert_eq!(sent.all("content-type"), ["application/json", "text/x"]);
    assert_eq!(
        (sent.one("user-agent"), sent.one("x-hq-job-id")),
        ("HQ/1.1.0", "1")
    );
    assert_eq!((sent.one("x-custom"), sent.one("x-token")), ("v", "hush"));
    let done = wait_status(&spool, port, "1", "success");
    assert_eq!(
        (&done["success"], &done["statusCode"]),
        (&json!(true), &json!(200))
    );
    assert_eq!(
        (&done["output"], &done["createdAt"]),
        (&json!("done <b>\n"), &json!(made))
    );
    for key in ["startedAt", "finishedAt"] {
        let text = done[key].as_str().unwrap();
        assert!(
            text.parse::<jiff::Timestamp>().is_ok() && !text.ends_with("0Z"),
            "{text}"
        );
    }
    assert_eq!(
        get(port, "/job/001").json(),
        done,
        "a number, however it is written"
    );
}

#[test]
fn two_hundred_alone_is_success() {
    let (spool, port) = Spool::with_http("{}", &[]);
    for (n, (status, err)) in [
        ("201 Yes", "Created"),
        ("204 No", "No Content"),
        ("500 Oh", "Internal Server Error"),
        ("599 What", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let worker = Worker::with(&[answer(status, &[], "")]);
        let id = (n + 1).to_string();
        push(port, &json!({"url": worker.url("/")}));
        let done = wait_status(&spool, port, &id, "failure");
        let code: u16 = status[..3].parse().unwrap();
        assert_eq!(
            (&done["err"], &done["statusCode"]),
            (&json!(err), &json!(code))
        );
        assert_eq!(
            (&done["failure"], &done["name"]),
            (&json!(true), &json!("default"))
        );
        assert_eq!(worker.sent().len(), 1, "nothing is tried again");
    }
    let hang = Worker::with(&["hang"]);
    for (id, job, cause) in [
        (
            "5",
            json!({"url": "not a url"}),
            "unsupported protocol scheme \"\"",
        ),
        ("6", json!({"url": "http://192.0.2.1/"}), "not allowed"),
        (
            "7",
            json!({"url": hang.url("/"), "timeout": 1}),
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        ),
    ] {
        push(port, &job);
        let done = wait_status(&spool, port, id, "failure");
        let err = done["err"].as_str().unwrap();
        let head = format!("failed to do http request: Post {}: ", job["url"]);
        assert!(err.starts_with(&head) && err.contains(cause), "{err}");
        assert_eq!(done["statusCode"], Value::Null);
    }
}

#[test]
fn long_answers_are_shown_whole_in_the_job() {
    let (spool, port) = Spool::with_http("{}", &[]);
    let text = "0123456789".repeat(2000);
    let again = answer("200 OK", &[], "second");
    let worker = Worker::with(&[answer("200 OK", &[], &text), again]);
    push(port, &json!({"url": worker.url("/")}));
    let done = wait_status(&spool, port, "1", "success");
    assert_eq!(done["output"], text);
    assert_eq!(act(port, "POST", "/job/1/restart").0, 200);
    worker.wait(2);
    let done = wait_status(&spool, port, "1", "success");
    assert_eq!(done["output"], "second", "of the last run only");
}

#[test]
fn bodies_are_read_as_hq_reads_them() {
    let (_spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let error = |lines: &[&str], body: &str| {
        let reply = ask(port, "POST", "/job", lines, body);
        (
            reply.status,
            reply.json()["error"].as_str().unwrap().to_owned(),
        )
    };
    for (lines, body, status, text) in [
        (&[JSON][..], "{}", 422, "'url' is required"),
        (&[JSON], "", 422, "'url' is required"),
        (&[], "", 422, "'url' is required"),
        (&[JSON], "{\"url\":\"\"}", 422, "'url' is required"),
        (
            &[JSON],
            "{\"url\":1}",
            400,
            "Unmarshal type error: expected=string, got=number, field=url, offset=8",
        ),
        (
            &[JSON],
            "{\"url\":{}}",
            400,
            "Unmarshal type error: expected=string, got=object, field=url, offset=8",
        ),
        (
            &[JSON],
            "{\"url\":\"x\",\"timeout\":\"5\"}",
            400,
            "Unmarshal type error: expected=int64, got=string, field=timeout, offset=24",
        ),
        (
            &[JSON],
            "{\"url\":\"x\",\"timeout\":1.5}",
            400,
            "Unmarshal type error: expected=int64, got=number 1.5, field=timeout, offset=24",
        ),
        (&[JSON], "{\"url\":", 400, "unexpected EOF"),
        (
            &[JSON],
            "{x",
            400,
            "Syntax error: offset=2, error=invalid character 'x'",
        ),
        (
            &["Content-Type: text/plain"],
            "{}",
            415,
            "Unsupported Media Type",
        ),
        (
            &["Content-Type: application/xml"],
            "<a/>",
            415,
            "Unsupported Media Type",
        ),
        (&[], "x", 415, "Unsupported Media Type"),
        (&[form], "{\"url\":\"http://x/\"}", 422, "'url' is required"),
        (
            &[form],
            "url=http://x/&comment=100%",
            400,
            "the form is not UTF-8 in %xx",
        ),
        (&[JSON], "{\"url\":\" \"}", 422, "'url' is required"),
        (
            &[JSON],
            r#"{"url":"\ud800"}"#,
            400,
            r"Syntax error: offset=15, error=invalid \u in string",
        ),
        (
            &[form],
            "url=a&timeout=99999999999999999999",
            400,
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        ),
        (
            &[form],
            "url=a&timeout=x",
            400,
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
    ] {
        assert_eq!(error(lines, body), (status, text.to_owned()), "{body}");
    }
    let deep = format!(
        "{{\"url\":\"http://x/\",\"payload\":{}{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let (status, text) = error(&[JSON], &deep);
    assert_eq!(
        (status, text.as_str()),
        (400, "payload: nested deeper than 100 levels")
    );
    let pushed = |lines: &[&str], target: &str, body: &str| {
        let reply = ask(port, "POST", target, lines, body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    };
    let one = pushed(
        &[form],
        "/job",
        "url=http%3A%2F%2Fx%2F&name=a+b&timeout=7&comment=c",
    );
    assert_eq!(
        (&one["url"], &one["name"]),
        (&json!("http://x/"), &json!("a b"))
    );
    assert_eq!(
        (&one["timeout"], &one["payload"]),
        (&json!(7), &Value::Null)
    );
    let both = pushed(&[form], "/job?url=http://y/&name=q", "url=http://x/");
    assert_eq!(
        (&both["url"], &both["name"]),
        (&json!("http://x/"), &json!("q"))
    );
    let whole = "payload=%7B%22url%22%3A%22http%3A%2F%2Fx%2F%22%2C%22payload%22%3A7%7D";
    for (target, body) in [("/job", whole), (&format!("/job?{whole}")[..], "")] {
        assert_eq!(pushed(&[form], target, body)["payload"], 7, "{target}");
    }
    let parts = "--B\r\nContent-Disposition: form-data; name=\"url\"\r\n\r\nhttp://x/\r\n\
                 --B\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nn\r\n--B--\r\n";
    let kind = "Content-Type: multipart/form-data; boundary=B";
    assert_eq!(pushed(&[kind], "/job", parts)["name"], "n");
    assert_eq!(
        pushed(
            &[JSON],
            "/job",
            "{\"url\":\"x\",\"timeout\":-3,\"headers\":null}"
        )["timeout"],
        0
    );
}

/// What is refused before hq is asked is said as hq says it; the others' clients have their forms too.
#[test]
fn refusals_before_the_dialect_is_asked() {
    let (_spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    let refused = |method: &str, path: &str, line: &str| {
        let mut conn = Conn::to(port);
        conn.write(format!("{method} {path} HTTP/1.1\r\n{line}\r\n\r\n"));
        let reply = conn.reply();
        let kind = reply.header("content-type").to_owned();
        (reply.status, kind, reply.text())
    };
    let large = "Host: 127.0.0.1\r\nContent-Length: 99999999";
    let foreign = "Host: example.org";
    let text = "text/plain; charset=utf-8";
    let json = "application/json; charset=UTF-8";
    let too_large = "the body is too large";
    for (path, kind, wanted) in [
        (
            "/job",
            json,
            format!("{{\"status\":413,\"error\":\"{too_large}\"}}\n"),
        ),
        ("/scripts/s.sh", text, too_large.to_owned()),
    ] {
        assert_eq!(refused("POST", path, large), (413, kind.to_owned(), wanted));
    }
    let (status, kind, body) = refused("GET", "/job/7", foreign);
    assert_eq!((status, kind.as_str()), (421, json));
    assert!(
        body.starts_with("{\"status\":421,\"error\":\"this server is not"),
        "{body}"
    );
    let own = refused("POST", "/v1/jobs", large);
    assert_eq!((own.0, own.1.as_str()), (413, "application/problem+json"));
    let (_spool, port) = Spool::with_http(r#"{"http": {"dialects": []}}"#, &[]);
    let mut conn = Conn::to(port);
    conn.write(format!("POST /job HTTP/1.1\r\n{large}\r\n\r\n"));
    assert_eq!(
        conn.reply().header("content-type"),
        "application/problem+json"
    );
}

/// Of a key that is given twice, in whatever case, the last one holds; `null` takes nothing back.
#[test]
fn the_last_of_two_keys() {
    let (_spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    let body = r#"{"url": "http://a/", "Url": "http://b/", "url": null, "NAME": "n", "name": "m"}"#;
    let shown = ask(port, "POST", "/job", &[JSON], body).json();
    assert_eq!(
        (&shown["url"], &shown["name"]),
        (&json!("http://b/"), &json!("m"))
    );
}

/// A payload is delivered to the last byte or not at all; of what is only shown, bytes may be replaced.
#[test]
fn a_payload_that_is_no_text() {
    let (spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    let send = |field: &str| {
        let before = format!("{{\"url\": \"http://x/\", \"{field}\": \"a");
        let body = [before.as_bytes(), b"\xff\"}"].concat();
        let mut conn = Conn::to(port);
        conn.write(format!(
            "POST /job HTTP/1.1\r\nHost: 127.0.0.1\r\n{JSON}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        conn.write(&body);
        conn.reply()
    };
    let refused = send("payload");
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (
            400,
            "{\"status\":400,\"error\":\"'payload' is not UTF-8 and could not be delivered as it is\"}\n"
        )
    );
    assert_eq!(spool.ls("pending"), Vec::<String>::new());
    assert_eq!(send("comment").json()["comment"], "a\u{fffd}");
}

/// White space is a courtesy: a payload of a megabyte must not become an answer of a hundred.
#[test]
fn pretty_has_its_limits() {
    let (_spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    let ones = vec!["1"; 450_000].join(",");
    let payload = format!("{}{ones}{}", "[".repeat(90), "]".repeat(90));
    let body = format!("{{\"url\": \"http://x/\", \"payload\": {payload}}}");
    assert_eq!(ask(port, "POST", "/job", &[JSON], &body).status, 200);
    let shown = get(port, "/job/1?pretty");
    assert!(shown.text().starts_with("{\n  \"canceled\": false,\n"));
    assert!(shown.body.len() < 12 << 20, "{}", shown.body.len());
    assert_eq!(shown.json(), get(port, "/job/1").json());
}

#[test]
fn waiting_running_and_cancelled() {
    let (spool, port) = Spool::with_http("{}", &["--slots", "1"]);
    let worker = Worker::with(&["hang"]);
    push(port, &json!({"url": worker.url("/")}));
    push(port, &json!({"url": worker.url("/")}));
    worker.wait(1);
    let running = wait_status(&spool, port, "1", "running");
    assert_eq!(
        (&running["running"], &running["waiting"]),
        (&json!(true), &json!(false))
    );
    let waiting = wait_status(&spool, port, "2", "waiting");
    assert_eq!(
        (&waiting["waiting"], &waiting["startedAt"]),
        (&json!(true), &Value::Null)
    );
    for (method, target, text) in [
        ("DELETE", "/job/1", "The job 1 is running now"),
        ("POST", "/job/1/restart", "The job 1 is running now"),
        ("DELETE", "/job/2", "The job 2 is waiting now"),
        ("POST", "/job/2/restart", "The job 2 is waiting now"),
        ("POST", "/job/9/stop", "Job '9' is not found"),
        ("DELETE", "/job/9", "Job '9' is not found"),
        ("GET", "/job/abc", "The job id  must be a number but 'abc'."),
        ("GET", "/job/-1", "The job id  must be a number but '-1'."),
        (
            "GET",
            "/job/18446744073709551616",
            "The job id  must be a number but '18446744073709551616'.",
        ),
    ] {
        let (status, body) = act(port, method, target);
        assert_eq!(
            (status, &body["error"]),
            (422, &json!(text)),
            "{method} {target}"
        );
    }
    for id in ["2", "1"] {
        let done = act(port, "POST", &format!("/job/{id}/stop"));
        assert_eq!(done, (200, json!({"id": id})));
        let ended = wait_status(&spool, port, id, "canceled");
        assert_eq!(
            (
                &ended["canceled"],
                &ended["failure"],
                &ended["success"],
                &ended["running"]
            ),
            (&json!(true), &json!(false), &json!(false), &json!(false))
        );
        assert!(ended["finishedAt"].is_string());
    }
    let (status, body) = act(port, "POST", "/job/1/stop");
    assert_eq!(
        (status, &body["error"]),
        (422, &json!("The job 1 is not active"))
    );
    assert_eq!(worker.sent().len(), 1, "what waited was never called");
    assert_eq!(act(port, "DELETE", "/job/2"), (200, json!({"id": "2"})));
    assert_eq!(act(port, "GET", "/job/2").0, 422);
}

/// While the process of a cancelled job is being ended.
#[test]
fn a_running_job_that_is_being_cancelled() {
    let (_spool, port) = Spool::with_http("{}", &[]);
    let worker = Worker::with(&["hang"; 20]);
    let seen = (1..=20).any(|n| {
        let id = n.to_string();
        push(port, &json!({"url": worker.url("/")}));
        worker.wait(n);
        act(port, "POST", &format!("/job/{id}/stop"));
        let (_, list) = act(port, "GET", "/job?status=canceling");
        let (_, job) = act(port, "GET", &format!("/job/{id}"));
        assert_eq!(job["canceled"], true, "{job}");
        // The list was made first.
        let listed = list["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|job| job["id"] == id);
        listed.is_some_and(|job| {
            assert_eq!(
                (
                    &job["status"],
                    &job["running"],
                    &job["canceled"],
                    &job["finishedAt"]
                ),
                (
                    &json!("canceling"),
                    &json!(true),
                    &json!(true),
                    &Value::Null
                )
            );
            true
        })
    });
    assert!(seen, "no list showed any of 20 jobs while it was cancelled");
}

/// An object without keys is not the same as none.
#[test]
fn headers_are_shown_as_they_were_given() {
    let (spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    for (id, given, shown) in [
        ("1", json!({"url": "http://x/", "headers": {}}), json!({})),
        (
            "2",
            json!({"url": "http://x/", "headers": null}),
            Value::Null,
        ),
        ("3", json!({"url": "http://x/"}), Value::Null),
        (
            "4",
            json!({"url": "http://x/", "headers": {"A": "b"}}),
            json!({"A": "b"}),
        ),
    ] {
        assert_eq!(push(port, &given)["headers"], shown, "{given}");
        assert_eq!(
            act(port, "GET", &format!("/job/{id}")).1["headers"],
            shown,
            "{given}"
        );
    }
    let (_, list) = act(port, "GET", "/job?limit=1");
    assert_eq!(list["jobs"][0]["headers"], json!({}));
    assert_eq!(spool.record("pending/1")["headers"], json!({}));
}

#[test]
fn restarts_in_place_and_as_a_copy() {
    let (spool, port) = Spool::with_http("{}", &[]);
    let worker = Worker::with(&[answer("500 No", &[], "first")]);
    let first = push(
        port,
        &json!({"url": worker.url("/"), "name": "n", "payload": [1]}),
    );
    wait_status(&spool, port, "1", "failure");
    let (_, again) = act(port, "POST", "/job/1/restart");
    assert_eq!(again, first, "the answer shows the job as new");
    let done = wait_status(&spool, port, "1", "success");
    assert_eq!(
        (&done["createdAt"], &done["err"]),
        (&first["createdAt"], &json!(""))
    );
    let copied = ask(port, "POST", "/job/1/restart", &[JSON], "{\"copy\":true}").json();
    assert_eq!(
        (&copied["id"], &copied["status"]),
        (&json!("2"), &json!("unfinished"))
    );
    assert_eq!(
        (&copied["name"], &copied["payload"]),
        (&json!("n"), &json!([1]))
    );
    wait_status(&spool, port, "2", "success");
    assert_eq!(job(port, "1"), done, "the original is as it was");
    let bodies: Vec<String> = worker.wait(3).into_iter().map(|sent| sent.body).collect();
    assert_eq!(bodies, ["[1]"; 3]);
    let bad = ask(port, "POST", "/job/1/restart", &[JSON], "{\"copy\":1}");
    assert_eq!(
        (bad.status, bad.text().contains("expected=bool")),
        (400, true)
    );
}

#[test]
fn lists() {
    let (spool, port) = Spool::with_http(
        r#"{"http": {"anonymous": ["read", "run"]}}"#,
        &["--slots", "0"],
    );
    assert_eq!(
        get(port, "/job").text(),
        "{\"jobs\":[],\"hasNext\":false,\"count\":0}\n"
    );
    assert_eq!(get(port, "/job?name=(").status, 200, "nothing to try it on");
    for (n, name) in ["alpha", "beta", "", "gamma"].into_iter().enumerate() {
        push(
            port,
            &json!({"url": format!("http://x/{n}"), "name": name, "comment": format!("c{n}")}),
        );
    }
    // Neither of these is hq's.
    assert_eq!(ask(port, "POST", "/v1/jobs", &[], "true").json()["id"], "5");
    spool.drop_json("named", &json!({"url": "http://x/"}));
    push(port, &json!({"url": "http://y/", "name": "delta"}));
    let ids = |query: &str| {
        let list = get(port, &format!("/job{query}")).json();
        let ids: Vec<String> = list["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(list["count"], ids.len());
        assert_eq!(list["hasNext"], list.get("next").is_some());
        let next = list.get("next").map_or("", |next| next.as_str().unwrap());
        (ids.join(" "), next.to_owned())
    };
    for (query, wanted, next) in [
        ("", "1 2 3 4 6", ""),
        ("?reverse=true", "6 4 3 2 1", ""),
        ("?limit=2", "1 2", "3"),
        ("?limit=2&begin=3", "3 4", "6"),
        ("?limit=2&begin=5", "6", ""),
        ("?reverse=1&begin=5", "4 3 2 1", ""),
        ("?limit=1&begin=4&reverse=T", "4", "3"),
        ("?limit=0", "1 2 3 4 6", ""),
        ("?limit=-1", "1 2 3 4 6", ""),
        ("?name=^.eta$", "2", ""),
        ("?name=default", "3", ""),
        ("?name=a&limit=1", "1", "2"),
        ("?name=alpha&limit=1", "1", "2"),
        ("?term=c3", "4", ""),
        ("?term=y/", "6", ""),
        ("?term=waiting", "1 2 3 4 6", ""),
        ("?status=waiting", "1 2 3 4 6", ""),
        ("?status=nonsense", "", ""),
        ("?term=c&status=waiting&name=a", "1 2 3 4", ""),
        ("?limit=&reverse=&begin=", "1 2 3 4 6", ""),
        ("?payload=%7B%22limit%22:1%7D", "1", "2"),
    ] {
        assert_eq!(ids(query), (wanted.to_owned(), next.to_owned()), "{query}");
    }
    for (query, status, text) in [
        (
            "?begin=x",
            400,
            "strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (
            "?begin=-1",
            400,
            "strconv.ParseUint: parsing \"-1\": invalid syntax",
        ),
        (
            "?limit=x",
            400,
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "?reverse=x",
            400,
            "strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        ("?name=(", 500, "error parsing regexp"),
    ] {
        let (code, body) = act(port, "GET", &format!("/job{query}"));
        assert!(
            code == status && body["error"].as_str().unwrap().contains(text),
            "{body}"
        );
    }
    // Time is bounded whatever the pattern is.
    assert_eq!(
        get(port, &format!("/job?term={}", "(a*)*".repeat(50))).status,
        200
    );
}

#[test]
fn everything_else() {
    let (spool, port) = Spool::with_http("{\"slots\": 0}", &[]);
    for method in ["GET", "POST", "PUT", "DELETE"] {
        let (status, info) = act(port, method, "/");
        assert_eq!(
            (status, &info["version"]),
            (200, &json!("1.1.0")),
            "{method}"
        );
        assert!(info["commitHash"].is_string());
    }
    push(port, &json!({"url": "http://x/"}));
    let (_, stats) = act(port, "GET", "/stats");
    for (key, value) in [
        ("queues", 9_007_199_254_740_991_i64),
        ("dispatchers", 0),
        ("maxWorkers", 0),
        ("queueUsage", 1),
        ("numWaitingJobs", 1),
        ("numRunningJobs", 0),
        ("numWorkers", 0),
        ("numJobs", 1),
        ("numJobsInQueue", 1),
        ("numJobsWaiting", 1),
        ("numJobsRunning", 0),
        ("numStoredJobs", 1),
        ("numJobsInLastMinute", 1),
    ] {
        assert_eq!(stats[key], value, "{key}");
    }
    let (_, both) = act(port, "GET", "/ui/internal/dashboard?term=&reverse=true");
    assert_eq!(
        (&both["stats"], &both["jobList"]["count"]),
        (&stats, &json!(1))
    );
    assert_eq!(
        act(port, "GET", "/ui/internal/job/1"),
        act(port, "GET", "/job/1")
    );
    assert_eq!(act(port, "GET", "/ui/internal/stats").1, stats);
    let pretty = get(port, "/job/9?pretty").text();
    assert_eq!(
        pretty,
        "{\n  \"status\": 422,\n  \"error\": \"Job '9' is not found\"\n}\n"
    );
    let pretty = get(port, "/job?pretty=x&reverse=t").text();
    assert!(pretty.starts_with("{\n  \"jobs\": [\n    {\n      \"canceled\": false,\n"));
    assert!(pretty.ends_with("    }\n  ],\n  \"hasNext\": false,\n  \"count\": 1\n}\n"));
    let version = env!("CARGO_PKG_VERSION");
    for path in ["/", "/ui/internal", "/ui/internal/"] {
        assert_eq!(
            get(port, path).text(),
            format!("{{\"version\":\"1.1.0\",\"commitHash\":\"pirn {version}\"}}\n"),
            "{path}"
        );
    }
    for (method, target, status, text) in [
        ("PUT", "/job", 405, "Method Not Allowed"),
        ("POST", "/stats", 405, "Method Not Allowed"),
        ("GET", "/job/1/stop", 405, "Method Not Allowed"),
        ("GET", "/job/1/x", 404, "Not Found"),
        ("GET", "/ui/internal/x", 404, "Not Found"),
    ] {
        let (code, body) = act(port, method, target);
        assert_eq!(
            (code, body["error"].as_str()),
            (status, Some(text)),
            "{method} {target}"
        );
    }
    let moved = get(port, "/job/1/?a=b");
    assert_eq!(
        (moved.status, moved.header("location")),
        (302, "/job/1?a=b")
    );
    for path in ["/jobz", "//evil.example/", "//job/"] {
        let reply = get(port, path);
        assert_eq!(
            (reply.status, reply.header("location")),
            (404, ""),
            "{path}"
        );
    }
    drop(spool);
    let config = r#"{"http": {"dialects": ["qmd"]}}"#;
    let (_spool, port) = Spool::with_http(config, &[]);
    assert_eq!(get(port, "/job").status, 404);
    let (_spool, port) = Spool::with_http(r#"{"max_pending": 7}"#, &[]);
    assert_eq!(act(port, "GET", "/stats").1["queues"], 7);
}

#[test]
fn rights_hold_here_too() {
    let (spool, port) = Spool::with_http(r#"{"http": {"anonymous": ["read"]}}"#, &["--slots", "0"]);
    let body = "{\"url\":\"http://x/\"}";
    let refused = ask(port, "POST", "/job", &[JSON], body);
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, "Bearer")
    );
    assert_eq!(refused.json()["error"], "This needs the right 'push'");
    let token = spool.pirn(&["token", "new", "p", "push"]).stdout;
    let bearer = format!("Authorization: Bearer {}", token.trim());
    assert_eq!(
        ask(port, "POST", "/job", &[JSON, &bearer], body).status,
        200
    );
    assert_eq!(ask(port, "GET", "/job", &[&bearer], "").status, 403);
    assert_eq!(
        ask(
            port,
            "POST",
            "/job",
            &[JSON, &bearer, "Origin: http://evil"],
            body
        )
        .status,
        403
    );
    assert_eq!(ask(port, "POST", "/job/1/stop", &[], "").status, 401);
}

#[test]
fn the_queue_survives() {
    let (mut spool, port) = Spool::with_http("{\"slots\": 1}", &[]);
    let worker = Worker::with(&["hang"]);
    for _ in 0..3 {
        push(port, &json!({"url": worker.url("/")}));
    }
    worker.wait(1);
    spool.crash();
    let port = spool.serve_http(&[]);
    wait_status(&spool, port, "1", "running");
    assert_eq!(act(port, "POST", "/job/1/stop").0, 200);
    for id in ["2", "3"] {
        wait_status(&spool, port, id, "success");
    }
}

/// The requests of hq's manual, but for the port.
#[test]
fn with_curl() {
    if Command::new("curl").arg("--version").output().is_err() {
        return eprintln!("skipped: curl is not installed");
    }
    let (spool, port) = Spool::with_http("{}", &[]);
    let worker = Worker::with::<&[u8]>(&[]);
    let curl = |args: &[&str], path: &str| {
        let url = format!("http://localhost:{port}{path}");
        let output = Command::new("curl")
            .arg("-s")
            .args(args)
            .arg(url)
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let job = json!({
        "name": "example", "comment": "This is an example job!", "url": worker.url("/"),
        "headers": {"X-Custom-Token": "secret"}, "payload": {"message": "Hello world!"}, "timeout": 0,
    })
    .to_string();
    let pushed = curl(&["-XPOST", "-H", JSON, "-d", &job], "/job");
    assert_eq!(
        (&pushed["id"], &pushed["name"]),
        (&json!("1"), &json!("example"))
    );
    spool.wait_for("its end", || {
        curl(&[], "/job/1?pretty")["status"] == "success"
    });
    assert_eq!(curl(&["-G", "-d", "limit=1"], "/job")["count"], 1);
    assert_eq!(curl(&["-XPOST"], "/job/1/restart")["status"], "unfinished");
    spool.wait_for("its end", || curl(&[], "/job/1")["status"] == "success");
    assert_eq!(curl(&["-XDELETE"], "/job/1"), json!({"id": "1"}));
    assert_eq!(curl(&[], "/stats")["numJobs"], 0);
    assert_eq!(worker.sent().len(), 2);
    let reply: Reply = get(port, "/");
    assert_eq!(reply.status, 200);
}

#[test]
fn ids_can_have_hqs_form() {
    let config =
        r#"{"ids": {"form": "time", "server": 9}, "http": {"anonymous": ["read", "push", "run"]}}"#;
    let (_spool, port) = Spool::with_http(config, &[]);
    let pushed = push(port, &json!({"URL": "http://127.0.0.1:1/"}))["id"].clone();
    let reply = ask(port, "POST", "/v1/jobs", &[JSON], "{\"command\": \"true\"}");
    let created = reply.json()["id"].clone();
    let numbers = [pushed, created].map(|id| id.as_str().unwrap().parse::<u64>().unwrap());
    let servers = numbers.map(|id| id >> 12 & 1023);
    assert_eq!(servers, [9, 9]);
    assert!(
        numbers[0] < numbers[1] && numbers[0] > 1 << 59,
        "{numbers:?}"
    );
    assert_eq!(
        job(port, &numbers[0].to_string())["id"],
        numbers[0].to_string()
    );
}
