//! Who may what.

use crate::client::{Reply, ask, get, post};
use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::json;

fn token(spool: &Spool, name: &str, rights: &str) -> String {
    let done = spool.pirn(&["token", "new", name, rights]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    format!("Authorization: Bearer {}", done.stdout.trim())
}

#[test]
fn callers_without_a_token_start_scripts_only() {
    let (spool, port) = Spool::with_http("{}", &[]);
    spool.script("hello", "#!/bin/sh\necho \"hello $1\"\n");
    let done = post(
        port,
        "/v1/jobs?wait=20s",
        r#"{"script": "hello", "args": ["you"]}"#,
    );
    assert_eq!(
        (done.status, done.json()["output"].as_str()),
        (201, Some("hello you\n"))
    );
    for body in [
        "echo x",
        r#"{"command": ["x"]}"#,
        r#"{"script": "hello", "env": {"LD_PRELOAD": "x"}}"#,
        r#"{"script": "hello", "cwd": "/"}"#,
        r#"{"script": "hello", "nice": -5}"#,
        r#"{"script": "hello", "umask": "000"}"#,
        r#"{"script": "hello", "limits": {"nofile": 1}}"#,
        r#"{"script": "hello", "sandbox": {}}"#,
        r#"{"script": "hello", "resources": {"tasks": 9}}"#,
    ] {
        let refused = post(port, "/v1/jobs", body);
        assert_eq!(
            (refused.status, refused.header("www-authenticate")),
            (401, "Bearer"),
            "{body}"
        );
    }
    assert_eq!(ask(port, "PATCH", "/v1/queues/mail", &[], "{}").status, 401);
    assert_eq!(spool.ls("pending"), Vec::<String>::new());
    for escape in ["../x", "a/b", ".hidden", "/bin/sh"] {
        let body = serde_json::json!({"script": escape}).to_string();
        assert_eq!(post(port, "/v1/jobs", &body).status, 422, "{escape}");
    }
}

#[test]
fn tokens_give_rights() {
    let (spool, port) = Spool::with_http(r#"{"http": {"anonymous": []}}"#, &["--slots", "0"]);
    assert_eq!(get(port, "/v1/jobs").status, 401);
    assert_eq!(get(port, "/healthz").status, 200);
    let reader = token(&spool, "reader", "read");
    let runner = token(&spool, "runner", "run");
    let admin = token(&spool, "admin", "admin");
    let status = |method: &str, target: &str, token: &str, body: &str| {
        ask(port, method, target, &[token], body).status
    };
    assert_eq!(
        status("GET", "/v1/jobs", &reader, ""),
        200,
        "a new token counts at once"
    );
    assert_eq!(status("POST", "/v1/jobs", &reader, "true"), 403);
    assert_eq!(status("POST", "/v1/jobs", &runner, "true"), 201);
    assert_eq!(status("GET", "/v1/jobs", &runner, ""), 403);
    assert_eq!(status("PATCH", "/v1/queues/a", &runner, "{}"), 403);
    assert_eq!(status("PATCH", "/v1/queues/a", &admin, "{}"), 200);
    for bad in [
        "Authorization: Bearer",
        "Authorization: Bearer x",
        "Authorization: Basic eDp5",
        &format!("{reader}\r\n{admin}"),
        &format!("{reader}x"),
    ] {
        assert_eq!(status("GET", "/v1/jobs", bad, ""), 401, "{bad}");
    }
    let file = spool.read("tokens");
    for line in [&reader, &runner, &admin] {
        let token = line.rsplit(' ').next().unwrap();
        assert!(token.len() >= 43 && !file.contains(token));
        assert!(!spool.daemon_log().contains(token));
    }
    std::fs::remove_file(spool.path().join("tokens")).unwrap();
    assert_eq!(
        status("GET", "/v1/jobs", &admin, ""),
        401,
        "and so does a lost one"
    );
}

#[test]
fn the_token_file_is_private_and_checked() {
    use std::os::unix::fs::PermissionsExt;
    let spool = Spool::new();
    token(&spool, "a", "read,push");
    let mode = std::fs::metadata(spool.path().join("tokens"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(spool.read("tokens").starts_with("a read,push "));
    for (name, rights) in [("a", "read"), ("b c", "read"), ("", "read")] {
        let done = spool.pirn(&["token", "new", name, rights]);
        assert_eq!(done.code, 1, "{name:?} {rights}: {}", done.stderr);
    }
    for rights in ["write", "", ","] {
        assert_eq!(
            spool.pirn(&["token", "new", "x", rights]).code,
            2,
            "{rights:?}"
        );
    }
}

#[test]
fn an_open_address_needs_tokens() {
    let mut spool = Spool::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let done = spool.pirn(&["serve", "--http", address]);
        assert_eq!(done.code, 78, "{}", done.stderr);
        assert!(done.stderr.contains("pirn token new"), "{}", done.stderr);
    }
    for address in ["localhost", "8080", "unix:", "127.0.0.1"] {
        assert_eq!(
            spool.pirn(&["serve", "--http", address]).code,
            2,
            "{address}"
        );
    }
    let token = token(&spool, "a", "read");
    spool.serve(&["--http", "0.0.0.0:0"]);
    let open = || {
        let log = spool.daemon_log();
        log.lines().find_map(|line| {
            line.split_once("listening on 0.0.0.0:")?
                .1
                .parse::<u16>()
                .ok()
        })
    };
    spool.wait_for("the door", || open().is_some());
    let port = open().unwrap();
    assert_eq!(
        get(port, "/v1/jobs").status,
        401,
        "loopback, but not a loopback listener"
    );
    assert_eq!(ask(port, "GET", "/v1/jobs", &[&token], "").status, 200);
}

#[test]
fn foreign_hosts_and_origins() {
    let (spool, port) = Spool::with_http(r#"{"http": {"hosts": ["pirn.example"]}}"#, &[]);
    let with = |method: &str, host: &str, lines: &str| {
        let mut conn = crate::client::Conn::to(port);
        conn.write(format!(
            "{method} /v1/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n{lines}\r\n"
        ));
        conn.reply().status
    };
    for (host, status) in [
        ("127.0.0.1", 200),
        ("localhost:1", 200),
        ("pirn.example", 401),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("[::1]", 421),
        ("user@localhost", 421),
    ] {
        assert_eq!(with("GET", host, ""), status, "{host}");
    }
    for (lines, status) in [
        ("Origin: http://localhost\r\n", 400),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: same-origin\r\n", 400),
    ] {
        assert_eq!(with("POST", "localhost", lines), status, "{lines}");
    }
    assert_eq!(
        with("GET", "localhost", "Origin: http://evil.example\r\n"),
        403
    );
    let visit =
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    assert_eq!(with("GET", "localhost", visit), 200);
    assert_eq!(with("POST", "localhost", visit), 403);
    assert_eq!(spool.ls("pending").len() + spool.ls("complete").len(), 0);
}

#[test]
fn a_socket_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut spool = Spool::new();
    let path = spool.beside("sock");
    let address = format!("unix:{}", path.display());
    spool.serve(&["--http", &address]);
    spool.wait_for("the socket", || path.exists());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let curl = |target: &str| {
        let mut command = std::process::Command::new("curl");
        command
            .args(["-s", "--unix-socket"])
            .arg(&path)
            .arg(format!("http://localhost{target}"));
        spool.finish(&mut command).stdout
    };
    spool.wait_for("an answer", || curl("/healthz") == "ok\n");
    assert!(curl("/v1/jobs").starts_with("{\"jobs\": []"));
    let second = Spool::new();
    let taken = second.pirn(&["serve", "--http", &address]);
    assert_eq!(taken.code, 1, "{}", taken.stderr);
    assert_eq!(curl("/healthz"), "ok\n");
    spool.crash();
    assert!(path.exists());
    spool.serve(&["--http", &address]);
    spool.wait_for("the socket of a crashed daemon to be replaced", || {
        std::process::Command::new("curl")
            .args(["-sf", "--unix-socket"])
            .arg(&path)
            .arg("http://x/healthz")
            .status()
            .unwrap()
            .success()
    });
    spool.stop();
    assert!(!path.exists());
}

/// All that a push-only caller is told of job 1, whose command, output and comment are secret.
#[test]
fn push_alone_does_not_read() {
    let (spool, port) = Spool::with_http(r#"{"http": {"anonymous": []}}"#, &[]);
    let pusher = token(&spool, "pusher", "push");
    let both = token(&spool, "both", "read,push");
    let say = |method: &str, target: &str, body: &str| {
        let json = "Content-Type: application/json";
        ask(port, method, target, &[&pusher, json], body)
    };
    spool.script("tell", "#!/bin/sh\necho secret output\n");
    let secret = r#"{"script": "tell", "args": ["secret"], "comment": "secret"}"#;
    spool.drop_json("1", &serde_json::from_str(secret).unwrap());
    spool.wait_record("complete/1");
    let brief = |reply: &Reply, id: &str| {
        let told = reply.json();
        let told = told.as_object().unwrap();
        assert_eq!(told["id"], id, "{reply:?}");
        let keys: Vec<&str> = told.keys().map(String::as_str).collect();
        assert!(
            keys == ["id", "state"] || keys == ["id", "status"],
            "{reply:?}"
        );
        assert!(!reply.text().contains("secret"), "{reply:?}");
    };
    assert_eq!(say("GET", "/v1/jobs/1", "").status, 403);
    let retried = say("POST", "/v1/jobs/1/retry", "");
    assert_eq!(retried.status, 200);
    brief(&retried, "1");
    spool.wait_record("complete/1");
    let copied = say("POST", "/v1/jobs/1/copy?wait=20s", "");
    assert_eq!(copied.status, 201);
    brief(&copied, copied.json()["id"].as_str().unwrap());
    let met = say("PUT", "/v1/jobs/1", secret);
    assert_eq!(met.status, 200);
    brief(&met, "1");

    let later = r#"{"script": "tell", "comment": "secret", "not_before": "2099-01-01T00:00:00Z"}"#;
    spool.drop_json("late", &serde_json::from_str(later).unwrap());
    spool.wait_for("the job to wait", || {
        ask(port, "GET", "/v1/jobs/late", &[&both], "").status == 200
    });
    for verb in ["hold", "release", "cancel"] {
        let steered = say("POST", &format!("/v1/jobs/late/{verb}"), "");
        assert_eq!(steered.status, 200, "{verb}: {}", steered.text());
        brief(&steered, "late");
    }
    let whole = ask(port, "POST", "/v1/jobs/late/retry", &[&both], "");
    assert_eq!(whole.json()["comment"], "secret");

    // What it has sent itself, and what it waits for.
    let own = say("POST", "/v1/jobs?wait=20s", secret).json();
    assert_eq!(
        (&own["comment"], &own["output"]),
        (&"secret".into(), &"secret output\n".into())
    );
    let qmd = say("POST", "/scripts/tell", "{}");
    assert_eq!(qmd.json()["exec_log"], "secret output\n");

    let call = r#"{"url": "http://127.0.0.1:1/secret", "name": "secret", "comment": "secret"}"#;
    let pushed = say("POST", "/job", call);
    let number = pushed.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(pushed.json()["comment"], "secret");
    spool.wait_record(&format!("failed/{number}"));
    for body in ["{}", r#"{"copy": true}"#] {
        let again = say("POST", &format!("/job/{number}/restart"), body);
        assert_eq!(again.status, 200, "{}", again.text());
        brief(&again, again.json()["id"].as_str().unwrap());
        spool.wait_record(&format!("failed/{number}"));
    }
}

/// Callers without a token have their idempotency keys in common: one that may only push is not told what came of a job
/// that another one may have sent.
#[test]
fn a_key_without_a_token_does_not_read() {
    let (spool, port) = Spool::with_http(r#"{"http": {"anonymous": ["push"]}}"#, &[]);
    let pusher = token(&spool, "pusher", "push");
    spool.script("say", "#!/bin/sh\necho secret\n");
    let say = |target: &str, lines: &[&str]| {
        let lines = [lines, &["Idempotency-Key: k"]].concat();
        let job = r#"{"script": "say", "comment": "secret"}"#;
        let reply = ask(port, "POST", target, &lines, job);
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()
    };
    let first = say("/v1/jobs", &[]);
    assert_eq!(first["comment"], "secret");
    let again = say("/v1/jobs?wait=20s", &[]);
    assert_eq!(again, json!({"id": first["id"], "state": "complete"}));
    // A token's keys are its own.
    let other = say("/v1/jobs", &[&pusher]);
    assert_ne!(other["id"], first["id"]);
    let again = say("/v1/jobs?wait=20s", &[&pusher]);
    assert_eq!(
        (&again["id"], &again["output"]),
        (&other["id"], &json!("secret\n"))
    );
}

/// A caller who replaces a job is not told of the one that runs or ran under its name.
#[test]
fn a_replacement_does_not_read() {
    let config = r#"{"slots": 2, "http": {"anonymous": ["push"]}}"#;
    let (spool, port) = Spool::with_http(config, &[]);
    spool.script("say", "#!/bin/sh\n");
    let gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "running",
        &json!({"command": gate.wait(), "comment": "secret"}),
    );
    spool.wait_note("running");
    spool.drop_json("ended", &json!({"command": "true", "comment": "secret"}));
    spool.wait_record("complete/ended");
    let put = |id: &str, job: &str| {
        let reply = ask(port, "PUT", &format!("/v1/jobs/{id}?replace"), &[], job);
        assert_eq!(reply.status, 201, "{}", reply.text());
        let keys: Vec<String> = reply.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["id", "state"], "{}", reply.text());
    };
    put("running", r#"{"script": "say"}"#);
    put(
        "ended",
        r#"{"script": "say", "queue": "other", "not_before": "2100-01-01T00:00:00Z"}"#,
    );
}

/// A job of a caller who may only push calls this daemon, which knows its own user.
#[test]
fn a_call_does_not_read_for_its_caller() {
    let (spool, port) = Spool::with_http("{}", &["--slots", "1"]);
    spool.script("tell", "#!/bin/sh\necho secret output\n");
    spool.drop_json(
        "past",
        &serde_json::json!({"script": "tell", "comment": "secret"}),
    );
    spool.wait_record("complete/past");
    let url = format!("http://127.0.0.1:{port}/v1/jobs/past/retry");
    spool.drop_json("call", &serde_json::json!({"url": url}));
    let record = spool.wait_record("complete/call");
    assert!(
        record["output"].as_str().unwrap().contains("past"),
        "{record}"
    );
    assert!(
        !record["output"].as_str().unwrap().contains("secret"),
        "{record}"
    );
}
