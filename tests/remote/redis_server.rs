//! A Redis server of its own for a test. Without redis-server the tests that need it are skipped.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The server. It is killed when this is dropped.
pub struct RedisServer {
    child: Child,
    pub port: u16,
    dir: tempfile::TempDir,
}

impl RedisServer {
    /// A server that keeps each change before it answers; `None` if there can be none, which is said.
    pub fn start() -> Option<Self> {
        static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
        if let Err(why) = FOUND.get_or_init(find) {
            eprintln!("skipped: {why}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        // Another process may take the port before the server has it.
        (0..5)
            .find_map(|_| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let port = listener.local_addr().unwrap().port();
                drop(listener);
                Some((launch(port, dir.path())?, port))
            })
            .map(|(child, port)| Self { child, port, dir })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server as a crash would.
    pub fn crash(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at the same port, with what it had kept.
    pub fn restart(&mut self) {
        self.child = launch(self.port, self.dir.path()).unwrap();
    }

    /// Freezes it (`STOP`) or lets it go on (`CONT`).
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let signal = format!("-{signal}");
        let sent = Command::new("kill").args([&signal, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Starts a server and waits until it has loaded what it had kept; `None` if it ends instead.
fn launch(port: u16, dir: &Path) -> Option<Child> {
    let port_text = port.to_string();
    let mut child = Command::new("redis-server")
        .args(["--port", &port_text, "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while !has_loaded(port) {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        assert!(Instant::now() < end, "redis-server does not answer");
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(child)
}

/// True if the server at this port answers, and not only that it is loading.
fn has_loaded(port: u16) -> bool {
    let ask = || -> io::Result<[u8; 5]> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer == *b"+PONG")
}

/// Looks for redis-server, and installs it where that is allowed.
fn find() -> Result<(), String> {
    let is_there = || {
        Command::new("redis-server")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if is_there() {
        return Ok(());
    }
    let install = "apt-get install -y --no-install-recommends redis-server >/dev/null 2>&1 || \
                   { apt-get update && apt-get install -y --no-install-recommends redis-server; } >/dev/null 2>&1";
    let _ = Command::new("sh").args(["-c", install]).status();
    match is_there() {
        true => Ok(()),
        false => Err("there is no redis-server, and it cannot be installed".to_owned()),
    }
}
