//! Room that is kept aside, so that the ends of running jobs can be recorded on a full disk.

use super::place::Place;
use super::real::RealFs;
use super::{Fs, Spool};
use crate::os::dir;
use std::io;
use std::sync::{Mutex, PoisonError};

/// The reserve: files in `tmp/`, one with blocks and some without.
#[derive(Debug, Default)]
pub struct Reserve {
    held: Mutex<Vec<String>>,
}

impl Reserve {
    /// Bytes: some hundred records, or a few large ones.
    pub const BYTES: u64 = 1 << 20;

    /// Inodes: one for each record that is written at the same time, and one for the bytes.
    pub const INODES: u64 = 17;

    /// The file that exists while the reserve does.
    pub const MARK: &[u8] = b".reserve.0";

    /// Makes the files that are missing. Fails when the disk has no room for them, and then keeps those that it made.
    pub fn fill(&self, spool: &Spool<RealFs>) -> io::Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for n in 0..Self::INODES {
            let name = format!(".reserve.{n}");
            if held.contains(&name) {
                continue;
            }
            spool.fs.with(&Place::Tmp, |tmp| {
                dir::unlink(tmp, name.as_bytes())?;
                let file = dir::create(tmp, name.as_bytes())?;
                if n == 0 {
                    dir::allocate(&file, Self::BYTES)
                        .inspect_err(|_| drop(dir::unlink(tmp, name.as_bytes())))?;
                }
                held.push(name);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// True if no file is missing.
    pub fn is_full(&self) -> bool {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len() as u64
            >= Self::INODES
    }

    /// Removes the files, to make room for a record. False if there were none.
    pub fn release<F: Fs>(&self, spool: &Spool<F>) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let had = !held.is_empty();
        for name in held.drain(..) {
            if let Err(e) = spool.fs.unlink(&Place::Tmp, name.as_bytes()) {
                log::warn!("tmp/{name}: {e}");
            }
        }
        had
    }
}
