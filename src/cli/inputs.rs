//! The parts of a job that come from the process that adds it: environment, directory, files, standard input.

use super::exit::{BAD_DATA, FAILURE, Failure, NO_INPUT, USAGE};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek};
use std::os::fd::AsFd;

/// Variables that pirn sets for its jobs. A job that adds another job does not pass them on.
const OWN_VARIABLES: [&str; 12] = [
    "PIRN_ID",
    "PIRN_PID",
    "PIRN_QUEUE",
    "PIRN_ATTEMPT",
    "PIRN_SLOT",
    "PIRN_QUEUE_SLOT",
    "PIRN_SPOOL",
    "PIRN_STORE",
    "PIRN_TMP",
    "PIRN_OUT",
    "PIRN_PROGRESS",
    "PIRN_LOCK_FD",
];

/// The caller's environment without pirn's own variables, unless it is to be `clean`, and the variables in `set`.
pub fn environment(set: &[String], clean: bool) -> Result<BTreeMap<String, String>, Failure> {
    let mut env = if clean { BTreeMap::new() } else { inherited() };
    for entry in set {
        let wrong = |what| Failure::new(USAGE, format!("--env {entry}: {what}"));
        let (key, value) = match entry.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (entry.as_str(), std::env::var(entry).ok()),
        };
        if key.is_empty() {
            return Err(wrong("a variable needs a name"));
        }
        let value = value.ok_or_else(|| wrong("there is no such variable here"))?;
        env.insert(key.to_owned(), value);
    }
    Ok(env)
}

fn inherited() -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (key, value) in std::env::vars_os() {
        match (key.into_string(), value.into_string()) {
            (Ok(key), Ok(value)) => {
                if key != "_" && !OWN_VARIABLES.contains(&key.as_str()) {
                    env.insert(key, value);
                }
            }
            (key, _) => eprintln!("pirn: variable {key:?} is not UTF-8 and is not passed on"),
        }
    }
    env
}

/// The directory for the job: this one, or `cwd`, which may be relative to it.
pub fn directory(cwd: Option<String>) -> Result<String, Failure> {
    let here = || {
        std::env::current_dir()
            .map_err(|e| Failure::new(FAILURE, format!("the current directory: {e}")))
    };
    let path = match cwd {
        Some(dir) => here()?.join(dir),
        None => here()?,
    };
    path.into_os_string().into_string().map_err(|path| {
        let path = path.to_string_lossy();
        let what = format!("the directory {path} is not UTF-8; use --cwd");
        Failure::new(FAILURE, what)
    })
}

/// Reads standard input to its end.
pub fn stdin() -> Result<Vec<u8>, Failure> {
    tell_typed();
    read(&mut io::stdin().lock(), "standard input")
}

/// Says that standard input is read, and how it ends, if that is somebody who types.
pub fn tell_typed() {
    if io::stdin().is_terminal() {
        eprintln!("pirn: reading standard input; ^D on a line of its own ends it");
    }
}

/// Warns of a file on standard input, of which nothing has been read: the user may think that the job gets it. In a shell
/// loop over its lines, the shell has read from it.
pub fn tell_unread() {
    let is_unread = || -> io::Result<bool> {
        let mut file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let look = file.metadata()?;
        Ok(look.is_file() && look.len() > 0 && file.stream_position()? == 0)
    };
    if is_unread().unwrap_or(false) {
        eprintln!(
            "pirn: standard input is a file, which the job does not get; --stdin - gives it to the job"
        );
    }
}

/// Reads a file.
pub fn file(path: &str) -> Result<Vec<u8>, Failure> {
    let mut file = File::open(path).map_err(|e| Failure::new(NO_INPUT, format!("{path}: {e}")))?;
    read(&mut file, path)
}

/// The most that a record takes in. A job opens larger files itself.
const MAX_INLINE: u64 = 16 << 20;

fn read(source: &mut impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    source
        .take(MAX_INLINE + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::new(FAILURE, format!("{name}: {e}")))?;
    if bytes.len() as u64 > MAX_INLINE {
        let what = format!("{name}: more than {MAX_INLINE} bytes; let the job read it itself");
        return Err(Failure::new(BAD_DATA, what));
    }
    Ok(bytes)
}
