//! Proving a new binary: it is run once as a child, and must read the options and settings of this daemon.

use crate::core::process::{Exit, Stop};
use crate::os::limits::Limit;
use crate::os::{signals, spawn, wait};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// A binary that can serve this spool.
#[derive(Debug)]
pub struct Proven {
    /// The files that it was proven with.
    pub files: Files,
    /// It is older than 0.2.0.
    pub is_old: bool,
}

/// The binary and the settings, as they were at one moment: inode, time of change (seconds, nanoseconds), size.
pub type Files = [Option<(u64, i64, i64, u64)>; 2];

/// A binary to prove.
#[derive(Debug)]
pub struct Proof {
    /// The spool.
    pub spool: PathBuf,
    /// The config, if it is not `config.json` in the spool.
    pub config: Option<PathBuf>,
    /// Where the config is.
    pub settings: PathBuf,
}

/// How long the new binary may take to answer.
const PROVEN_WITHIN: Duration = Duration::from_secs(10);

/// How much it may write.
const MOST_OF_AN_ANSWER: u64 = 65536;

impl Proof {
    /// The binary and the settings as they are now.
    pub fn files(&self) -> Files {
        [&program(), &self.settings].map(|path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.size()))
        })
    }

    /// Runs the new binary; else says why it cannot take over.
    pub fn run(&self) -> Result<Proven, String> {
        let files = self.files();
        let word = |text: &str| OsString::from(text);
        let version = answer(vec![word("--version")])?;
        let Some(number) = version.strip_prefix("pirn ") else {
            return Err("it does not say that it is pirn".to_owned());
        };
        let is_old = number.starts_with("0.1.");
        let mut question = vec![word("--prove")];
        if is_old {
            question = vec![word("--spool"), self.spool.clone().into()];
            question.extend([word("config"), word("check")]);
            question.extend(self.config.clone().map(OsString::from));
        } else {
            question.extend(std::env::args_os().skip(1));
        }
        answer(question)?;
        Ok(Proven { files, is_old })
    }
}

/// Runs the new binary with these arguments and gives its output. Errors: why it does not exit with 0.
fn answer(words: Vec<OsString>) -> Result<String, String> {
    let said = |e: std::io::Error| e.to_string();
    let path = program();
    let texts = |words: Vec<OsString>| -> Vec<String> {
        let texts = words.iter().map(|word| word.to_string_lossy().into_owned());
        texts.collect()
    };
    let env = std::env::vars_os().map(|(key, value)| [key, value].join("=".as_ref()));
    let cwd = std::env::current_dir().map_err(said)?;
    let argv = std::iter::once(path.clone().into()).chain(words);
    let launch = spawn::Launch::new(
        &path.to_string_lossy(),
        &texts(argv.collect()),
        &texts(env.collect()),
        &cwd.to_string_lossy(),
    );
    let mut launch = launch.map_err(said)?;
    // Its output is kept in memory: a program that never stops writing must not fill that.
    launch.limits = Limit::new("fsize", Some(MOST_OF_AN_ANSWER))
        .into_iter()
        .collect();
    let mut output = spawn::memory_file(b"").map_err(said)?;
    let null = File::open("/dev/null").map_err(said)?;
    let started = launch.start([null.as_fd(), output.as_fd(), output.as_fd()], None);
    let (pid, process) = started.map_err(|e| e.to_string())?;
    let in_time = process.wait_for(PROVEN_WITHIN);
    if !in_time {
        signals::signal_group(pid, Stop::Kill);
    }
    let ended = wait::end_of(pid);
    wait::reap(pid);
    let mut text = Vec::new();
    let read = output
        .rewind()
        .and_then(|()| (&output).take(4096).read_to_end(&mut text));
    read.map_err(said)?;
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    match ended.map_err(said)?.exit {
        _ if !in_time => Err(format!("it does not answer within {PROVEN_WITHIN:?}")),
        Exit::Code(0) => Ok(text),
        Exit::Code(code) => Err(format!("it exits with {code}: {text}")),
        Exit::Signal(signal) => Err(format!("signal {signal} ends it")),
        Exit::Lost => Err("how it ends is not known".to_owned()),
    }
}

/// The binary to become: the file that this process was started from, or what has replaced it.
pub fn program() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let text = exe.to_string_lossy();
    text.strip_suffix(" (deleted)")
        .map_or_else(|| exe.clone(), Into::into)
}
