//! The options of `pirn serve` as a plan, and those that are refused.

use super::exit::{BAD_CONFIG, FAILURE, Failure, USAGE};
use super::inputs;
use crate::core::config::Config;
use crate::daemon::{Opening, Options, Service};
use crate::http::dialect::jobrunner;
use crate::http::tokens::Tokens;
use crate::http::wire::listen::{Address, Listener};
use crate::http::{Door, Server};
use crate::os::spawn::path_text;
use crate::os::{clock, written};
use crate::spool::{self, Spool};
use std::path::Path;

/// The options of `serve`.
pub struct ServePlan {
    pub options: Options,
    pub addresses: Vec<Address>,
    pub jobrunner: Option<jobrunner::Settings>,
}

impl ServePlan {
    /// True for the address at which jobrunner's requests are answered.
    fn is_jobrunners(&self, address: &Address) -> bool {
        let jobrunner = self.jobrunner.as_ref();
        jobrunner.is_some_and(|j| j.address == *address)
    }

    /// The option or variables that ask for this address, for messages.
    fn named(&self, address: &Address) -> String {
        match self.is_jobrunners(address) {
            true => format!("JOBRUNNER_HTTP_LISTEN_ADDRESS and PORT: {address}"),
            false => format!("--http {address}"),
        }
    }

    /// A detached daemon works elsewhere, and has no descriptors of others.
    pub fn detach(&mut self) -> Result<(), Failure> {
        let options = &mut self.options;
        let paths = [&mut options.config, &mut options.cgroup];
        let paths = paths.into_iter().flatten();
        for path in paths.chain([&mut options.spool]) {
            *path = std::path::absolute(&*path).map_err(|e| Failure::at(path, e))?;
        }
        for address in &mut self.addresses {
            match address {
                Address::Unix(path) => {
                    *path = std::path::absolute(&*path).map_err(|e| Failure::at(path, e))?;
                }
                Address::Passed(_) => {
                    let what = format!("--http {address}: --detach passes on no descriptors");
                    return Err(Failure::new(USAGE, what));
                }
                Address::Tcp(_) => {}
            }
        }
        Ok(())
    }

    /// Refuses an address that others can reach, if neither tokens, a password nor settings tell who may use it.
    pub fn check_addresses(&self) -> Result<(), Failure> {
        // A client at jobrunner's address needs no token, only the password.
        let has_password = self.jobrunner.as_ref().is_some_and(|j| j.has_password());
        let is_guarded = |address: &&Address| {
            address.is_local() || (has_password && self.is_jobrunners(address))
        };
        let Some(open) = self.addresses.iter().find(|address| !is_guarded(address)) else {
            return Ok(());
        };
        if lets_others_in(&self.options.spool, &self.options.config_path()) {
            return Ok(());
        }
        let remedy = match self.is_jobrunners(open) {
            true => "is no JOBRUNNER_PASSWORD; set one",
            false => "are no tokens; make one with pirn token new",
        };
        let open = self.named(open);
        let what = format!(
            "{open}: others can reach this address, and there {remedy}, or list the users and addresses that need \
             none in \"trust\" under \"http\" in the config"
        );
        Err(Failure::new(BAD_CONFIG, what))
    }

    /// Listens now, so that a daemon that cannot listen starts no job. Requests are answered once it has the spool.
    pub fn opening(self) -> Result<Option<Opening>, Failure> {
        if self.addresses.is_empty() {
            return Ok(None);
        }
        // Only qmd's answers have local times.
        clock::learn_zone();
        let listen = |address| {
            Listener::open(address)
                .map_err(|e| Failure::new(FAILURE, format!("{}: {e}", self.named(address))))
        };
        let listeners = self.addresses.iter().map(listen);
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Box::new(move || {
            let (options, jobrunner) = (self.options, self.jobrunner);
            let spool = Spool::create(&options.spool, !options.no_sync)?;
            let door = Door::new(spool, options);
            Ok(Box::new(Server::open(door, listeners, jobrunner)?) as Box<dyn Service>)
        })))
    }
}

/// Reads jobrunner's variables.
pub fn jobrunner() -> Result<jobrunner::Settings, Failure> {
    let env = inputs::environment(&[], false)?;
    let cwd = path_text(&std::env::current_dir()?);
    jobrunner::Settings::read(env, cwd).map_err(|e| Failure::new(FAILURE, e))
}

/// True if tokens or settings give anybody rights. The daemon itself reports a mistake in the config.
fn lets_others_in(spool: &Path, config: &Path) -> bool {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let config = match written::read_finished(config, spool::read_config) {
        Ok(Ok(config)) => config,
        Ok(Err(_)) | Err(_) => Config::default(),
    };
    let tokens = Tokens::parse(&read(&spool.join(&config.http.tokens)));
    !config.http.tokenless.trust.is_empty() || tokens.is_ok_and(|tokens| !tokens.is_empty())
}
