//! jobrunner's environment variables.

use crate::core::id::QueueName;
use crate::http::wire::listen::Address;
use crate::os::spawn;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use subtle::ConstantTimeEq;

/// The values of the variables.
#[derive(Clone)]
pub struct Settings {
    /// The command, found in `PATH`.
    pub program: String,
    /// The queue that payloads wait in.
    pub queue: QueueName,
    /// Payloads that run at a time, unless the settings give the queue other slots.
    pub workers: usize,
    /// The address to listen at.
    pub address: Address,
    /// The environment of the command, without the variables of its request.
    pub env: BTreeMap<String, String>,
    /// The directory in which it is started.
    pub cwd: String,
    password: Password,
}

/// The SHA-256 of a password, so that the time of a comparison says nothing. Whether it is empty is no secret.
#[derive(Clone)]
struct Password {
    hash: [u8; 32],
    is_empty: bool,
}

impl Password {
    fn new(text: &[u8]) -> Self {
        let begin = text.iter().position(|byte| !is_line_end(*byte));
        let end = text.iter().rposition(|byte| !is_line_end(*byte));
        let text = match (begin, end) {
            (Some(begin), Some(end)) => &text[begin..=end],
            (_, _) => b"",
        };
        Self {
            hash: Sha256::digest(text).into(),
            is_empty: text.is_empty(),
        }
    }
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// The queue that payloads wait in.
const QUEUE: &str = "jobrunner";

/// The variable with the password, which the command does not get.
const PASSWORD: &str = "JOBRUNNER_PASSWORD";

impl Settings {
    /// Reads the variables out of the environment, the rest of which is the command's. Errors are sentences.
    pub fn read(mut env: BTreeMap<String, String>, cwd: String) -> Result<Self, String> {
        let password = env.remove(PASSWORD).unwrap_or_default();
        env.retain(|key, _| !key.starts_with("PIRN_") && key != "NOTIFY_SOCKET");
        let get = |key: &str| env.get(key).map(String::as_str).filter(|v| !v.is_empty());
        let command = get("JOBRUNNER_CMD").ok_or("JOBRUNNER_CMD is empty")?;
        let workers = get("JOBRUNNER_NUM_WORKERS").unwrap_or("3");
        let workers = workers.parse().ok().filter(|n| (1..=10_000).contains(n));
        let workers = workers.ok_or("JOBRUNNER_NUM_WORKERS: expected a number from 1 to 10000")?;
        let program = find(command, get("PATH").unwrap_or_default(), &cwd)
            .map_err(|e| format!("JOBRUNNER_CMD: cannot execute {command}: {e}"))?;
        let host = get("JOBRUNNER_HTTP_LISTEN_ADDRESS").unwrap_or("127.0.0.1");
        let ip = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => host.parse().map_err(|_| {
                format!("JOBRUNNER_HTTP_LISTEN_ADDRESS: expected an IP address, got {host:?}")
            })?,
        };
        let port = get("JOBRUNNER_HTTP_LISTEN_PORT").unwrap_or("8080");
        let port = port.parse().map_err(|_| {
            format!("JOBRUNNER_HTTP_LISTEN_PORT: expected a port number, got {port:?}")
        })?;
        Ok(Self {
            program,
            queue: QueueName::new(QUEUE).map_err(|e| e.to_string())?,
            workers,
            address: Address::Tcp(SocketAddr::new(ip, port)),
            password: Password::new(password.as_bytes()),
            env,
            cwd,
        })
    }

    /// True if there is a password.
    pub fn has_password(&self) -> bool {
        !self.password.is_empty
    }

    /// True if this is the password. If there is none, the client must show none.
    pub fn opens(&self, shown: &[u8]) -> bool {
        self.password.hash.ct_eq(&Password::new(shown).hash).into()
    }
}

/// The program's path from the root. Errors: it is not there, or cannot be executed.
fn find(command: &str, path: &str, cwd: &str) -> std::io::Result<String> {
    let absolute = |path: &str| spawn::path_text(&std::path::Path::new(cwd).join(path));
    match command.contains('/') {
        // A directory of its own: found there or nowhere.
        true => {
            let (dir, name) = command.rsplit_once('/').unwrap_or_default();
            spawn::find_program(name, &format!("{}/", absolute(dir)), "/")?;
            Ok(absolute(command))
        }
        false => spawn::find_program(command, path, cwd),
    }
}

/// Without the password's hash.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("program", &self.program)
            .field("workers", &self.workers)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let env = [("JOBRUNNER_CMD", "sh"), ("PATH", "/nowhere:/bin")];
        let env = env.iter().chain(pairs);
        let env = env
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Settings::read(env, "/".to_owned())
    }

    #[test]
    fn defaults() {
        let settings = read(&[]).unwrap();
        assert_eq!(
            (settings.program.as_str(), settings.workers),
            ("/bin/sh", 3)
        );
        assert_eq!(settings.address.to_string(), "127.0.0.1:8080");
        assert!(!settings.has_password() && settings.opens(b"\r\n") && !settings.opens(b"x"));
    }

    #[test]
    fn all_set() {
        let settings = read(&[
            ("JOBRUNNER_CMD", "/bin/sh"),
            ("JOBRUNNER_NUM_WORKERS", "7"),
            ("JOBRUNNER_PASSWORD", "se cret\n"),
            ("JOBRUNNER_HTTP_LISTEN_ADDRESS", "::1"),
            ("JOBRUNNER_HTTP_LISTEN_PORT", "9"),
        ])
        .unwrap();
        assert_eq!(
            (settings.program.as_str(), settings.workers),
            ("/bin/sh", 7)
        );
        assert_eq!(settings.address.to_string(), "[::1]:9");
        assert!(settings.has_password() && settings.opens(b"se cret") && !settings.opens(b""));
        assert!(!settings.env.contains_key("JOBRUNNER_PASSWORD"));
        assert!(!format!("{settings:?}").contains("cret"));
    }

    #[test]
    fn mistakes() {
        for (key, value, words) in [
            ("JOBRUNNER_CMD", "", "JOBRUNNER_CMD is empty"),
            ("JOBRUNNER_CMD", "/bin", "cannot execute"),
            ("JOBRUNNER_CMD", "/etc/passwd", "cannot execute"),
            ("JOBRUNNER_CMD", "no-such-program", "cannot execute"),
            ("JOBRUNNER_NUM_WORKERS", "many", "JOBRUNNER_NUM_WORKERS"),
            ("JOBRUNNER_NUM_WORKERS", "0", "JOBRUNNER_NUM_WORKERS"),
            ("JOBRUNNER_HTTP_LISTEN_ADDRESS", "here", "LISTEN_ADDRESS"),
            ("JOBRUNNER_HTTP_LISTEN_PORT", "99999", "LISTEN_PORT"),
        ] {
            let error = read(&[(key, value)]).unwrap_err();
            assert!(error.contains(words), "{key}={value}: {error}");
        }
    }
}
