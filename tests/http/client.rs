//! A client that does nothing by itself: what is sent is written out, and answers are taken apart strictly.

use crate::spool::{DEADLINE, Spool, write_program};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A connection.
pub struct Conn {
    stream: TcpStream,
    input: Vec<u8>,
    host: String,
}

impl Conn {
    pub fn to(port: u16) -> Self {
        Self::at(([127, 0, 0, 1], port).into())
    }

    pub fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            input: Vec::new(),
            host: address.to_string(),
        }
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// As `write`, for when the server may hang up meanwhile.
    pub fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Writes a request with these header lines (`"A: b"`).
    pub fn ask(&mut self, method: &str, target: &str, lines: &[&str], body: &str) {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for line in lines {
            text.push_str(&format!("{line}\r\n"));
        }
        if !body.is_empty() || method == "POST" || method == "PUT" {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.write(format!("{text}\r\n{body}"));
    }

    /// More input; false at the end.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let n = loop {
            match self.stream.read(&mut buffer) {
                Ok(n) => break n,
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => break 0,
                // The test was stopped and continued: with a time limit, the system does not go on by itself.
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => panic!("no answer: {e}"),
            }
        };
        self.input.extend_from_slice(&buffer[..n]);
        n > 0
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            if !self.more() {
                assert!(self.input.is_empty(), "cut off: {:?}", self.input);
                return None;
            }
        }
    }

    /// So many bytes.
    fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.input.len() < n {
            assert!(
                self.more(),
                "cut off after {} of {n} bytes",
                self.input.len()
            );
        }
        self.input.drain(..n).collect()
    }

    /// The head of the next answer; `None` if the connection has ended instead.
    pub fn head(&mut self) -> Option<Reply> {
        let first = self.line()?;
        let status = first.strip_prefix("HTTP/1.1 ").unwrap()[..3]
            .parse()
            .unwrap();
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line().unwrap();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            let old = headers.insert(name.to_ascii_lowercase(), value.to_owned());
            assert_eq!(old, None, "{name} twice");
        }
        Some(Reply {
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// One chunk; empty at the end of the body.
    pub fn chunk(&mut self) -> Vec<u8> {
        let line = self.line().expect("a chunk");
        let n = usize::from_str_radix(&line, 16).unwrap();
        let bytes = self.exactly(n);
        assert_eq!(self.exactly(2), b"\r\n");
        bytes
    }

    /// The next answer with its body.
    pub fn reply_to(&mut self, method: &str) -> Option<Reply> {
        let mut reply = self.head()?;
        if method == "HEAD" || matches!(reply.status, 100 | 204 | 304) {
            return Some(reply);
        }
        if let Some(length) = reply.headers.get("content-length") {
            reply.body = self.exactly(length.parse().unwrap());
        } else if reply.header("transfer-encoding") == "chunked" {
            loop {
                let chunk = self.chunk();
                if chunk.is_empty() {
                    break;
                }
                reply.body.extend(chunk);
            }
        } else {
            while self.more() {}
            reply.body = std::mem::take(&mut self.input);
        }
        Some(reply)
    }

    pub fn reply(&mut self) -> Reply {
        self.reply_to("GET").expect("an answer")
    }

    /// The answer, if one comes within a moment.
    pub fn try_reply(&mut self) -> Option<Reply> {
        let moment = std::time::Duration::from_millis(500);
        self.stream.set_read_timeout(Some(moment)).unwrap();
        let is_there = self.stream.peek(&mut [0]).is_ok_and(|n| n > 0);
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        is_there.then(|| self.reply())
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Waits for the server to hang up; nothing more may come.
    pub fn assert_closed(&mut self) {
        assert!(!self.more() && self.input.is_empty(), "{:?}", self.input);
    }

    /// The next event of a stream in chunks: its fields, comments left out. `None` at the end.
    pub fn event(&mut self, text: &mut String) -> Option<BTreeMap<String, String>> {
        loop {
            while let Some((event, rest)) = text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                *text = rest;
                let mut fields: BTreeMap<String, String> = BTreeMap::new();
                for (name, value) in event.lines().filter_map(|line| line.split_once(": ")) {
                    fields
                        .entry(name.to_owned())
                        .and_modify(|old| *old = format!("{old}\n{value}"))
                        .or_insert_with(|| value.to_owned());
                }
                if !fields.is_empty() {
                    return Some(fields);
                }
            }
            let chunk = self.chunk();
            if chunk.is_empty() {
                assert_eq!(text, "");
                return None;
            }
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

/// What callers on this machine may do in most tests.
pub const ANYBODY_MAY_RUN: &str = r#"{"http": {"anonymous": ["read", "run", "admin"]}}"#;

impl Spool {
    /// A spool with a daemon that answers HTTP; gives the port.
    pub fn with_http(config: &str, args: &[&str]) -> (Self, u16) {
        let mut spool = Self::new();
        fs::create_dir_all(spool.path()).unwrap();
        fs::write(spool.path().join("config.json"), config).unwrap();
        let port = spool.serve_http(args);
        (spool, port)
    }

    /// Starts a daemon that answers HTTP.
    pub fn serve_http(&mut self, args: &[&str]) -> u16 {
        let known = self.ports().len();
        self.serve(&[&["--http", "127.0.0.1:0"], args].concat());
        self.wait_for("the door to open", || self.ports().len() > known);
        self.ports()[known]
    }

    /// A thread of the daemon whose name, with the line end behind it, begins so.
    pub fn thread(&self, name: &str) -> u32 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.daemon_pid().unwrap())).unwrap();
        let is_it = |task: &fs::DirEntry| {
            let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            comm.starts_with(name)
        };
        let task = tasks.flatten().find(is_it).unwrap();
        task.file_name().to_str().unwrap().parse().unwrap()
    }

    /// The ports of 127.0.0.1 that daemons of this spool have listened on, in order.
    pub fn ports(&self) -> Vec<u16> {
        let log = self.daemon_log();
        log.lines()
            .filter_map(|line| line.split_once("listening on 127.0.0.1:"))
            .map(|(_, port)| port.trim().parse().unwrap())
            .collect()
    }

    /// The port of a daemon that listens on 0.0.0.0, once it does.
    pub fn open_port(&self) -> u16 {
        let port = || {
            let log = self.daemon_log();
            let (_, rest) = log.split_once("listening on 0.0.0.0:")?;
            rest.split_whitespace().next()?.parse().ok()
        };
        self.wait_for("the door to open", || port().is_some());
        port().unwrap()
    }

    /// Puts a program into `scripts/`.
    pub fn script(&self, name: &str, text: &str) {
        let path = self.path().join("scripts").join(name);
        write_program(&path, text);
    }
}

/// Asks once on a connection of its own.
pub fn ask(port: u16, method: &str, target: &str, lines: &[&str], body: &str) -> Reply {
    let mut conn = Conn::to(port);
    conn.ask(
        method,
        target,
        &[lines, &["Connection: close"]].concat(),
        body,
    );
    let reply = conn.reply_to(method).expect("an answer");
    conn.assert_closed();
    reply
}

pub fn get(port: u16, target: &str) -> Reply {
    ask(port, "GET", target, &[], "")
}

pub fn post(port: u16, target: &str, body: &str) -> Reply {
    ask(port, "POST", target, &[], body)
}
