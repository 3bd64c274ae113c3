//! Quarantine: moving files that are no jobs to `bad/`.

use super::{Fs, Place, Spool, stamp};
use crate::core::id::JobId;
use crate::core::scheduler::Stamp;
use crate::os::dir::How;
use std::io;
use std::path::PathBuf;
use std::sync::PoisonError;

/// The most bytes of a reason that are shown.
const MOST_OF_REASON: u64 = 4096;

/// A file in `bad/`.
#[derive(Debug)]
pub struct InBad {
    /// Its path.
    pub path: PathBuf,
    /// The reason, as far as the file with it can be read.
    pub reason: String,
}

impl<F: Fs> Spool<F> {
    /// Writes the reason and then moves a file to `bad/`. Returns its name there, or `None` if the file is gone.
    pub fn quarantine(
        &self,
        place: &Place,
        name: &[u8],
        reason: &str,
    ) -> io::Result<Option<String>> {
        // Two threads that find the same thing would each take a name for it.
        let _names = self
            .names_in_bad
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let shown = presentable(name);
        for n in 0u32.. {
            let target = numbered(&shown, n);
            let reason_name = format!("{target}.reason");
            if self.fs.look(&Place::Bad, target.as_bytes())?.is_some() {
                continue;
            }
            match self.fs.write_new(
                &Place::Bad,
                reason_name.as_bytes(),
                format!("{reason}\n").as_bytes(),
                false,
            ) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(e),
            }
            match self
                .fs
                .rename(place, name, &Place::Bad, target.as_bytes(), How::NoReplace)
            {
                Ok(()) => return Ok(Some(target)),
                Err(e) => {
                    self.fs.unlink(&Place::Bad, reason_name.as_bytes())?;
                    match e.kind() {
                        io::ErrorKind::AlreadyExists => continue,
                        io::ErrorKind::NotFound => return Ok(None),
                        _ => return Err(e),
                    }
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The same for the file `judged`. If another file has its name by now, or it was written to since, it is moved back
    /// to be judged anew, and the result is `None`; if its name is taken by then, it stays in `bad/`.
    pub fn quarantine_judged(
        &self,
        place: &Place,
        name: &[u8],
        reason: &str,
        judged: Stamp,
    ) -> io::Result<Option<String>> {
        let Some(target) = self.quarantine(place, name, reason)? else {
            return Ok(None);
        };
        let moved = self.fs.look(&Place::Bad, target.as_bytes())?;
        if moved.is_none_or(|look| stamp(&look) == judged) {
            return Ok(Some(target));
        }
        let reason_name = format!("{target}.reason");
        let from = target.as_bytes();
        match self.rename_back(&Place::Bad, from, place, name) {
            Ok(()) => {
                self.fs.unlink(&Place::Bad, reason_name.as_bytes())?;
                Ok(None)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.fs.unlink(&Place::Bad, reason_name.as_bytes())?;
                let why = b"replaced by a newer file of its name before it was looked at\n";
                self.fs
                    .write_new(&Place::Bad, reason_name.as_bytes(), why, false)?;
                Ok(Some(target))
            }
            Err(e) => Err(e),
        }
    }

    /// The last file that was dropped under this name and moved to `bad/`.
    pub fn in_bad(&self, id: &JobId) -> io::Result<Option<InBad>> {
        let shown = presentable(id.as_str().as_bytes());
        let mut last = None;
        for target in (0u32..).map(|n| numbered(&shown, n)) {
            if self.fs.look(&Place::Bad, target.as_bytes())?.is_none() {
                break;
            }
            last = Some(target);
        }
        let Some(name) = last else { return Ok(None) };
        let reason = format!("{name}.reason");
        let read = self
            .fs
            .tail(&Place::Bad, reason.as_bytes(), 0, MOST_OF_REASON);
        let reason = read?.unwrap_or_default();
        Ok(Some(InBad {
            path: self.path_of(&Place::Bad).join(name),
            reason: String::from_utf8_lossy(&reason).trim_end().to_owned(),
        }))
    }
}

/// The name of a file in `bad/` if so many with the same name were moved there before.
fn numbered(shown: &str, n: u32) -> String {
    match n {
        0 => shown.to_owned(),
        n => format!("{shown}~{n}"),
    }
}

/// A name that is safe to show and not too long. Bytes that are not text become `%XX`.
fn presentable(name: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '%' || (shown.is_empty() && matches!(c, '.' | '-')) {
                let mut buffer = [0; 4];
                shown.extend(
                    c.encode_utf8(&mut buffer)
                        .bytes()
                        .map(|b| format!("%{b:02X}")),
                );
            } else {
                shown.push(c);
            }
        }
        shown.extend(chunk.invalid().iter().map(|b| format!("%{b:02X}")));
    }
    let end = (0..=shown.len().min(200))
        .rev()
        .find(|end| shown.is_char_boundary(*end))
        .unwrap_or(0);
    shown.truncate(end);
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    /// Judges an empty file, perhaps writes this into it, and moves what was judged to `bad/`.
    fn moved_after(written: Option<&str>) -> (Option<String>, [Vec<String>; 2]) {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::create(home.path(), false).unwrap();
        let file = home.path().join("pending/7");
        fs::write(&file, "").unwrap();
        let judged = stamp(&spool.look(&Place::Pending, b"7").unwrap().unwrap());
        if let Some(text) = written {
            fs::write(&file, text).unwrap();
        }
        let moved = spool.quarantine_judged(&Place::Pending, b"7", "it is empty", judged);
        let names = |dir| {
            let entries = fs::read_dir(home.path().join(dir)).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        (moved.unwrap(), [names("pending"), names("bad")])
    }

    #[test]
    fn a_file_that_was_filled_since_is_judged_again() {
        let (moved, [pending, bad]) = moved_after(Some("echo"));
        assert_eq!((moved, pending, bad), (None, vec!["7".to_owned()], vec![]));
        let (moved, [pending, bad]) = moved_after(None);
        assert_eq!(moved.as_deref(), Some("7"));
        assert_eq!(
            (pending, bad),
            (vec![], vec!["7".to_owned(), "7.reason".to_owned()])
        );
    }

    #[test]
    fn names_become_presentable() {
        assert_eq!(presentable(b"a\nb"), "a%0Ab");
        assert_eq!(presentable(b"-rf"), "%2Drf");
        assert_eq!(presentable(b"\xff.x"), "%FF.x");
        assert_eq!(presentable(&[b'a'; 255]).len(), 200);
        assert_eq!(presentable("ä".repeat(127).as_bytes()).len(), 200);
    }
}
