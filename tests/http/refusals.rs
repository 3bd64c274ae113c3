//! What is refused before a handler is asked has the form that the clients of its path know.

use crate::client::{Conn, Reply};
use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::json;

/// What makes the wire refuse a request, whatever its path: header lines, body, status.
const REFUSED: [(&str, &str, u16); 9] = [
    ("Host: localhost\r\nAuthorization: Bearer x\r\n", "", 401),
    (
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "",
        403,
    ),
    ("Host: evil.example\r\n", "", 421),
    ("", "", 400),
    ("Host: localhost\r\nExpect: cake\r\n", "", 417),
    ("Host: localhost\r\nTransfer-Encoding: gzip\r\n", "", 501),
    (
        "Host: localhost\r\nContent-Length: 99999999999\r\n",
        "",
        413,
    ),
    (
        "Host: localhost\r\nTransfer-Encoding: chunked\r\n",
        "x\r\n",
        400,
    ),
    (
        "Host: localhost\r\nTransfer-Encoding: chunked\r\n",
        "fffffff\r\n",
        413,
    ),
];

fn refused(port: u16, method: &str, target: &str, lines: &str, body: &str) -> Reply {
    let mut conn = Conn::to(port);
    conn.write(format!("{method} {target} HTTP/1.1\r\n{lines}\r\n{body}"));
    let reply = conn.reply_to(method).expect("an answer");
    assert_eq!(reply.header("connection"), "close");
    conn.assert_closed();
    reply
}

/// True if an answer has the form of its path: to hq's clients, to those of qmd and jobrunner, to ours.
fn assert_form(target: &str, reply: &Reply) {
    let kind = reply.header("content-type");
    let text = reply.text();
    match target {
        "/" | "/job" | "/job/1?pretty" | "/stats" | "/ui/internal/job" => {
            assert_eq!(kind, "application/json; charset=UTF-8", "{target} {text}");
            assert_eq!(reply.json()["status"], reply.status, "{target} {text}");
            let error = reply.json()["error"].as_str().unwrap().to_owned();
            assert!(error.len() > 5, "{target} {text}");
            let (status, error) = (reply.status, json!(error));
            match target.contains("pretty") {
                true => assert!(text.starts_with("{\n  \"status\": "), "{text}"),
                false => assert_eq!(text, format!("{{\"status\":{status},\"error\":{error}}}\n")),
            }
        }
        "/scripts/x" | "/jobs/" | "/jobs/7" | "/ping" | "/payload" | "/status" => {
            assert_eq!(kind, "text/plain; charset=utf-8", "{target} {text}");
            assert!(text.len() > 5 && !text.contains('{'), "{target} {text}");
            let is_line = matches!(target, "/payload" | "/status");
            assert_eq!(text.ends_with('\n'), is_line, "{target} {text}");
        }
        _ => {
            assert_eq!(kind, "application/problem+json", "{target} {text}");
            assert_eq!(reply.json()["status"], reply.status, "{target} {text}");
        }
    }
}

const TARGETS: [&str; 13] = [
    "/",
    "/job",
    "/job/1?pretty",
    "/stats",
    "/ui/internal/job",
    "/scripts/x",
    "/jobs/",
    "/jobs/7",
    "/ping",
    "/payload",
    "/status",
    "/v1/jobs",
    "/nowhere",
];

fn serving(config: &str) -> (Spool, u16) {
    let mut spool = Spool::new();
    std::fs::create_dir_all(spool.path()).unwrap();
    std::fs::write(spool.path().join("config.json"), config).unwrap();
    let mut command = spool.command(["serve", "--jobrunner"]);
    command
        .env("JOBRUNNER_CMD", "/bin/true")
        .env("JOBRUNNER_HTTP_LISTEN_PORT", "0");
    spool.serve_with(command);
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let port = spool.ports()[0];
    (spool, port)
}

#[test]
fn each_path_has_its_own_form() {
    let (spool, port) = serving("{}");
    for target in TARGETS {
        for (lines, body, status) in REFUSED {
            let reply = refused(port, "POST", target, lines, body);
            assert_eq!(reply.status, status, "{target} {lines:?}");
            assert_form(target, &reply);
            let challenge = reply.header("www-authenticate");
            let wanted = match status {
                401 => "Bearer error=\"invalid_token\"",
                _ => "",
            };
            assert_eq!(challenge, wanted, "{target}");
        }
        // A head that is malformed behind its first line, and one without a body to answer with.
        let folded = refused(port, "GET", target, "Host: localhost\r\n folded: x\r\n", "");
        assert_eq!(folded.status, 400);
        assert_form(target, &folded);
        let bare = refused(port, "HEAD", target, "Host: localhost\r\nA : b\r\n", "");
        assert_eq!((bare.status, bare.body.len()), (400, 0));
    }
    // The log says what was asked for, too.
    spool.wait_daemon_log("HEAD /nowhere 400");
}

#[test]
fn a_dialect_that_is_not_spoken_has_no_form() {
    let (_spool, port) = serving(r#"{"http": {"dialects": ["qmd"]}}"#);
    for (target, is_problem) in [("/job", true), ("/payload", true), ("/jobs", false)] {
        let reply = refused(port, "GET", target, "Host: evil.example\r\n", "");
        assert_eq!(
            (
                reply.status,
                reply.header("content-type") == "application/problem+json"
            ),
            (421, is_problem),
            "{target}"
        );
    }
}

#[test]
fn an_end_is_told_in_each_form() {
    let (spool, port) = serving(r#"{"http": {"anonymous": ["read", "run"]}}"#);
    let mut gate = Gate::new(&spool, "gate");
    spool.add(&["--id", "held", "sh", "-c", &gate.wait()]);
    spool.wait_note("held");
    let mut conns: Vec<(&str, Conn)> = TARGETS.map(|target| (target, Conn::to(port))).into();
    for (target, conn) in &mut conns {
        conn.write(format!("GET {target} HTTP/1.1\r\n"));
    }
    // Each has been seen: else there is no request to be refused.
    let mut last = Conn::to(port);
    last.ask("GET", "/healthz", &[], "");
    last.reply();
    spool.signal("TERM");
    spool.wait_daemon_log("stopping");
    last.assert_closed();
    for (target, conn) in &mut conns {
        conn.write("Host: localhost\r\n\r\n");
        let reply = conn.reply();
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (503, "5"),
            "{target}"
        );
        assert_form(target, &reply);
    }
    gate.open(1);
}
