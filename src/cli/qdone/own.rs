//! The spool that a worker's jobs run in: that of a daemon, or one of its own.

use super::trouble::{QdoneError, other};
use crate::core::hex::hex;
use crate::os::user;
use crate::spool::{Role, Spool, SpoolLock};
use sha2::{Digest, Sha256};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// The leases of workers with another identity are not ours to take up.
pub struct Identity<'a> {
    /// The address of the server.
    pub endpoint: &'a str,
    /// The key, unless it is temporary: the next one will have another name.
    pub access_key_id: Option<&'a str>,
    /// The prefix of the names.
    pub prefix: &'a str,
    /// The queues, as they are given.
    pub queues: &'a [String],
}

impl Identity<'_> {
    /// A name for it, in letters and digits.
    pub fn name(&self) -> String {
        let mut hash = Sha256::new();
        let fixed = [
            self.endpoint,
            self.access_key_id.unwrap_or_default(),
            self.prefix,
        ];
        for part in fixed
            .into_iter()
            .chain(self.queues.iter().map(String::as_str))
        {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hex(&hash.finalize()[..8])
    }
}

/// The spool at `path`, if a daemon serves it that syncs: a message is removed when its job's end is durable. Else one of
/// our own, with its lock.
pub fn choose(
    path: &Path,
    identity: &Identity<'_>,
) -> Result<(Spool, Option<SpoolLock>), QdoneError> {
    let holder = SpoolLock::holder(path).map_err(other)?;
    if holder.is_some_and(|holder| holder.role == Role::Serve && holder.syncs) {
        let spool = Spool::open(path, true).map_err(other)?;
        return Ok((spool, None));
    }
    take(identity).map(|(spool, lock)| (spool, Some(lock)))
}

/// Takes the first spool of this identity that no other worker has, so that a worker that starts after a crash finds
/// the jobs and leases of the one that crashed.
fn take(identity: &Identity<'_>) -> Result<(Spool, SpoolLock), QdoneError> {
    let dir = user::qdone_spools().join(identity.name());
    let at = |path: &Path, e: std::io::Error| other(format!("{}: {e}", path.display()));
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|e| at(&dir, e))?;
    for n in 1u32.. {
        let path = dir.join(n.to_string());
        let spool = Spool::create(&path, true).map_err(|e| at(&path, e))?;
        if let Ok(lock) = SpoolLock::try_take(&path, Role::Serve).map_err(|e| at(&path, e))? {
            return Ok((spool, lock));
        }
    }
    Err(other(format!("{}: too many workers", dir.display())))
}
