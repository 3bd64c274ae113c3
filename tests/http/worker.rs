//! A server that jobs call: it keeps what it was sent, and answers as it is told.

use crate::spool::wait_for;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Sent {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// The header, line by line.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Sent {
    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of_name = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        let fields = self.headers.iter().filter(of_name);
        fields.map(|(_, value)| value.as_str()).collect()
    }

    pub fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name}: {self:?}");
        all[0]
    }
}

#[derive(Default)]
struct State {
    sent: Vec<Sent>,
    answers: VecDeque<Vec<u8>>,
}

/// The server. It listens until the test is over.
pub struct Worker {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Worker {
    /// Answers with these, in this order, and with `200 ok` when they are used up.
    pub fn with<A: AsRef<[u8]>>(answers: &[A]) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), answers)
    }

    pub fn at<A: AsRef<[u8]>>(listener: TcpListener, answers: &[A]) -> Self {
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let queue = answers.iter().map(|a| a.as_ref().to_vec());
        state.lock().unwrap().answers = queue.collect();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { port, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.state.lock().unwrap().sent.clone()
    }

    /// Waits until so many requests have come.
    pub fn wait(&self, count: usize) -> Vec<Sent> {
        wait_for("the requests", || self.sent().len() >= count);
        self.sent()
    }
}

/// An answer with this status, these header lines and this body.
pub fn answer(status: &str, lines: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for line in lines {
        text.push_str(&format!("{line}\r\n"));
    }
    format!("{text}\r\n{body}").into_bytes()
}

/// One connection, one request; the answer `hang` never comes.
fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let Some(sent) = read(&mut stream) else {
        return;
    };
    let answer = {
        let mut state = state.lock().unwrap();
        state.sent.push(sent);
        state.answers.pop_front()
    };
    let answer = answer.unwrap_or_else(|| self::answer("200 OK", &[], "ok"));
    if answer == b"hang" {
        let _ = stream.read(&mut [0]);
        return;
    }
    let _ = stream.write_all(&answer);
}

fn read(stream: &mut TcpStream) -> Option<Sent> {
    let mut bytes = Vec::new();
    let mut more = |bytes: &mut Vec<u8>| {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).unwrap_or(0);
        bytes.extend_from_slice(&buffer[..n]);
        n > 0
    };
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if !more(&mut bytes) {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let fields = lines.map(|line| line.split_once(':').unwrap());
    let headers: Vec<_> = fields
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < end + 4 + length {
        assert!(more(&mut bytes), "the body was cut off");
    }
    let body = String::from_utf8(bytes.split_off(end + 4)).unwrap();
    Some(Sent {
        line,
        headers,
        body,
    })
}
