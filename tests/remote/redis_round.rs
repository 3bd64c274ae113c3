//! Jobs that go over Redis from `pirn push` through `pirn pull` to `pirn result`.

use crate::redis_server::RedisServer;
use crate::spool::{Done, Spool, wait_for};
use redis::{Commands, Connection};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A bridge. It is killed when this is dropped.
struct Puller(Child);

impl Puller {
    fn start(spool: &Spool, target: &str) -> Self {
        Self(spool.spawn_logged(&mut spool.command(["pull", target])))
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        self.kill();
    }
}

fn connect(server: &RedisServer) -> Connection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_connection().unwrap()
}

/// A served spool that takes jobs from the queue `work` under the name `w`.
fn receiver(server: &RedisServer, lease: &str) -> Spool {
    let mut spool = Spool::made();
    let url = format!("{}#work", server.url());
    let config = json!({"remote": {"w": {"url": url, "lease": lease, "results": true, "slots": 2,
        "job": {"tries": 1}}}});
    fs::write(spool.path().join("config.json"), config.to_string()).unwrap();
    spool.serve(&[]);
    spool
}

/// Runs a bridge until the queue is empty. It does not wait long for more.
fn drain(spool: &Spool, url: &str) -> Done {
    let config = json!({"remote": {"d": {"url": url, "wait": "1s"}}});
    fs::write(spool.path().join("config.json"), config.to_string()).unwrap();
    spool.pirn(&["pull", "--drain", "d"])
}

fn push(spool: &Spool, server: &RedisServer, command: &str) -> String {
    let done = spool.pirn(&["push", &format!("{}#work", server.url()), command]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    done.stdout.trim().to_owned()
}

fn result(spool: &Spool, id: &str) -> Done {
    spool.pirn(&["result", "w", id, "--wait", "60s"])
}

#[test]
fn ends_come_back_to_the_sender() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut client = connect(&server);
    // A job that fails is not tried again.
    client
        .hset::<_, _, _, ()>("pirn:{work}:settings", "max", 1)
        .unwrap();
    let spool = receiver(&server, "1m");
    let good = push(&spool, &server, "echo $PIRN_ID");
    let bad = push(&spool, &server, "exit 3");
    let _puller = Puller::start(&spool, "w");
    let done = result(&spool, &good);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let record: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(record["output"], format!("{good}\n"));
    assert_eq!(record["id"], good);
    assert_eq!(result(&spool, &bad).code, 3);
    wait_for("the failed queue", || {
        connect(&server)
            .xlen::<_, usize>("pirn:{work}:failed")
            .unwrap()
            == 1
    });
    assert_eq!(client.xlen::<_, usize>("pirn:{work}").unwrap(), 0);
    assert!(spool.has(&format!("complete/{good}")) && spool.has(&format!("failed/{bad}")));
}

#[test]
fn another_machine_takes_the_job_of_one_that_died() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let mut first = receiver(&server, "2s");
    let log = first.beside("starts");
    let id = push(
        &first,
        &server,
        &format!(
            "echo $PIRN_SPOOL >> {}; test -e {}-go || exec sleep 60",
            log.display(),
            log.display()
        ),
    );
    let mut bridge = Puller::start(&first, "w");
    first.wait_for("the start", || log.exists());
    // The machine dies: its bridge, its daemon and its job.
    bridge.kill();
    let pid = first.wait_note(&id)["pid"].as_i64().unwrap();
    first.crash();
    let killed = Command::new("kill")
        .args(["-KILL", "--", &format!("-{pid}")])
        .status();
    assert!(killed.unwrap().success());
    fs::write(format!("{}-go", log.display()), "").unwrap();

    let second = receiver(&server, "2s");
    let _puller = Puller::start(&second, "w");
    assert_eq!(result(&second, &id).code, 0);
    assert!(second.has(&format!("complete/{id}")));
    let starts = fs::read_to_string(log).unwrap();
    let expected = format!("{}\n{}\n", first.path().display(), second.path().display());
    assert_eq!(starts, expected);
}

#[test]
fn a_restart_of_the_server_loses_and_doubles_nothing() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let spool = receiver(&server, "1m");
    let log = spool.beside("starts");
    let line = |n: usize| format!("echo {n} >> {}; sleep 0.3", log.display());
    let ids: Vec<_> = (0..6).map(|n| push(&spool, &server, &line(n))).collect();
    let _puller = Puller::start(&spool, "w");
    spool.wait_for("the first", || log.exists());
    server.crash();
    spool.wait_record(&format!("complete/{}", ids[0]));
    server.restart();
    for id in &ids {
        assert_eq!(result(&spool, id).code, 0, "{id}");
    }
    let text = fs::read_to_string(log).unwrap();
    let mut starts: Vec<&str> = text.lines().collect();
    starts.sort_unstable();
    assert_eq!(starts, ["0", "1", "2", "3", "4", "5"]);
    wait_for("the stream to be empty", || {
        connect(&server).xlen::<_, usize>("pirn:{work}").unwrap() == 0
    });
}

#[test]
fn a_server_that_refuses_us_is_told_from_one_that_is_away() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let spool = Spool::serving(&[]);
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("requirepass").arg("good");
    set.exec(&mut connect(&server)).unwrap();
    let url = |user: &str| format!("redis://{user}127.0.0.1:{}#q", server.port);
    for user in ["", ":bad@", "nobody:bad@"] {
        let done = drain(&spool, &url(user));
        assert_eq!(done.code, 78, "{}", done.stderr);
        assert!(!done.stderr.contains("bad"), "{}", done.stderr);
    }
    let good = url(":good@");
    let done = drain(&spool, &good);
    assert_eq!(done.code, 0, "{}", done.stderr);
    server.crash();
    let done = drain(&spool, &good);
    assert_eq!(done.code, 75, "{}", done.stderr);
}

const CERTIFICATES: &str = "
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca
openssl req -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem -subj /CN=localhost
printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > ext
openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile ext
";

/// Redis with TLS on a port, and with a socket in the file system.
fn secured(dir: &Path) -> Option<(Puller, u16)> {
    // This one only says whether there is a redis-server.
    drop(RedisServer::start()?);
    let mut openssl = Command::new("sh");
    openssl.args(["-ec", CERTIFICATES]).current_dir(dir);
    let made = openssl.stderr(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: openssl is not installed");
        return None;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut server = Command::new("redis-server");
    server.args(["--port", "0", "--save", "", "--unixsocket", "redis.sock"]);
    server.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
    server.args(["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"]);
    server.args(["--tls-ca-cert-file", "ca.pem"]);
    server.current_dir(dir).stdout(Stdio::null());
    let server = Puller(server.spawn().unwrap());
    wait_for("redis-server", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Some((server, port))
}

#[test]
fn over_tls_and_over_a_socket() {
    let spool = Spool::serving(&[]);
    let dir = spool.beside("");
    let Some((_server, port)) = secured(&dir) else {
        return;
    };
    let push = |url: &str, ca: &Path| {
        let mut push = spool.command(["push", url, "true"]);
        spool.finish(push.env("SSL_CERT_FILE", ca))
    };
    let ours = dir.join("ca.pem");
    let done = push(&format!("rediss://localhost:{port}#q"), &ours);
    assert_eq!(done.code, 0, "{}", done.stderr);
    // Neither a name that is not in the certificate, nor an authority that is not trusted.
    for (host, ca) in [("127.0.0.1", &ours), ("localhost", &dir.join("cert.pem"))] {
        let done = push(&format!("rediss://{host}:{port}#q"), ca);
        assert_eq!((done.code, done.stdout.as_str()), (75, ""));
        assert!(done.stderr.contains("certificate"), "{}", done.stderr);
    }
    let socket = format!("redis+unix://{}/redis.sock#q", dir.display());
    assert_eq!(push(&socket, &ours).code, 0);
    // This server forgets all when it stops.
    let done = drain(&spool, &socket);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("appendonly yes"), "{}", done.stderr);
    assert_eq!(spool.ls("complete").len(), 2);
    let missing = format!("redis+unix://{}/none.sock#q", dir.display());
    assert_eq!(push(&missing, &ours).code, 75);
}
