//! `pirn new-id`.

use super::exit::{BAD_CONFIG, CommandResult, Failure, OK};
use super::{existing, output, settings};
use crate::os::procfs;
use std::path::Path;

/// Prints an id that no job has and that is given once.
pub fn new_id(path: &Path) -> CommandResult {
    let spool = existing::spool(path)?;
    let config = settings::read(path).map_err(|e| Failure::new(BAD_CONFIG, e))?;
    spool.use_settings(&config.into());
    let id = spool.new_id(&procfs::boot_id())?;
    output::ids(&[id])?;
    Ok(OK)
}
