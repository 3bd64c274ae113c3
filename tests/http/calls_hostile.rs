//! Jobs that call servers which mean harm, or talk nonsense; and calls that try to get where they may not.

use crate::client::{ANYBODY_MAY_RUN, ask, get, post};
use crate::spool::Spool;
use crate::worker::{Worker, answer};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A server that does this with each connection, once it has sent its request.
fn server(talk: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let talk = std::sync::Arc::new(talk);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, talk) = (stream.unwrap(), std::sync::Arc::clone(&talk));
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                talk(stream);
            });
        }
    });
    url
}

/// Runs a call to its end.
fn outcome(spool: &Spool, id: &str, job: &Value) -> (&'static str, Value) {
    spool.drop_json(id, job);
    let there = || {
        ["complete", "failed"]
            .into_iter()
            .find(|dir| spool.has(&format!("{dir}/{id}")))
    };
    spool.wait_for("the end of the call", || there().is_some());
    let dir = there().unwrap();
    (dir, spool.wait_record(&format!("{dir}/{id}")))
}

fn redirect(status: &str, to: &str) -> Vec<u8> {
    answer(status, &[&format!("Location: {to}")], "")
}

/// A call says that it is one, wherever it is sent on to: else a redirect could make a person of it, who may do more.
#[test]
fn a_redirect_does_not_make_a_person_of_a_call() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let into = format!("http://localhost:{port}/v1/jobs");
    for (id, dialect) in [("own", None), ("hq", Some("hq"))] {
        let worker = Worker::with(&[redirect("307 Temporary Redirect", &into)]);
        let job = json!({
            "url": worker.url("/"), "dialect": dialect, "tries": 1,
            "payload": {"command": "touch $PIRN_STORE/taken"},
        });
        let (dir, record) = outcome(&spool, id, &job);
        assert_eq!(
            (dir, &record["status_code"]),
            ("failed", &json!(401)),
            "{record}"
        );
    }
    assert!(!spool.has("store/taken") && !spool.has("pending/1") && !spool.has("complete/1"));
}

/// Another port may be another user's server.
#[test]
fn what_is_for_one_server_is_not_told_to_another() {
    let spool = Spool::serving(&[]);
    let other = Worker::with::<&[u8]>(&[]);
    let worker = Worker::with(&[
        redirect("307 Temporary Redirect", &other.url("/other")),
        redirect("307 Temporary Redirect", "/same"),
    ]);
    let url = worker.url("/?key=hush").replace("//", "//user:hush@");
    let job = json!({
        "url": url, "payload": [1], "tries": 1,
        "headers": {"Authorization": "Bearer hush", "Cookie": "hush", "X-Key": "hush"},
    });
    assert_eq!(outcome(&spool, "abroad", &job).0, "complete");
    let abroad = other.wait(1).remove(0);
    assert_eq!(
        (abroad.line.as_str(), abroad.body.as_str()),
        ("POST /other HTTP/1.1", "[1]")
    );
    assert!(!format!("{abroad:?}").contains("hush"), "{abroad:?}");
    assert_eq!(abroad.one("x-pirn-job-id"), "abroad");
    assert_eq!(abroad.one("content-type"), "application/json");
    assert_eq!(outcome(&spool, "home", &job).0, "complete");
    let home = worker.wait(3).remove(2);
    assert_eq!((home.one("x-key"), home.one("cookie")), ("hush", "hush"));
    assert_eq!(home.one("referer"), worker.url("/?key=hush"));
}

#[test]
fn passwords_in_urls_are_not_repeated() {
    let (spool, port) = Spool::with_http("{}", &[]);
    let worker = Worker::with(&[answer("500 Oops", &[], ""), answer("500 Oops", &[], "")]);
    let url = worker.url("/x").replace("//", "//user:hush@");
    for url in [url.as_str(), "http://user:hush@127.0.0.1:1/x"] {
        let job = json!({"url": url, "callback_url": url, "tries": 1});
        let pushed = post(port, "/v1/jobs?wait=20s", &job.to_string());
        assert_eq!(pushed.status, 201, "{}", pushed.text());
        let id = pushed.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(
            spool.record(&format!("failed/{id}"))["url"],
            url,
            "it is still to be called"
        );
        let shown = [pushed.text(), get(port, &format!("/v1/jobs/{id}")).text()].concat();
        assert!(
            shown.contains("127.0.0.1") && !shown.contains("hush"),
            "{shown}"
        );
    }
    let told = worker.wait(2).remove(1);
    assert!(
        told.body.contains("answered 500") && !told.body.contains("hush"),
        "{told:?}"
    );
    assert!(
        !spool.daemon_log().contains("hush"),
        "{}",
        spool.daemon_log()
    );
}

/// Each way to write an address leads to the same question; what it says before an `@` is no host.
#[test]
fn no_way_to_write_an_address_gets_around_the_list() {
    let spool = Spool::serving(&[]);
    let worker = Worker::with::<&[u8]>(&[]);
    let port = worker.port;
    for (n, (host, allowed)) in [
        ("127.0.0.1", true),
        ("LOCALHOST", true),
        ("2130706433", true),
        ("0x7f.1", true),
        ("[::ffff:127.0.0.1]", true),
        ("192.0.2.1@127.0.0.1", true),
        ("127.0.0.1@192.0.2.1", false),
        ("127.0.0.1%40192.0.2.1", false),
        ("0.0.0.0", false),
        ("0", false),
        ("[::]", false),
        ("[::127.0.0.1]", false),
        ("[64:ff9b::7f00:1]", false),
        ("[::ffff:10.0.0.1]", false),
        ("169.254.169.254", false),
        ("2852039166", false),
        ("192.0.2.1\\@127.0.0.1", true),
        ("127.0.0.1\r\nHost: a", false),
    ]
    .into_iter()
    .enumerate()
    {
        let before = worker.sent().len();
        let job = json!({"url": format!("http://{host}:{port}/"), "tries": 1, "timeout": "10s"});
        let (dir, record) = outcome(&spool, &format!("a{n}"), &job);
        assert_eq!(dir == "complete", allowed, "{host}: {record}");
        assert_eq!(worker.sent().len() > before, allowed, "{host}: {record}");
    }
    // The scheme is the same in any letters, also of a redirect.
    let upper = worker.url("/").replace("http", "HTTP");
    let to = Worker::with(&[redirect("302 Found", &upper)]);
    let job = json!({"url": to.url("/").replace("http", "Http"), "tries": 1});
    assert_eq!(outcome(&spool, "upper", &job).0, "complete");
}

#[test]
fn proxies_are_not_asked() {
    let spool = Spool::serving(&[]);
    let (worker, proxy) = (Worker::with::<&[u8]>(&[]), Worker::with::<&[u8]>(&[]));
    let to = proxy.url("/");
    let job = json!({"url": worker.url("/"), "tries": 1, "env": {
        "http_proxy": to, "HTTP_PROXY": to, "all_proxy": to, "ALL_PROXY": to, "https_proxy": to,
    }});
    assert_eq!(outcome(&spool, "a", &job).0, "complete");
    assert_eq!((worker.sent().len(), proxy.sent().len()), (1, 0));
}

#[test]
fn nonsense_is_a_failure_that_may_pass() {
    let spool = Spool::serving(&[]);
    let gzip = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbad!";
    for (n, (what, text)) in [
        ("nothing at all", String::new()),
        ("no HTTP", "SSH-2.0-OpenSSH_9\r\n\r\n".to_owned()),
        (
            "a status that is none",
            "HTTP/1.1 99999 x\r\n\r\n".to_owned(),
        ),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le".to_owned()),
        (
            "half a body",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_owned(),
        ),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        ),
        (
            "half a chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab".to_owned(),
        ),
        (
            "a chunk that is none",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nab".to_owned(),
        ),
        ("no gzip", gzip.to_owned()),
        (
            "a long head",
            format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(1 << 20)),
        ),
        (
            "many fields",
            format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(5000)),
        ),
        (
            "hints without end",
            "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100_000),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let url = server(move |mut stream| {
            let _ = stream.write_all(text.as_bytes());
        });
        let job = json!({"url": url, "tries": 1, "timeout": "20s"});
        let (dir, record) = outcome(&spool, &format!("n{n}"), &job);
        assert_eq!(
            (dir, &record["reason"]),
            ("failed", &json!("exited")),
            "{what}: {record}"
        );
        assert_eq!(record["exit_code"], 75, "{what}: {record}");
        assert!(
            record["error"].as_str().unwrap().starts_with("POST http"),
            "{what}: {record}"
        );
    }
}

#[test]
fn what_is_odd_and_still_http_is_read() {
    let spool = Spool::serving(&[]);
    for (n, (text, status)) in [
        ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
        ("HTTP/1.0 200 OK\r\n\r\nok", 200),
        ("HTTP/1.1 299\r\nContent-Length: 2\r\n\r\nok", 299),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok", 200),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-16\r\nContent-Length: 2\r\n\r\nok", 200),
    ]
    .into_iter()
    .enumerate()
    {
        let url = server(move |mut stream| stream.write_all(text.as_bytes()).unwrap());
        let (dir, record) = outcome(&spool, &format!("o{n}"), &json!({"url": url, "tries": 1}));
        assert_eq!(
            (dir, &record["status_code"], &record["output"]),
            ("complete", &json!(status), &json!("ok")),
            "{text}: {record}"
        );
    }
}

/// Bytes that are no text are in the log as they came, and as text in the record.
#[test]
fn an_answer_may_be_any_bytes() {
    let spool = Spool::serving(&[]);
    let mut reply = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n".to_vec();
    reply.extend_from_slice(b"\xff\xfe\x00\x1b[0");
    let worker = Worker::with(&[reply]);
    let (_, record) = outcome(&spool, "bytes", &json!({"url": worker.url("/")}));
    assert_eq!(record["output"], "\u{fffd}\u{fffd}\0\u{1b}[0");
    assert_eq!(
        std::fs::read(spool.path().join("log/bytes")).unwrap(),
        b"\xff\xfe\x00\x1b[0"
    );
}

#[test]
fn answers_without_end_are_ended() {
    let spool = Spool::serving(&["--slots", "4"]);
    let flood = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let drip = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (dir, record) = outcome(
        &spool,
        "flood",
        &json!({"url": flood, "tries": 1, "max_log": "1M"}),
    );
    assert_eq!(
        (dir, &record["reason"]),
        ("failed", &json!("log_limit")),
        "{record}"
    );
    assert_eq!(record["log_bytes"], 1 << 20);
    let job = json!({"url": drip, "tries": 1, "timeout": "1s"});
    let (dir, record) = outcome(&spool, "drip", &job);
    assert_eq!(
        (dir, &record["reason"]),
        ("failed", &json!("timeout")),
        "{record}"
    );
}

/// A server that answers with so many zeros, packed.
fn packed(zeros: u64) -> String {
    let made = std::process::Command::new("sh")
        .args(["-c", &format!("head -c {zeros} /dev/zero | gzip -1")])
        .output()
        .unwrap();
    server(move |mut stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&made.stdout);
    })
}

#[test]
fn an_answer_is_as_large_as_max_log_or_16_mib() {
    let spool = Spool::serving(&[]);
    let (most, more) = (packed(16 << 20), packed((16 << 20) + 1));
    let far_more = packed(200_000_000);
    for (n, (job, dir, bytes)) in [
        (json!({"url": most}), "complete", 16 << 20),
        (json!({"url": more}), "failed", 16 << 20),
        (json!({"url": far_more, "tries": 5}), "failed", 16 << 20),
        (json!({"url": far_more, "max_log": "1M"}), "failed", 1 << 20),
        (
            json!({"url": more, "max_log": "1G"}),
            "complete",
            (16 << 20) + 1,
        ),
        (
            json!({"url": more, "max_log": 0}),
            "complete",
            (16 << 20) + 1,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (found, record) = outcome(&spool, &format!("answer{n}"), &job);
        assert_eq!(
            (found, &record["log_bytes"]),
            (dir, &json!(bytes)),
            "{job}: {record}"
        );
        assert_eq!(record["status_code"], 200, "{job}");
        assert_eq!(record["attempt"], 1, "{job}");
        if dir == "failed" {
            assert_eq!(record["reason"], "log_limit", "{job}");
            assert_eq!(record["attempts"][0]["reason"], "log_limit", "{job}");
            let error = record["error"].as_str().unwrap();
            assert!(
                error.contains(&format!("larger than the {bytes} bytes of max_log")),
                "{error}"
            );
        }
    }
    spool.config(r#"{"defaults": {"max_log": "2M"}}"#);
    spool.wait_for("the setting to count", || {
        let (_, record) = outcome(&spool, "answer", &json!({"url": more}));
        record["log_bytes"] == 2 << 20
    });
}

/// What is no port is not another one.
#[test]
fn a_port_that_is_none_is_refused() {
    let (spool, port) = Spool::with_http("{}", &[]);
    let wrong = "http://127.0.0.1:99999/";
    for (n, job) in [
        json!({"url": wrong}),
        json!({"url": "http://[::1]:65536"}),
        json!({"script": "a", "callback_url": wrong}),
    ]
    .into_iter()
    .enumerate()
    {
        spool.drop_json(&format!("wrong{n}"), &job);
        let reason = spool.wait_bad(&format!("wrong{n}"));
        assert!(
            reason.contains("url: ") && reason.contains("no port"),
            "{reason}"
        );
        let refused = post(port, "/v1/jobs", &job.to_string());
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.text().contains("no port"), "{}", refused.text());
    }
    let kind = ["Content-Type: application/json"];
    let body = json!({"url": wrong}).to_string();
    let hq = ask(port, "POST", "/job", &kind, &body);
    assert!(matches!(hq.status, 400 | 422), "{}", hq.text());
    assert!(hq.text().contains("no port"), "{}", hq.text());
    spool.script("s.sh", "#!/bin/sh\n");
    let body = json!({"callback_url": wrong}).to_string();
    let qmd = post(port, "/scripts/s.sh", &body);
    assert!(matches!(qmd.status, 400 | 422), "{}", qmd.text());

    let elsewhere = server(move |mut stream| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {wrong}\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
    });
    let (dir, record) = outcome(&spool, "redirected", &json!({"url": elsewhere, "tries": 3}));
    let error = record["error"].as_str().unwrap();
    assert!(dir == "failed" && error.contains("no port"), "{record}");
    assert_eq!(record["attempt"], 1, "another try would meet the same");
}

/// A megabyte of zeros for each kilobyte that is sent.
#[test]
fn what_unpacks_to_more_than_may_be_is_ended() {
    let spool = Spool::serving(&[]);
    let made = std::process::Command::new("sh")
        .args(["-c", "head -c 50000000 /dev/zero | gzip -1"])
        .output()
        .unwrap();
    let bomb = made.stdout;
    assert!(bomb.len() > 1000 && bomb.len() < 1_000_000);
    let url = server(move |mut stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&bomb);
    });
    let job = json!({"url": url, "tries": 1, "max_log": "1M"});
    let (dir, record) = outcome(&spool, "bomb", &job);
    assert_eq!(
        (dir, &record["log_bytes"]),
        ("failed", &json!(1 << 20)),
        "{record}"
    );
    assert_eq!(record["reason"], "log_limit");
}

/// What tells of an end has no one to tell of its own.
#[test]
fn callbacks_have_no_callbacks() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let worker = Worker::with(&[answer("404 Not Found", &[], "")]);
    let job = json!({
        "command": "true", "tries": 1, "callback_url": worker.url("/"), "on_finish": "exit 100",
    });
    assert_eq!(post(port, "/v1/jobs", &job.to_string()).status, 201);
    let failed = || spool.ls("failed");
    spool.wait_for("both to fail", || failed().len() == 2);
    for id in failed() {
        let record = spool.wait_record(&format!("failed/{id}"));
        assert!(record.get("callback_url").is_none() && record["on_finish"] == "");
        assert_eq!(record["attempt"], 1, "{record}");
    }
    // One of its copies tells of its own end, once.
    let copied = ask(port, "POST", "/v1/jobs/1/copy?wait=20s", &[], "");
    assert_eq!(copied.status, 201, "{}", copied.text());
    worker.wait(2);
    spool.wait_for("all to end", || {
        spool.ls("active").is_empty() && spool.ls("complete").len() + failed().len() == 6
    });
    assert_eq!(worker.sent().len(), 2);
}

/// What was called is not called again because there was no room for what it answered.
#[test]
fn a_full_disk_makes_no_call_twice() {
    let spool = Spool::new();
    let worker = Worker::with::<&[u8]>(&[]);
    let order = json!({
        "id": "1", "attempt": 1, "url": worker.url("/"), "headers": {}, "payload": null, "manner": "own",
        "sign": false, "secret": null, "allow": ["127.0.0.0/8"],
    });
    let (orders, report) = (spool.beside("order"), spool.beside("report"));
    std::fs::write(&orders, order.to_string()).unwrap();
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let deliver = |out: &std::path::Path, to: std::process::Stdio| {
        let mut command = spool.command(["deliver"]);
        command
            .env("PIRN_OUT", out)
            .stdin(std::fs::File::open(&orders).unwrap());
        command.stdout(to).output().unwrap()
    };
    let done = deliver(&report, full().into());
    assert_eq!(done.status.code(), Some(0));
    let told: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(told["status_code"], 200);
    assert!(
        told["error"].as_str().unwrap().contains("No space"),
        "{told}"
    );
    let done = deliver("/dev/full".as_ref(), std::process::Stdio::piped());
    assert_eq!(
        (done.status.code(), done.stdout.as_slice()),
        (Some(0), &b"ok"[..])
    );
    assert!(String::from_utf8_lossy(&done.stderr).contains("No space"));
    assert_eq!(worker.sent().len(), 2);
}
