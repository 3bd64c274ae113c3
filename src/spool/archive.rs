//! Older runs: when a name is used again, its old record and log become `NAME~1`, `NAME~2` ...

use super::{Fs, Place, Spool, stderr_log};
use crate::core::id::JobId;
use crate::os::dir::How;
use std::io;
use std::sync::PoisonError;

impl<F: Fs> Spool<F> {
    /// Renames the record of `id` in `place` (`complete/` or `failed/`), and its logs, to a free older name.
    ///
    /// The log goes first. After a crash between the two renames the next call finds the same name again, since that
    /// depends on the records only.
    pub(super) fn archive(&self, id: &JobId, place: &Place) -> io::Result<()> {
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let name = id.as_str().as_bytes();
        loop {
            let Ok(older) = id.older(self.free_older(id)?) else {
                let why = "an older run whose name has no room for ~1";
                return self.quarantine(place, name, why).map(drop);
            };
            let older_name = older.as_str().as_bytes();
            self.move_log(name, older_name)?;
            self.move_log(stderr_log(id).as_bytes(), stderr_log(&older).as_bytes())?;
            let renamed = self
                .fs
                .rename(place, name, place, older_name, How::NoReplace);
            match renamed {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                done => return done,
            }
        }
    }

    /// A number whose older name is free while the one before it is taken. Among ten thousand it takes some thirty
    /// looks. A name that would be too long counts as free.
    fn free_older(&self, id: &JobId) -> io::Result<u32> {
        let is_taken = |n| id.older(n).map_or(Ok(false), |older| self.is_taken(&older));
        let (mut taken, mut free) = (0, 1);
        while is_taken(free)? {
            (taken, free) = (free, free.saturating_mul(2));
        }
        while free - taken > 1 {
            let middle = taken + (free - taken) / 2;
            match is_taken(middle)? {
                true => taken = middle,
                false => free = middle,
            }
        }
        Ok(free)
    }

    /// Does [`Self::reunite`] for all logs. To be called before anything else is archived.
    pub fn reunite_all(&self) -> io::Result<()> {
        let mut older = Vec::new();
        self.fs.names(&Place::Log, &mut |name| {
            if name.contains(&b'~') {
                older.extend(JobId::from_bytes(name));
            }
        })?;
        for id in older {
            if self.find(&id)?.is_none() {
                self.reunite(&id)?;
            }
        }
        Ok(())
    }

    /// Gives a log back to its job if it is named like an older run that has no record: a crash came between the two
    /// renames of an archiving. False if no job misses it.
    pub fn reunite(&self, older: &JobId) -> io::Result<bool> {
        let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((name, number)) = older.as_str().rsplit_once('~') else {
            return Ok(false);
        };
        let (Ok(id), Ok(_)) = (JobId::new(name), number.parse::<u32>()) else {
            return Ok(false);
        };
        let has_log = self.fs.look(&Place::Log, name.as_bytes())?.is_some();
        if has_log || self.find(&id)?.is_none() {
            return Ok(false);
        }
        self.move_log(older.as_str().as_bytes(), name.as_bytes())?;
        self.move_log(stderr_log(older).as_bytes(), stderr_log(&id).as_bytes())?;
        Ok(true)
    }

    fn is_taken(&self, id: &JobId) -> io::Result<bool> {
        for place in [
            Place::Complete,
            Place::Failed,
            Place::Pending,
            Place::Held,
            Place::Active,
        ] {
            if self.fs.look(&place, id.as_str().as_bytes())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn move_log(&self, name: &[u8], new_name: &[u8]) -> io::Result<()> {
        match self
            .fs
            .rename(&Place::Log, name, &Place::Log, new_name, How::NoReplace)
        {
            Err(e)
                if !matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
                ) =>
            {
                Err(e)
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_next_older_name_follows_the_last_one() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::create(home.path(), false).unwrap();
        let id = JobId::new("backup").unwrap();
        let (record, log) = (home.path().join("complete"), home.path().join("log"));
        for n in 1..70 {
            let text = n.to_string();
            std::fs::write(record.join("backup"), &text).unwrap();
            std::fs::write(log.join("backup"), &text).unwrap();
            spool.archive(&id, &Place::Complete).unwrap();
            let older = format!("backup~{n}");
            assert_eq!(std::fs::read_to_string(record.join(&older)).unwrap(), text);
            assert_eq!(std::fs::read_to_string(log.join(&older)).unwrap(), text);
        }
    }
}
