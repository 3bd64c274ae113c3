//! `pirn users`: the spools that root makes for users.

use super::exit::{CommandResult, FAILURE, Failure, NO_INPUT, NOT_NOW, OK};
use super::output;
use crate::os::user::{self, Account};
use crate::spool::{Spool, SpoolLock, UserSpools};
use clap::Subcommand;
use std::io;
use std::path::Path;

#[derive(Debug, clap::Args)]
pub struct UsersArgs {
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// Make a user's spool; prints its path
    Add {
        /// The user
        name: String,
    },
    /// Take a user's spool away; prints the path where it is kept
    Remove {
        /// The user
        name: String,
    },
    /// List the users who have a spool, whether it is served, and how many jobs wait in it
    Ls,
}

pub fn users(args: &UsersArgs) -> CommandResult {
    if !user::is_root() {
        let what = "users: only root can make, take away and list the spools of users";
        return Err(Failure::new(FAILURE, what));
    }
    let dir = user::user_spools();
    match &args.command {
        UsersCommand::Add { name } => add(&dir, name),
        UsersCommand::Remove { name } => remove(&dir, name),
        UsersCommand::Ls => ls(&dir),
    }
}

/// The account of a user who can have a spool of this kind.
pub fn account(name: &str) -> Result<Account, Failure> {
    let found = user::account_of(name).map_err(|e| about(name, e))?;
    let account =
        found.ok_or_else(|| Failure::new(NO_INPUT, format!("there is no user {name:?}")))?;
    let why = match account.uid {
        0 => "is root, whose spool is /var/spool/pirn",
        uid if user::known(uid).is_none() => "stands for all users who have no number",
        _ => return Ok(account),
    };
    Err(Failure::new(FAILURE, format!("{name} {why}")))
}

fn about(name: &str, e: io::Error) -> Failure {
    Failure::new(FAILURE, format!("{name}: {e}"))
}

fn add(dir: &Path, name: &str) -> CommandResult {
    let account = account(name)?;
    let spools = UserSpools::open_or_make(dir).map_err(|e| Failure::at(dir, e))?;
    let path = dir.join(&account.name);
    spools.add(&account).map_err(|e| Failure::at(&path, e))?;
    output::line(path.display())?;
    Ok(OK)
}

fn remove(dir: &Path, name: &str) -> CommandResult {
    let path = dir.join(name);
    let missing = || {
        Failure::new(
            NO_INPUT,
            format!("{name:?} has no spool in {}", dir.display()),
        )
    };
    let spools = match UserSpools::open(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing()),
        spools => spools.map_err(|e| Failure::at(dir, e))?,
    };
    if !spools.has(name).map_err(|e| Failure::at(&path, e))? {
        return Err(missing());
    }
    if SpoolLock::is_taken(&path).map_err(|e| Failure::at(&path, e))? {
        let what = format!(
            "{}: its daemon runs; end it first, with systemctl disable --now pirn@{name}.path pirn@{name} for instance",
            path.display()
        );
        return Err(Failure::new(NOT_NOW, what));
    }
    let new = spools.remove(name).map_err(|e| Failure::at(&path, e))?;
    output::line(dir.join(new).display())?;
    Ok(OK)
}

fn ls(dir: &Path) -> CommandResult {
    let names = match UserSpools::open(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(OK),
        spools => spools.and_then(|spools| spools.names()),
    };
    let names = names.map_err(|e| Failure::at(dir, e))?;
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for name in names {
        let state = state(&dir.join(&name)).unwrap_or_else(|e| e.to_string());
        output::line(format!("{name:width$}  {state}"))?;
    }
    Ok(OK)
}

/// Whether the spool is served, and how many jobs wait. No file in it is read: we are root, and it is the user's.
fn state(path: &Path) -> io::Result<String> {
    let served = match SpoolLock::is_taken(path)? {
        true => "served",
        false => "not served",
    };
    let waiting = match Spool::existing(path)? {
        Some(spool) => spool.count_waiting()?,
        None => 0,
    };
    Ok(format!("{served:10}  {waiting} waiting"))
}
