//! The settings that hold for a spool.

use crate::core::config::Config;
use crate::os::advice::explained;
use crate::os::written;
use crate::spool::{self, Spool, SpoolLock, Waits};
use std::io;
use std::path::{Path, PathBuf};

/// Their file: the spool's `config.json`, unless its daemon was started with another.
pub fn path(spool: &Path) -> PathBuf {
    let holder = SpoolLock::holder(spool).ok().flatten();
    let elsewhere = holder.and_then(|holder| holder.config);
    elsewhere.unwrap_or_else(|| spool.join("config.json"))
}

/// Reads them. The error names the file.
pub fn read(spool: &Path) -> Result<Config, String> {
    let file = path(spool);
    read_file(&file).map_err(|e| format!("{}: {e}", file.display()))
}

/// Reads them from this file; where there is none, all have their defaults.
pub fn read_file(file: &Path) -> Result<Config, String> {
    match written::read_finished(file, spool::read_config) {
        Ok(config) => config,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
        Err(e) => Err(explained(&e, file)),
    }
}

/// Looks why jobs wait. Settings that are not valid are not in force, so that nothing follows from them.
pub fn waits(spool: &Spool) -> io::Result<Waits<'_>> {
    spool.waits(&read(spool.path()).unwrap_or_default())
}
