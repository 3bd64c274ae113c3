//! Callers without a token: whose process it is decides, and what the settings say of others.

use crate::client::{Conn, ask, get, post};
use crate::jobrunner;
use crate::spool::Spool;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Two users that no account has.
const DAEMON: u32 = 54_321;
const OTHER: u32 = 54_322;

/// Only root can try what other users get.
fn is_root() -> bool {
    let done = Command::new("id").arg("-u").output().unwrap();
    done.stdout == b"0\n"
}

/// A command that runs as this user.
fn as_user(user: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user.to_string(), "--clear-groups"])
        .arg(program)
        .current_dir("/");
    command
}

/// The status that a user gets with curl for a GET of the jobs, and for a push.
fn statuses(spool: &Spool, user: u32, to: &[&str]) -> [String; 2] {
    let (args, url) = to.split_at(to.len() - 1);
    [&[][..], &["-d", r#"{"script": "hello"}"#]].map(|body| {
        let mut curl = as_user(user, "curl");
        curl.args(["-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}"]);
        let done = spool.finish(
            curl.args(args)
                .args(body)
                .arg(format!("{}/v1/jobs", url[0])),
        );
        assert_eq!(done.code, 0, "{to:?}: {}", done.stderr);
        done.stdout
    })
}

/// Both statuses of a user by TCP, and then by the socket.
fn by_both(spool: &Spool, user: u32, port: u16) -> Vec<String> {
    let socket = spool.beside("sock");
    let url = format!("http://127.0.0.1:{port}");
    let socket = [
        "--unix-socket",
        socket.to_str().unwrap(),
        "http://localhost",
    ];
    let mut all = statuses(spool, user, &[&url]).to_vec();
    all.extend(statuses(spool, user, &socket));
    all
}

const LET_IN: [&str; 4] = ["200", "201", "200", "201"];
const SHUT_OUT: [&str; 4] = ["401"; 4];

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A daemon of this user that listens on a port, and on a socket that everybody may connect to.
fn serving(user: u32, config: &str) -> (Spool, u16) {
    let mut spool = Spool::new();
    fs::create_dir_all(spool.path()).unwrap();
    fs::write(spool.path().join("config.json"), config).unwrap();
    let here = spool.beside(".");
    for path in [&here, &spool.path()] {
        chmod(path, 0o755);
        std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
    }
    let socket = spool.beside("sock");
    let pirn = spool.command(["serve"]);
    let mut daemon = as_user(user, pirn.get_program());
    daemon
        .args(["serve", "--http", "127.0.0.1:0", "--http"])
        .arg(format!("unix:{}", socket.display()))
        .env("PIRN_SPOOL", spool.path());
    spool.serve_with(daemon);
    spool.wait_for("both doors to open", || {
        !spool.ports().is_empty() && spool.daemon_log().contains("listening on unix:")
    });
    chmod(&socket, 0o777);
    spool.script("hello", "#!/bin/sh\n");
    let port = spool.ports()[0];
    (spool, port)
}

#[test]
fn only_the_daemons_user_and_root_are_known() {
    if !is_root() {
        return;
    }
    let (spool, port) = serving(DAEMON, "{}");
    assert_eq!(by_both(&spool, DAEMON, port), LET_IN);
    assert_eq!(by_both(&spool, 0, port), LET_IN);
    assert_eq!(by_both(&spool, OTHER, port), SHUT_OUT);
}

#[test]
fn a_daemon_of_root_gives_others_nothing_unless_told() {
    if !is_root() {
        return;
    }
    let (spool, port) = serving(0, "{}");
    assert_eq!(by_both(&spool, 0, port), LET_IN);
    assert_eq!(by_both(&spool, OTHER, port), SHUT_OUT);
    let config = spool.path().join("config.json");
    let told =
        format!(r#"{{"http": {{"trust": [{{"user": {OTHER}, "rights": ["read", "push"]}}]}}}}"#);
    fs::write(&config, told).unwrap();
    assert_eq!(by_both(&spool, OTHER, port), LET_IN);
    assert_eq!(by_both(&spool, DAEMON, port), SHUT_OUT);
    let by_name =
        r#"{"http": {"anonymous": [], "trust": [{"user": "daemon", "rights": ["read"]}]}}"#;
    fs::write(&config, by_name).unwrap();
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let account = accounts.lines().find(|line| line.starts_with("daemon:"));
    let Some(number) = account.and_then(|line| line.split(':').nth(2)) else {
        return;
    };
    let number = number.parse().unwrap();
    assert_eq!(by_both(&spool, number, port), ["200", "401", "200", "401"]);
    assert_eq!(by_both(&spool, 0, port), SHUT_OUT);
}

#[test]
fn a_reverse_proxy_makes_nobody_known() {
    let trust = r#"{"http": {"trust": [{"from": "127.0.0.0/8", "rights": ["read", "push"]}]}}"#;
    for config in ["{}", trust] {
        let (spool, port) = Spool::with_http(config, &[]);
        spool.script("hello", "#!/bin/sh\n");
        for line in [
            "X-Forwarded-For: 192.0.2.1",
            "x-forwarded-proto: https",
            "X-Forwarded-Anything: ",
            "Forwarded: for=192.0.2.1",
            "X-Real-IP: 192.0.2.1",
            "Via: 1.1 proxy",
        ] {
            assert_eq!(
                ask(port, "GET", "/v1/jobs", &[line], "").status,
                401,
                "{line}"
            );
            let pushed = ask(port, "POST", "/v1/jobs", &[line], r#"{"script": "hello"}"#);
            assert_eq!(pushed.status, 401, "{line}");
            let rights = ask(port, "GET", "/v1/whoami", &[line], "").json();
            assert_eq!(rights["rights"], serde_json::json!([]), "{line}");
        }
        assert_eq!(get(port, "/v1/jobs").json()["jobs"], serde_json::json!([]));
        let token = spool.pirn(&["token", "new", "a", "read"]).stdout;
        let token = format!("Authorization: Bearer {}", token.trim());
        let lines = ["X-Forwarded-For: 192.0.2.1", &token];
        assert_eq!(ask(port, "GET", "/v1/jobs", &lines, "").status, 200);
    }
}

#[test]
fn who_sends_and_closes_at_once_is_not_known() {
    let (spool, port) = Spool::with_http("{}", &[]);
    spool.script("hello", "#!/bin/sh\n");
    let body = r#"{"script": "hello"}"#;
    let request = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // The daemon finds the connections when their sockets are closed already: the kernel says that they are root's.
    spool.signal("STOP");
    for _ in 0..20 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
    }
    spool.signal("CONT");
    let refused = || spool.daemon_log().matches("POST /v1/jobs 401").count();
    spool.wait_for("the daemon to refuse them", || refused() == 20);
    assert_eq!(get(port, "/v1/jobs").json()["jobs"], serde_json::json!([]));
    assert_eq!(post(port, "/v1/jobs", body).status, 201);
}

/// The status of a GET of the jobs for this host.
fn for_host(port: u16, host: &str) -> u16 {
    let mut conn = Conn::to(port);
    conn.write(format!(
        "GET /v1/jobs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    ));
    conn.reply().status
}

#[test]
fn a_name_of_the_settings_is_for_those_who_are_trusted() {
    let hosts = r#""hosts": ["pirn", "queue:8080"]"#;
    let (_spool, port) = Spool::with_http(&format!(r#"{{"http": {{{hosts}}}}}"#), &[]);
    let trust = r#""trust": [{"from": "127.0.0.1", "rights": ["read"]}]"#;
    let (_trusting, trusted) =
        Spool::with_http(&format!(r#"{{"http": {{{hosts}, {trust}}}}}"#), &[]);
    for (host, anonymous, with_trust) in [
        ("localhost", 200, 200),
        ("127.0.0.1:1", 200, 200),
        ("pirn", 401, 200),
        ("pirn:81", 401, 200),
        ("queue:8080", 401, 200),
        ("queue", 421, 421),
        ("elsewhere", 421, 421),
    ] {
        assert_eq!(for_host(port, host), anonymous, "{host}");
        assert_eq!(for_host(trusted, host), with_trust, "{host}");
    }
}

#[test]
fn on_a_socket_too_the_host_is_this_machine() {
    let mut spool = Spool::new();
    let path = spool.beside("sock");
    spool.serve(&["--http", &format!("unix:{}", path.display())]);
    spool.wait_for("the socket", || path.exists());
    let status = |url: &str| {
        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--unix-socket",
        ]);
        spool.finish(curl.arg(&path).arg(url)).stdout
    };
    for (url, wanted) in [
        ("http://localhost/v1/jobs", "200"),
        ("http://127.0.0.1/v1/jobs", "200"),
        ("http://pirn.example/v1/jobs", "401"),
        ("http://pirn.example/healthz", "200"),
    ] {
        assert_eq!(status(url), wanted, "{url}");
    }
}

#[test]
fn trust_opens_an_address_and_lets_dialects_in() {
    let mut spool = Spool::new();
    fs::create_dir_all(spool.path()).unwrap();
    let config = r#"{"http": {"trust": [{"from": "127.0.0.0/8", "rights": ["read", "push"]}]}}"#;
    fs::write(spool.path().join("config.json"), config).unwrap();
    spool.serve(&["--http", "0.0.0.0:0"]);
    let port = spool.open_port();
    spool.script("hello.sh", "#!/bin/sh\necho hello\n");
    let done = post(port, "/scripts/hello.sh", "{}");
    assert_eq!(
        (done.status, done.json()["status"].as_str()),
        (200, Some("OK"))
    );
    let json = ["Content-Type: application/json"];
    let hq = ask(
        port,
        "POST",
        "/job",
        &json,
        r#"{"url": "http://127.0.0.1:1/"}"#,
    );
    assert_eq!(hq.status, 200, "{}", hq.text());
    let refused = post(port, "/v1/jobs", r#"{"command": "true"}"#);
    assert_eq!(refused.status, 401, "push is not run");
}

/// jobrunner's paths do not ask which host a request is for, where a password can protect them. A page that a trusted
/// machine shows must not profit from that.
#[test]
fn trust_lets_clients_of_jobrunner_in_by_known_names_only() {
    let mut spool = Spool::new();
    let command = jobrunner::command(&spool, "#!/bin/sh\n");
    let variables = [("JOBRUNNER_HTTP_LISTEN_ADDRESS", "0.0.0.0")];
    let daemon = || jobrunner::daemon(&spool, &command, &variables, &[]);
    let refused = spool.finish(&mut daemon());
    assert_eq!(refused.code, 78, "{}", refused.stderr);
    fs::create_dir_all(spool.path()).unwrap();
    let config = r#"{"http": {"hosts": ["runner"],
        "trust": [{"from": "127.0.0.1", "rights": ["push"]}]}}"#;
    fs::write(spool.path().join("config.json"), config).unwrap();
    let daemon = daemon();
    spool.serve_with(daemon);
    let port = spool.open_port();
    let status = |host: &str| {
        let body = r#"{"id": "1", "data": "eA=="}"#;
        let mut conn = Conn::to(port);
        conn.write(format!(
            "POST /payload HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        conn.reply().status
    };
    for (host, wanted) in [
        ("127.0.0.1:8080", 200),
        ("runner:8080", 200),
        ("evil.example", 401),
    ] {
        assert_eq!(status(host), wanted, "{host}");
    }
    assert_eq!(spool.ls("complete").len(), 2);
}

#[test]
fn mistakes_in_trust_are_named() {
    let (spool, port) = Spool::with_http("{}", &[]);
    for (trust, wanted) in [
        (
            r#"[{"user": "no-such-user", "rights": ["read"]}]"#,
            "no-such-user",
        ),
        (
            r#"[{"user": 65534, "rights": ["read"]}]"#,
            "name another user",
        ),
        (
            r#"[{"user": "", "rights": ["read"]}]"#,
            "http.trust[0].user",
        ),
        (
            r#"[{"user": -1, "rights": ["read"]}]"#,
            "http.trust[0].user",
        ),
        (
            r#"[{"from": "10.0.0.0/33", "rights": ["read"]}]"#,
            "10.0.0.0/33",
        ),
        (
            r#"[{"from": "::1", "rights": []}, {"rights": []}]"#,
            "http.trust[1].from",
        ),
        (r#"[{"from": "::1"}]"#, "http.trust[0].rights"),
        (r#"[{"from": "::1", "rights": ["write"]}]"#, "write"),
        (
            r#"[{"from": "::1", "user": 1, "rights": []}]"#,
            "two entries",
        ),
        (
            r#"[{"form": "::1", "rights": []}]"#,
            "did you mean \"from\"",
        ),
        (r#"{"from": "::1"}"#, "a list of objects"),
    ] {
        let file = spool.beside("settings");
        fs::write(&file, format!(r#"{{"http": {{"trust": {trust}}}}}"#)).unwrap();
        let check = spool.pirn(&["config", "check", file.to_str().unwrap()]);
        assert_eq!(check.code, 78, "{trust}");
        assert!(check.stderr.contains(wanted), "{trust}: {}", check.stderr);
        let serve = Spool::new().pirn(&["serve", "--config", file.to_str().unwrap()]);
        assert_eq!(serve.code, 78, "{trust}");
        assert!(serve.stderr.contains(wanted), "{trust}: {}", serve.stderr);
        fs::copy(&file, spool.path().join("config.json")).unwrap();
        let whoami: Value = get(port, "/v1/whoami").json();
        assert_eq!(whoami["rights"].as_array().unwrap().len(), 2, "{trust}");
    }
}
