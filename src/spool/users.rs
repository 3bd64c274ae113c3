//! The spools of users, each a directory with the user's name in one that only root can write to. Root makes, renames and
//! lists them, and reads no file in them.

use crate::core::record::State;
use crate::os::dir::{self, FileType, How};
use crate::os::ownership::Ownership;
use crate::os::user::{self, Account};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The directory of all users' spools, open.
#[derive(Debug)]
pub struct UserSpools {
    dir: OwnedFd,
}

/// Everybody may go through it to their own spool, and nobody may list it.
const MODE: u32 = 0o711;

impl UserSpools {
    /// Opens the directory. It must be ours, and nobody else may write to it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let dir = dir::open_path(path)?;
        let Ownership { mode, uid, .. } = dir::look_at(&dir)?.ownership;
        match uid == user::uid() && mode & 0o022 == 0 {
            true => Ok(Self { dir }),
            false => Err(io::Error::other(format!(
                "others can change it (mode {mode:04o}, uid {uid}); chown root and chmod 711 it"
            ))),
        }
    }

    /// Opens the directory, and makes it if it is missing.
    pub fn open_or_make(path: &Path) -> io::Result<Self> {
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Self::open(path),
            made => {
                made?;
                let spools = Self::open(path)?;
                dir::set_mode(&spools.dir, MODE)?;
                Ok(spools)
            }
        }
    }

    /// Makes a user's spool, unless there is one.
    pub fn add(&self, account: &Account) -> io::Result<()> {
        let name = account.name.as_bytes();
        if !is_name(&account.name) {
            return Err(io::Error::other("this name cannot be a directory's here"));
        }
        dir::make_dir(&self.dir, name)?;
        let spool = dir::open_dir(&self.dir, name)?;
        match dir::look_at(&spool)?.ownership.uid {
            uid if uid == account.uid => {}
            uid if uid == user::uid() => {
                // The first job can be dropped before a daemon has made the rest.
                let pending = State::Pending.as_str().as_bytes();
                dir::make_dir(&spool, pending)?;
                for made in [&dir::open_dir(&spool, pending)?, &spool] {
                    dir::set_mode(made, 0o700)?;
                    dir::set_owner(made, account.uid, account.gid)?;
                }
            }
            uid => {
                let what = format!("it is there and belongs to the user {uid}; move it away");
                return Err(io::Error::other(what));
            }
        }
        dir::sync(&self.dir)
    }

    /// Renames a spool, so that it is nobody's any more; gives its new name.
    pub fn remove(&self, name: &str) -> io::Result<String> {
        let plain = format!(".{name}.removed");
        let numbered = (1..).map(|n: u32| format!(".{name}.removed~{n}"));
        for new in std::iter::once(plain).chain(numbered) {
            let (old, new_name) = (name.as_bytes(), new.as_bytes());
            match dir::rename(&self.dir, old, &self.dir, new_name, How::NoReplace) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                renamed => {
                    renamed?;
                    dir::sync(&self.dir)?;
                    return Ok(new);
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The names of all users who have a spool, in order.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        dir::names(&self.dir, |name| {
            names.extend(
                String::from_utf8(name.to_vec())
                    .ok()
                    .filter(|name| is_name(name)),
            );
        })?;
        names.retain(|name| self.has(name).unwrap_or(false));
        names.sort();
        Ok(names)
    }

    /// True if this user has a spool.
    pub fn has(&self, name: &str) -> io::Result<bool> {
        let look = dir::look(&self.dir, name.as_bytes())?;
        Ok(is_name(name) && look.is_some_and(|look| look.kind == FileType::Directory))
    }
}

/// False for names that are no user's here: those of removed spools, and paths.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains('/')
}
