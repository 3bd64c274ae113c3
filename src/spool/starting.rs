//! A detached daemon that is about to begin: one is enough.

use crate::os::{dir, flock};
use std::fs::File;
use std::io;
use std::path::Path;

/// The right to start a detached daemon, until it has the spool's lock. It is flock(2) on the directory
/// `tmp/`.
#[derive(Debug)]
pub struct Starting(#[expect(dead_code, reason = "it is locked while it is open")] File);

impl Starting {
    /// `None` while another daemon is being started.
    pub fn try_take(spool: &Path) -> io::Result<Option<Self>> {
        let tmp = File::from(dir::open_dir(dir::open_path(spool)?, b"tmp")?);
        Ok(flock::try_exclusive(&tmp)?.then_some(Self(tmp)))
    }
}
