//! Finding a job, and reading its record and its log.

use super::{Ask, Fs, Place, Spool, Taken};
use crate::core::id::{JobId, QueueName};
use crate::core::record::{Record, RecordError, State};
use crate::core::time::Wall;
use crate::os::dir::{FileType, Look};
use crate::os::lease::Writers;
use std::fs::Metadata;
use std::io;

/// The place of a job's file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Where {
    /// Waiting in this queue.
    Pending(QueueName),
    /// Held back.
    Held,
    /// Running.
    Active,
    /// Ended well.
    Complete,
    /// Gave up.
    Failed,
}

impl Where {
    /// The directory.
    pub fn place(&self) -> Place {
        match self {
            Self::Pending(queue) => Place::of_queue(queue),
            Self::Held => Place::Held,
            Self::Active => Place::Active,
            Self::Complete => Place::Complete,
            Self::Failed => Place::Failed,
        }
    }

    /// The state of a job in this place.
    pub fn state(&self) -> State {
        match self {
            Self::Pending(_) => State::Pending,
            Self::Held => State::Held,
            Self::Active => State::Active,
            Self::Complete => State::Complete,
            Self::Failed => State::Failed,
        }
    }
}

/// A job found.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub id: JobId,
    /// Where it is.
    pub at: Where,
    /// Its record, with the id, the queue and the date that follow from its file.
    pub record: Record,
}

impl Found {
    /// True if it has ended and its record says how.
    pub fn is_over(&self) -> bool {
        matches!(self.at, Where::Complete | Where::Failed) && self.record.is_over()
    }
}

/// A job's file.
struct JobFile {
    look: Look,
    bytes: Vec<u8>,
    /// True if a process is known to have it open for writing.
    is_being_written: bool,
}

impl JobFile {
    /// The record in it, with the id and the date that follow from the file.
    fn record(&self, id: &JobId) -> io::Result<Record> {
        self.record_by(id, Record::from_bytes)
    }

    /// As [`Self::record`], but read by this function.
    fn record_by(
        &self,
        id: &JobId,
        read: impl FnOnce(&[u8]) -> Result<Record, RecordError>,
    ) -> io::Result<Record> {
        let mut record = read(&self.bytes).map_err(|e| match self.is_being_written {
            true => half_written(id),
            false => invalid(format!("{id}: {e}")),
        })?;
        record.id = Some(id.clone());
        record.created_at.get_or_insert(Wall(self.look.modified));
        Ok(record)
    }

    /// As [`Self::record`], with the queue that follows from its place.
    fn record_at(&self, id: &JobId, at: &Where) -> io::Result<Record> {
        let mut record = self.record(id)?;
        if let Where::Pending(queue) = at {
            record.queue = (!queue.is_default()).then(|| queue.clone());
        }
        Ok(record)
    }
}

/// The largest record. It may be larger than a dropped file: output, result and history are added.
pub(super) const MAX_RECORD_BYTES: u64 = 64 << 20;

impl<F: Fs> Spool<F> {
    /// The end of what the last try of a job wrote, at most `most` bytes. If the log cannot be read, the end that the
    /// record has.
    pub fn end_of_log(&self, id: &JobId, record: &Record, most: u64) -> String {
        let from = record.attempts.last().map_or(0, |last| last.log_offset);
        let read = self
            .fs
            .tail(&Place::Log, id.as_str().as_bytes(), from, most);
        match read {
            Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            Ok(None) | Err(_) => record.output.clone().unwrap_or_default(),
        }
    }

    /// The metadata of a program in `scripts/`. It must be a regular file, or a link to one inside `scripts/`.
    pub fn check_script(&self, name: &JobId) -> io::Result<Metadata> {
        let scripts = self.path_of(&Place::Scripts).canonicalize()?;
        let program = scripts.join(name.as_str()).canonicalize()?;
        let about = program.metadata()?;
        match program.starts_with(&scripts) && about.is_file() {
            true => Ok(about),
            false => Err(io::Error::other(
                "it is neither a regular file nor a link to one inside scripts/",
            )),
        }
    }

    /// Finds a job. Looks twice, since a job that is moved meanwhile may be missed.
    pub fn find(&self, id: &JobId) -> io::Result<Option<Where>> {
        match self.find_once(id)? {
            None => self.find_once(id),
            found => Ok(found),
        }
    }

    /// Finds the end of a job, also if another job of its name waits.
    pub fn find_ended(&self, id: &JobId) -> io::Result<Option<Where>> {
        for at in [Where::Complete, Where::Failed] {
            if self.fs.look(&at.place(), id.as_str().as_bytes())?.is_some() {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The first of these ids that no job has. The queues are listed once for all of them.
    pub fn first_missing<'a>(
        &self,
        mut ids: impl Iterator<Item = &'a JobId>,
    ) -> io::Result<Option<&'a JobId>> {
        let mut queues = None;
        let mut is_missing = |id| {
            let found = self.find_among(&mut queues, id)?;
            // The job may have been moved meanwhile.
            Ok::<_, io::Error>(found.is_none() && self.find(id)?.is_none())
        };
        ids.find_map(|id| match is_missing(id) {
            Ok(false) => None,
            Ok(true) => Some(Ok(id)),
            Err(e) => Some(Err(e)),
        })
        .transpose()
    }

    fn find_once(&self, id: &JobId) -> io::Result<Option<Where>> {
        self.find_among(&mut None, id)
    }

    /// Finds a job. `queues` are all queues, and are listed here if they are `None`. One that waits or runs comes before
    /// the end of an older one of its name.
    fn find_among(
        &self,
        queues: &mut Option<Vec<QueueName>>,
        id: &JobId,
    ) -> io::Result<Option<Where>> {
        if self.is_job(id, &Where::Active)? {
            return Ok(Some(Where::Active));
        }
        if let Some(at) = self.find_waiting(queues, id)? {
            return Ok(Some(at));
        }
        for at in [Where::Complete, Where::Failed] {
            if self.is_job(id, &at)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn is_job(&self, id: &JobId, at: &Where) -> io::Result<bool> {
        let look = self.fs.look(&at.place(), id.as_str().as_bytes())?;
        Ok(look.is_some_and(|look| look.kind != FileType::Directory))
    }

    /// Finds a job that waits or is held. `queues` is that of [`Self::find_among`].
    pub(super) fn find_waiting(
        &self,
        queues: &mut Option<Vec<QueueName>>,
        id: &JobId,
    ) -> io::Result<Option<Where>> {
        for at in [Where::Pending(QueueName::default()), Where::Held] {
            if self.is_job(id, &at)? {
                return Ok(Some(at));
            }
        }
        let queues = match queues {
            Some(queues) => queues,
            None => queues.insert(self.queues()?),
        };
        for queue in queues.iter() {
            let at = Where::Pending(queue.clone());
            if self.is_job(id, &at).unwrap_or(false) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The record of a job in this place. Of plain text it is the record that the text stands for.
    pub fn load(&self, id: &JobId, at: &Where) -> io::Result<Option<Record>> {
        self.load_if(id, at, |_| true)
    }

    /// As [`Self::load`] if `is_wanted` says so of the file's bytes, else `None`.
    pub fn load_if(
        &self,
        id: &JobId,
        at: &Where,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Option<Record>> {
        let file = self.read_file(id, &at.place(), Ask::Nothing)?;
        let file = file.filter(|file| is_wanted(&file.bytes));
        file.map(|file| file.record_at(id, at)).transpose()
    }

    /// As [`Self::load`], but of a JSON record only these fields; see [`Record::only`].
    pub fn load_only(&self, fields: &[&str], id: &JobId, at: &Where) -> io::Result<Option<Record>> {
        let file = self.read_file(id, &at.place(), Ask::Nothing)?;
        let read = |bytes: &[u8]| Record::only(fields, bytes);
        file.map(|file| file.record_by(id, read)).transpose()
    }

    /// As [`Self::load`], with true if the job waits and a process has its file open for writing. It is opened once for
    /// both.
    pub fn load_and_ask(&self, id: &JobId, at: &Where) -> io::Result<Option<(Record, bool)>> {
        let ask = match at {
            Where::Pending(_) => Ask::Writing,
            Where::Held | Where::Active | Where::Complete | Where::Failed => Ask::Nothing,
        };
        let Some(file) = self.read_file(id, &at.place(), ask)? else {
            return Ok(None);
        };
        Ok(Some((file.record_at(id, at)?, file.is_being_written)))
    }

    /// True if a process has a waiting job's file open for writing.
    pub fn is_being_written(&self, id: &JobId, at: &Where) -> bool {
        let read = self.load_and_ask(id, at);
        read.is_ok_and(|read| read.is_some_and(|(_, is_being_written)| is_being_written))
    }

    /// A job's file and the record in it, with the queue that it names itself. With [`Ask::Writing`] it is an error
    /// if somebody is writing the file.
    pub(super) fn read_record(
        &self,
        id: &JobId,
        place: &Place,
        ask: Ask,
    ) -> io::Result<Option<(Look, Record)>> {
        match self.read_file(id, place, ask)? {
            Some(file) if file.is_being_written => Err(half_written(id)),
            Some(file) => Ok(Some((file.look, file.record(id)?))),
            None => Ok(None),
        }
    }

    fn read_file(&self, id: &JobId, place: &Place, ask: Ask) -> io::Result<Option<JobFile>> {
        let name = id.as_str().as_bytes();
        match self.fs.take(place, name, MAX_RECORD_BYTES, ask)? {
            Taken::Missing | Taken::Strange(_) => Ok(None),
            Taken::TooLarge(_) => Err(invalid(format!("{id}: the record is too large"))),
            Taken::File {
                look,
                writers,
                bytes,
            } => Ok(Some(JobFile {
                look,
                bytes,
                is_being_written: ask == Ask::Writing && writers == Writers::Open,
            })),
        }
    }

    /// Finds a job and reads its record.
    pub fn get(&self, id: &JobId) -> io::Result<Option<Found>> {
        for _ in 0..5 {
            let Some(at) = self.find(id)? else {
                return Ok(None);
            };
            if let Some(record) = self.load(id, &at)? {
                return Ok(Some(Found {
                    id: id.clone(),
                    at,
                    record,
                }));
            }
        }
        Ok(None)
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn half_written(id: &JobId) -> io::Error {
    let what = format!("job {id}: its file is still being written; try again when it is whole");
    io::Error::new(io::ErrorKind::ResourceBusy, what)
}
