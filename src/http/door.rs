//! The state that every handler needs: the spool, the settings, and the rights of callers.

use super::gate;
use super::guesses::{GuessVerdict, Guesses};
use super::message::head::Head;
use super::message::problem::{self, Refused};
use super::message::response::Response;
use super::tokens::Tokens;
use super::wire::events::Events;
use super::wire::peer::Peer;
use crate::core::config::Config;
use crate::core::config::rights::Caller;
use crate::core::quote::without_codes;
use crate::daemon::{Options, Tally};
use crate::os::written::{self, Written};
use crate::os::{clock, procfs, user};
use crate::spool::{self, Edit, EditError, Spool};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The door. It uses the spool as the command line does, and nothing else of the daemon.
#[derive(Debug)]
pub struct Door {
    spool: Arc<Spool>,
    events: Arc<Events>,
    config: LiveFile<Arc<Config>>,
    options: Options,
    tokens: Mutex<Option<Arc<LiveFile<Arc<Tokens>>>>>,
    boot: String,
    /// The user of the daemon.
    user: u32,
    guesses: Mutex<Guesses>,
}

/// A value that is read from a file, and again when the file has changed.
#[derive(Debug)]
pub struct LiveFile<T> {
    path: PathBuf,
    missing: T,
    state: Mutex<LiveState<T>>,
}

#[derive(Debug)]
struct LiveState<T> {
    version: Option<FileVersion>,
    value: T,
    /// Why this version is not used.
    error: Option<String>,
}

/// The version of a file: device, inode, modification, size.
type FileVersion = (u64, u64, i64, i64, u64);

impl<T: Clone> LiveFile<T> {
    /// The value of a file that was not read yet; `missing` is its value while there is no file.
    pub fn new(path: PathBuf, missing: T) -> Self {
        Self {
            path,
            state: Mutex::new(LiveState {
                version: None,
                value: missing.clone(),
                error: None,
            }),
            missing,
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value now. A file that cannot be read, or that `parse` refuses, is logged once, and changes nothing.
    pub fn get(&self, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let stamp = std::fs::metadata(&self.path)
            .map(|m| (m.dev(), m.ino(), m.mtime(), m.mtime_nsec(), m.size()))
            .ok();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.version != stamp {
            let before = std::mem::replace(&mut state.version, stamp);
            let error = match written::read(&self.path, parse) {
                Ok(Written::Valid(value)) => {
                    state.value = value;
                    None
                }
                // The next call reads it again.
                Ok(Written::Unfinished(_)) => {
                    state.version = before;
                    return state.value.clone();
                }
                Err(_) if stamp.is_none() => {
                    state.value = self.missing.clone();
                    None
                }
                Ok(Written::Invalid(why)) => Some(why),
                Err(e) => Some(without_codes(&e.to_string())),
            };
            if let Some(why) = &error {
                log::error!("http: {}: not used: {why}", self.path.display());
            }
            state.error = error;
        }
        state.value.clone()
    }

    /// Why the file is not used, as of the last [`Self::get`].
    fn error(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.error.clone()
    }
}

/// The most bytes of a body: a job as JSON, with room for base64 and escapes.
pub fn most_body(config: &Config) -> usize {
    let job = usize::try_from(config.max_job_bytes).unwrap_or(usize::MAX);
    job.saturating_mul(2).saturating_add(64 * 1024)
}

impl Door {
    /// The door of this spool, in a daemon with these options.
    pub fn new(spool: Spool, options: Options) -> Self {
        let missing = Arc::new(options.in_force(Config::default()));
        Self {
            spool: Arc::new(spool),
            events: Arc::new(Events::new(clock::wall())),
            config: LiveFile::new(options.config_path(), missing),
            options,
            tokens: Mutex::new(None),
            boot: procfs::boot_id(),
            user: user::uid(),
            guesses: Mutex::default(),
        }
    }

    /// The spool.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// The latest changes in the spool. They are collected only while a handler waits.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// The settings as they are now.
    pub fn config(&self) -> Arc<Config> {
        let config = self.config.get(|text| {
            let config = spool::read_config(text)?;
            Ok(Arc::new(self.options.in_force(config)))
        });
        self.spool.use_settings(&config);
        config
    }

    /// Why the file of the settings is not used, so that the earlier ones stay.
    pub fn config_error(&self) -> Option<String> {
        let why = self.config.error()?;
        let path = self.config.path();
        let name = path.strip_prefix(self.spool.path()).unwrap_or(path);
        Some(format!("{} is not used: {why}", name.display()))
    }

    /// Jobs at a time, as the settings are now.
    pub fn slots(&self) -> usize {
        self.options.slots(&self.config())
    }

    /// The tokens as they are now.
    fn tokens(&self, config: &Config) -> Arc<Tokens> {
        let path = self.spool.path().join(&config.http.tokens);
        let mut known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|live| live.path() != path) {
            *known = Some(Arc::new(LiveFile::new(path, Arc::default())));
        }
        let live = known.clone();
        drop(known);
        live.map(|live| live.get(|text| Tokens::parse(text).map(Arc::new)))
            .unwrap_or_default()
    }

    /// The daemon's counts since its start.
    pub fn tally(&self) -> &Tally {
        &self.options.tally
    }

    /// Sets values in `config.json`. Errors: it is not the file that the daemon reads, or not valid.
    pub fn edit_settings(&self, edits: &[Edit<'_>]) -> Result<(), Response> {
        let ours = self.spool.path().join("config.json");
        if self.config.path() != ours {
            let what = format!(
                "the settings are in {}; edit them there",
                self.config.path().display()
            );
            return Err(problem::new(409, what));
        }
        self.spool.edit_settings(edits).map_err(|e| match e {
            EditError::Invalid(what) => problem::new(409, format!("config.json: {what}")),
            EditError::Unreadable(e) | EditError::Io(e) => {
                problem::new(problem::status_of(&e), format!("config.json: {e}"))
            }
        })
    }

    /// The id of this boot of the machine, for job numbers.
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// Judges a request by its head: the caller with its rights, or a refusal.
    pub fn admit(&self, config: &Config, head: &Head, peer: Peer) -> Result<Caller, Refused> {
        // jobrunner's clients call the machine by any name. That is no danger where others can come: these paths need
        // the password there, which a page of another site does not have.
        let has_password = !peer.is_local && matches!(head.path.as_str(), "/payload" | "/status");
        let judged_ip = peer.reached.filter(|_| !has_password);
        gate::check_site(head, judged_ip, &config.http)?;
        if !head.headers.has("authorization") {
            let way = gate::way(head, peer, &config.http);
            let rights = config.http.tokenless.rights(&way, self.user);
            return Ok(gate::with_rights(head, None, rights));
        }
        let known = gate::shown_token(head).and_then(|shown| {
            let (name, rights) = self.tokens(config).find(&shown.token)?;
            let is_theirs = shown.name.is_none_or(|shown| shown == name);
            is_theirs.then_some((name, rights))
        });
        match known {
            Some((name, rights)) => Ok(gate::with_rights(head, Some(name), rights)),
            None => Err(self.refuse_guess(peer)),
        }
    }

    /// The refusal of a wrong token.
    fn refuse_guess(&self, peer: Peer) -> Refused {
        match self.count_guess(peer) {
            GuessVerdict::Told(delay) => Refused {
                delay,
                ..Refused::new(401, "this token is not known here")
                    .header("WWW-Authenticate", "Bearer error=\"invalid_token\"")
            },
            GuessVerdict::ShutOut(left) => Refused::new(
                429,
                "too many wrong tokens or passwords came from your address",
            )
            .header("Retry-After", left.as_secs() + 1),
        }
    }

    /// How long this peer is shut out for yet, after too many wrong tokens or passwords.
    pub fn shut_out(&self, peer: Peer) -> Option<Duration> {
        let guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        guesses.shut_out(peer, clock::now().boot)
    }

    /// Counts a wrong token or password.
    pub fn count_guess(&self, peer: Peer) -> GuessVerdict {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        guesses.count(peer, clock::now().boot)
    }
}
