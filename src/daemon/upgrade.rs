//! SIGUSR2: becoming the new binary in place. Children stay ours, the lock stays locked, and the next image finds
//! the running jobs by their notes.
//!
//! The new binary is proven first: it is run once as a child, and must read the options and settings of this daemon.
//! After the exec nothing is left of the settings in force, so that what it cannot read would end the daemon.

use super::committer;
use super::engine::Engine;
use super::launch;
use crate::core::id::JobId;
use crate::core::process::{Exit, Stop};
use crate::core::scheduler::{Event, Scheduler};
use crate::os::wait::{self, PidFd};
use crate::os::{signals, spawn};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// How far an upgrade has come.
#[derive(Debug)]
pub enum Upgrade {
    /// None was asked for.
    No,
    /// The new binary is being proven; the daemon works as ever.
    Proving,
    /// Nothing is started any more, and the exec follows once what is being started or recorded is.
    Proven(Proven),
}

impl Upgrade {
    /// True when nothing is to be started any more.
    pub fn is_proven(&self) -> bool {
        matches!(self, Self::Proven(_))
    }
}

/// A binary that can serve this spool.
#[derive(Debug)]
pub struct Proven {
    /// The files that it was proven with.
    files: Files,
    /// It is older than 0.2.0.
    is_old: bool,
}

/// The binary and the settings, as they were at one moment: inode, time of change (seconds, nanoseconds), size.
type Files = [Option<(u64, i64, i64, u64)>; 2];

/// A binary to prove.
#[derive(Debug)]
pub struct Proof {
    spool: PathBuf,
    /// The config, if it is not `config.json` in the spool.
    config: Option<PathBuf>,
    /// Where the config is.
    settings: PathBuf,
}

/// How long the new binary may take to answer.
const PROVEN_WITHIN: Duration = Duration::from_secs(10);

/// How much it may write.
const MOST_OF_AN_ANSWER: &str = "fsize=65536";

impl Proof {
    fn files(&self) -> Files {
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
    // Its output is kept in memory: a program that never stops writing must not fill that.
    let limit = ["pirn", "exec-job", "--limit", MOST_OF_AN_ANSWER, "--"].map(OsString::from);
    let program = [path.clone().into(), path.into()];
    let argv = limit.into_iter().chain(program).chain(words);
    let launch = spawn::Launch::new(
        launch::OWN_BINARY,
        &texts(argv.collect()),
        &texts(env.collect()),
        &cwd.to_string_lossy(),
    );
    let launch = launch.map_err(said)?;
    let mut output = spawn::memory_file(b"").map_err(said)?;
    let null = File::open("/dev/null").map_err(said)?;
    let pid = launch.start(null.as_fd(), output.as_fd(), output.as_fd());
    let pid = pid.map_err(said)?;
    let in_time = PidFd::open(pid).is_ok_and(|process| process.wait_for(PROVEN_WITHIN));
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

impl Engine {
    /// Proves the binary that is there now, unless that is being done: then this upgrade is the same one.
    pub(super) fn prove(&mut self) {
        match self.upgrade {
            Upgrade::No => {}
            Upgrade::Proving | Upgrade::Proven(_) => return,
        }
        log::info!("upgrade: proving {}", program().display());
        self.upgrade = Upgrade::Proving;
        self.errand(committer::Task::Prove(self.proof()));
    }

    fn proof(&self) -> Proof {
        Proof {
            spool: self.options.spool.clone(),
            config: self.options.config.clone(),
            settings: self.options.config_path(),
        }
    }

    /// The new binary was proven, or was not.
    pub(super) fn proven(&mut self, proven: Result<Proven, String>) {
        match (&self.upgrade, proven) {
            (Upgrade::Proving, Ok(proven)) => {
                self.upgrade = Upgrade::Proven(proven);
                self.feed(Event::Hold);
                log::info!(
                    "upgrade: becoming {} once what is being started or recorded is",
                    program().display()
                );
            }
            (Upgrade::Proving, Err(why)) => {
                self.upgrade = Upgrade::No;
                log::error!(
                    "upgrade refused, going on as before: {}: {why}",
                    program().display()
                );
            }
            // The daemon was told to stop meanwhile.
            (Upgrade::No | Upgrade::Proven(_), _) => {}
        }
    }

    /// Goes on as this image.
    pub(super) fn stay(&mut self) {
        self.upgrade = Upgrade::No;
        // The descriptors that were to live through the exec are not for other children.
        spawn::hide_descriptors();
        self.release();
    }

    pub(super) fn running(&self) -> Vec<JobId> {
        let runs = self
            .shared
            .runs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        runs.keys().cloned().collect()
    }

    /// True when nothing is being started or written, and every running job has its note.
    pub(super) fn is_settled(&mut self) -> bool {
        let ending = self.ask(Scheduler::counts).ending;
        if self.shared.dispatch.is_starting() || self.errands > 0 || ending > 0 {
            return false;
        }
        let unnoted: Vec<JobId> = self
            .running()
            .into_iter()
            .filter(|id| self.is_unnoted(id))
            .collect();
        let settled = unnoted.is_empty();
        unnoted
            .into_iter()
            .for_each(|id| self.errand(committer::Task::Note(id)));
        settled
    }

    pub(super) fn is_unnoted(&self, id: &JobId) -> bool {
        self.shared.run(id).is_some_and(|run| {
            let book = run.book();
            !book.noted && book.ended.is_none()
        })
    }

    /// Execs the binary that is there now. Children stay ours, the lock stays locked; the next image finds the
    /// running jobs by their notes. `None` when something has come up, so that it is not the time; else it returns on
    /// failure only.
    ///
    /// The caller holds signals back: those that were handled before are acted on here, and those that come later wait
    /// for the next image.
    pub(super) fn become_new(&mut self) -> Option<std::io::Error> {
        self.read_signals();
        let Upgrade::Proven(proven) = &self.upgrade else {
            return None;
        };
        let is_old = proven.is_old;
        if proven.files != self.proof().files() {
            log::info!("upgrade: the binary or the settings have changed since it was proven");
            self.stay();
            self.prove();
            return None;
        }
        let shared = std::sync::Arc::clone(&self.shared);
        // What ends from here on is reaped by the next image, which learns how it ended.
        let _frozen = shared.children.freeze()?;
        if !shared.mail.is_empty() || self.ask(Scheduler::counts).ending > 0 {
            return None;
        }
        let program = program();
        let Some(lock) = &self.lock else {
            return Some(std::io::ErrorKind::NotFound.into());
        };
        let argv: Vec<_> = std::env::args_os().collect();
        log::info!("upgrade: becoming {}", program.display());
        let mut env = lock.pass_on(is_old).to_vec();
        if let Some(service) = &mut self.service {
            env.extend(service.pass_on());
        }
        let e = spawn::replace_process(&program.to_string_lossy(), &argv, &env);
        if let Some(service) = &mut self.service {
            service.resume();
        }
        lock.write();
        Some(e)
    }
}

/// The binary to become: the file that this process was started from, or what has replaced it.
fn program() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let text = exe.to_string_lossy();
    text.strip_suffix(" (deleted)")
        .map_or_else(|| exe.clone(), Into::into)
}
