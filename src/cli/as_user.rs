//! `pirn --user NAME CMD`: root becomes NAME and executes itself again, so that nothing of root's is left in the process.

use super::exit::{CommandResult, FAILURE, Failure};
use super::users;
use crate::os::user::{self, Account};
use crate::os::{limits, spawn};
use std::ffi::OsString;

/// Variables that a user's process keeps of root's environment, beside those for languages.
const KEPT: [&str; 8] = [
    "TERM",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "LANG",
    "TZ",
    "PIRN_LOG",
    "PIRN_USER_SPOOLS",
];

/// Returns only if it fails.
pub fn as_user(account: &Account) -> CommandResult {
    let failed = |what: &str, e| Failure::new(FAILURE, format!("{}: {what}: {e}", account.name));
    spawn::hide_descriptors();
    user::become_user(account).map_err(|e| failed("becoming this user", e))?;
    limits::set_umask(0o077);
    if std::env::set_current_dir(&account.home).is_err() {
        std::env::set_current_dir("/").map_err(|e| failed("/", e))?;
    }
    let argv: Vec<OsString> = without_user(std::env::args_os()).collect();
    let e = spawn::replace_all(spawn::OWN_BINARY, &argv, environment(account));
    Err(failed("executing pirn again", e))
}

/// The account to become. `None` if this process is the user's already.
pub fn account(name: &str) -> Result<Option<Account>, Failure> {
    if user::account().name == name {
        return Ok(None);
    }
    match user::is_root() {
        true => users::account(name).map(Some),
        false => {
            let what = format!("--user: only root can become {name}");
            Err(Failure::new(FAILURE, what))
        }
    }
}

/// The words of the command line but `--user NAME`, which stands before the command.
fn without_user(words: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut words = words.peekable();
    let mut found = false;
    std::iter::from_fn(move || {
        let word = words.next()?;
        match word.to_str() {
            Some("--user") if !found => {
                found = true;
                words.next();
                words.next()
            }
            Some(text) if !found && text.starts_with("--user=") => {
                found = true;
                words.next()
            }
            Some(_) | None => Some(word),
        }
    })
}

/// The variables of a login, with those of ours that are about the place and not about the session.
pub fn environment(account: &Account) -> impl Iterator<Item = (OsString, OsString)> {
    let kept = std::env::vars_os().filter(|(key, _)| {
        key.to_str()
            .is_some_and(|key| KEPT.contains(&key) || key.starts_with("LC_"))
    });
    let new = [
        ("HOME", account.home.as_str()),
        ("USER", &account.name),
        ("LOGNAME", &account.name),
        ("SHELL", &account.shell),
        ("PATH", spawn::PATH),
    ];
    let new = new.map(|(key, value)| (key.into(), value.into()));
    kept.chain(new)
}
