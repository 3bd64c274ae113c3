//! The text of `lock`, which says who has the spool.

use crate::os::{front, procfs};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{self, Path, PathBuf};

/// The holder of the lock, as far as the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its pid, if the file says it.
    pub pid: Option<i32>,
    /// Its version. `None` for a daemon older than 0.2.0, which did not write it.
    pub version: Option<String>,
    /// Its use of the spool. A daemon older than 0.2.0 did not write it.
    pub role: Role,
    /// The file of its settings; `None` for `config.json` in the spool.
    pub config: Option<PathBuf>,
    /// The queues that it serves, if not all, with a space between them.
    pub only: Option<Box<str>>,
    /// False if it leaves out syncs.
    pub syncs: bool,
    /// The controllers whose limits the control groups of its jobs can have.
    pub groups: Vec<String>,
    /// The slots that its command line gave it, which overrule the settings.
    pub slots: Option<u32>,
    /// True once it was told to end.
    pub is_stopping: bool,
    /// True once it was told to end when nothing is left to run.
    pub is_draining: bool,
    /// Its trouble, if it cannot record the ends of jobs.
    pub trouble: Option<String>,
}

impl Holder {
    /// A holder of which nothing is known.
    pub(super) const UNKNOWN: Self = Self {
        pid: None,
        version: None,
        role: Role::Serve,
        config: None,
        only: None,
        syncs: true,
        groups: Vec::new(),
        slots: None,
        is_stopping: false,
        is_draining: false,
        trouble: None,
    };

    /// True if it has said who it is.
    pub fn is_known(&self) -> bool {
        self.pid.is_some()
    }

    /// The pid of a daemon, 0 if it is not known; `None` if the holder runs one job.
    pub fn daemon(&self) -> Option<i32> {
        (self.role == Role::Serve).then(|| self.pid.unwrap_or(0))
    }

    /// True if its process exists. After a kill, a child that has not reached its exec still has the locks.
    pub fn is_alive(&self) -> bool {
        let stat = |pid| procfs::stat(pid).is_some_and(|stat| stat.is_alive());
        self.pid.is_none_or(stat)
    }
}

/// The use that the holder of a spool makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It serves the spool until it is told to stop.
    Serve,
    /// It runs one job.
    Run,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Run => "run",
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) if self.role == Role::Run => write!(f, "pirn run, process {pid}"),
            Some(pid) => write!(f, "process {pid}"),
            None => write!(f, "another process"),
        }
    }
}

/// The text of the file while there is no trouble.
pub(super) fn about_us(role: Role) -> String {
    format!(
        "{}\nversion: {}\ncommand: {}\n",
        front::main_pid(),
        env!("CARGO_PKG_VERSION"),
        role.as_str()
    )
}

/// A line of `lock` that a daemon adds.
#[derive(Debug, Clone, Copy)]
pub enum HolderLine<'a> {
    /// The file of its settings, if it is not the spool's.
    Config(&'a Path),
    /// The queues that it serves, if not all.
    Only(&'a [String]),
    /// It leaves out syncs.
    NoSync,
    /// The slots that its command line gives.
    Slots(usize),
    /// The controllers whose limits the control groups of its jobs can have.
    Groups(&'a [&'a str]),
    /// It was told to end. For those who are about to send a second signal.
    Stopping,
    /// It was told to end when nothing is left to run.
    Draining,
    /// Its trouble.
    Trouble(&'a str),
}

impl HolderLine<'_> {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::Only(_) => "only",
            Self::NoSync => "sync",
            Self::Slots(_) => "slots",
            Self::Groups(_) => "groups",
            Self::Stopping => "stopping",
            Self::Draining => "draining",
            Self::Trouble(_) => "trouble",
        }
    }

    /// The line; `None` if readers would take it for something else.
    pub(super) fn text(self) -> Option<String> {
        let value = match self {
            Self::Config(file) => path::absolute(file).ok()?.to_str()?.to_owned(),
            Self::Only(names) => {
                // A pattern with a space would be read as two.
                let is_plain = |name: &String| !name.contains(char::is_whitespace);
                names.iter().all(is_plain).then(|| names.join(" "))?
            }
            Self::NoSync => "no".to_owned(),
            Self::Slots(slots) => slots.to_string(),
            Self::Groups(controllers) => controllers.join(" "),
            Self::Stopping | Self::Draining => "yes".to_owned(),
            Self::Trouble(why) => why.replace('\n', " "),
        };
        (!value.contains('\n')).then(|| format!("{}: {value}", self.key()))
    }
}

pub(super) fn read_holder(mut file: &File) -> Holder {
    let mut text = String::new();
    let _ = file
        .rewind()
        .and_then(|()| file.take(4096).read_to_string(&mut text));
    let (pid, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let value = |key: &str| {
        let values = rest.lines().filter_map(|line| line.split_once(": "));
        values
            .filter(|(found, _)| *found == key)
            .map(|(_, value)| value.to_owned())
            .next()
    };
    let version = value("version");
    let trouble = match version {
        Some(_) => value("trouble"),
        // Before 0.2.0 the second line was the trouble, without a key.
        None => rest.lines().next().map(str::to_owned),
    };
    let role = match value("command") {
        Some(command) if command == Role::Run.as_str() => Role::Run,
        Some(_) | None => Role::Serve,
    };
    Holder {
        pid: pid.trim().parse().ok(),
        version,
        role,
        config: value("config").map(PathBuf::from),
        groups: value("groups")
            .iter()
            .flat_map(|groups| groups.split(' '))
            .map(str::to_owned)
            .collect(),
        only: value("only").map(Into::into),
        syncs: value("sync").is_none_or(|sync| sync != "no"),
        slots: value("slots").and_then(|slots| slots.parse().ok()),
        is_stopping: value("stopping").is_some(),
        is_draining: value("draining").is_some(),
        trouble,
    }
}
