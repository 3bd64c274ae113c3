//! Room kept aside, so that what runs can finish on a full disk: its record must be written whatever happens.

use super::place::Place;
use super::real::RealFs;
use super::{Fs, Spool};
use crate::os::dir;
use std::io;
use std::sync::{Mutex, PoisonError};

/// The reserve: one file with blocks, and some without, in `tmp/`.
#[derive(Debug, Default)]
pub struct Reserve {
    held: Mutex<Vec<String>>,
}

impl Reserve {
    /// Bytes kept: some hundred records, or a few large ones.
    pub const BYTES: u64 = 1 << 20;

    /// Inodes kept: one for each record that is being written at a time, and one for the bytes.
    pub const INODES: u64 = 17;

    /// The file that is there while the reserve is.
    pub const MARK: &[u8] = b".reserve.0";

    /// Takes what is missing of the reserve. Fails when there is no room for it, and then holds what it got.
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

    /// True when nothing is missing of it.
    pub fn is_full(&self) -> bool {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len() as u64
            >= Self::INODES
    }

    /// Gives the reserve up, for somebody who needs it now. True if there was any.
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
