//! `pirn qdone` in tests: its environment, and what the real qdone said.

use crate::ask::Asker;
use crate::spool::{Done, Spool};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A user of qdone, with a home directory of their own and a server.
pub struct Qdone {
    pub spool: Spool,
    pub sqs: Asker,
    port: u16,
}

impl Qdone {
    /// Uses the server at this port of the loopback.
    pub fn at(port: u16) -> Self {
        Self {
            spool: Spool::new(),
            sqs: Asker(port),
            port,
        }
    }

    /// `pirn qdone` with these arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.spool.command(["qdone"]);
        command.args(args);
        self.equip(&mut command);
        command
    }

    /// Gives a command the environment of this user: the keys, and no files but in their home.
    pub fn equip(&self, command: &mut Command) {
        let aws =
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"AWS_"));
        for (name, _) in aws {
            command.env_remove(name);
        }
        command
            .env("HOME", self.spool.beside("home"))
            .env("XDG_CACHE_HOME", self.spool.beside("cache"))
            .env("XDG_STATE_HOME", self.spool.beside("state"))
            .env("PIRN_QDONE_SPOOLS", self.spool.beside("own"))
            .env(
                "AWS_ENDPOINT_URL",
                format!("http://127.0.0.1:{}", self.port),
            )
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env(
                "AWS_SECRET_ACCESS_KEY",
                "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            )
            .stdin(Stdio::null());
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Done {
        self.spool.finish(&mut self.command(args))
    }

    /// Runs it to its end with this text on its standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Done {
        let path = self.spool.beside("input");
        std::fs::write(&path, input).unwrap();
        let file = std::fs::File::open(path).unwrap();
        self.spool.finish(self.command(args).stdin(file))
    }

    /// Runs it; it must succeed. Gives stdout and stderr.
    pub fn ok(&self, args: &[&str]) -> (String, String) {
        let done = self.run(args);
        assert_eq!(done.code, 0, "qdone {args:?}: {}", done.stderr);
        (done.stdout, done.stderr)
    }
}

/// The answer of the real qdone in one of the captures.
pub fn captured(name: &str) -> Value {
    static ALL: OnceLock<Value> = OnceLock::new();
    let read = || serde_json::from_str(include_str!("captures/qdone.json")).unwrap();
    let capture = ALL.get_or_init(read)[name].clone();
    assert!(capture.is_object(), "there is no capture {name}");
    capture
}

/// Compares with what the real qdone said, but for ids, times and the address of the server.
pub fn assert_as_captured(name: &str, done: &Done) {
    let capture = captured(name);
    let text = |key: &str| capture[key].as_str().unwrap().to_owned();
    assert_eq!(mask(&done.stderr), mask(&text("stderr")), "{name}: stderr");
    match text("stdout").as_str() {
        // Its own words are free.
        "USAGE" => assert!(
            done.stdout.to_lowercase().contains("usage: "),
            "{name}: {}",
            done.stdout
        ),
        stdout => assert_eq!(mask(&done.stdout), mask(stdout), "{name}: stdout"),
    }
    assert_eq!(done.code.to_string(), text("rc"), "{name}");
}

/// Puts one word for each id, time and port.
pub fn mask(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '_');
    let mut masked = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        masked.push_str(&mask_word(word));
        let next = after.chars().next().map_or(0, char::len_utf8);
        masked.push_str(&after[..next]);
        rest = &after[next..];
    }
    masked
}

fn mask_word(word: &str) -> String {
    let shape: String = word
        .chars()
        .map(|c| if c.is_ascii_hexdigit() { 'x' } else { c })
        .collect();
    let is_uuid = shape == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    let is_time = word.len() == 24 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    match word.strip_prefix("127.0.0.1:") {
        Some(_) => "SERVER".to_owned(),
        None if is_uuid => "ID".to_owned(),
        None if is_time => "TIME".to_owned(),
        None => word.to_owned(),
    }
}
