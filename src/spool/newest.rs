//! The jobs of a spool, the newest first, without reading the records of all of them.
//!
//! pirn gives its numbers in ascending order, so among these the higher one is the newer, and no file is read. The
//! dates of other jobs are in their records. A record is not older than its job: files are read in the order of their
//! own dates, until no file is left that could be of a newer job than one that was read.

use super::{Ask, Fs, Place, Spool, Taken, Where};
use crate::core::id::JobId;
use crate::core::select::number;
use crate::core::time::Wall;
use std::collections::BinaryHeap;
use std::io;

/// A job with a date.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Dated {
    at: Wall,
    id: JobId,
    /// An index of [`NewestFirst::places`].
    place: usize,
}

/// The jobs, each with its place when they were listed.
#[derive(Debug)]
pub struct NewestFirst<'s, F: Fs> {
    spool: &'s Spool<F>,
    places: Vec<Where>,
    /// Jobs whose numbers pirn has given; the highest is the last.
    numbered: Vec<(u64, JobId, usize)>,
    /// The date of the highest of them, once it was needed.
    highest: Option<Wall>,
    /// Jobs whose records were not read, by the dates of their files; the newest is the last.
    unread: Vec<Dated>,
    /// Jobs whose records were read, by their own dates.
    read: BinaryHeap<Dated>,
}

impl<F: Fs> Spool<F> {
    /// The jobs in these places.
    pub fn newest_first(&self, places: Vec<Where>) -> io::Result<NewestFirst<'_, F>> {
        let given = self.next_number_seen()?;
        let mut jobs = NewestFirst {
            spool: self,
            places,
            numbered: Vec::new(),
            highest: None,
            unread: Vec::new(),
            read: BinaryHeap::new(),
        };
        for (place, at) in jobs.places.iter().enumerate() {
            for id in self.ids_there(at)? {
                match number(&id).filter(|number| *number < given) {
                    Some(number) => jobs.numbered.push((number, id, place)),
                    None => {
                        if let Some(look) = self.fs.look(&at.place(), id.as_str().as_bytes())? {
                            let at = Wall(look.modified);
                            jobs.unread.push(Dated { at, id, place });
                        }
                    }
                }
            }
        }
        jobs.numbered.sort_unstable();
        jobs.unread.sort_unstable();
        Ok(jobs)
    }

    /// The next number as `seq` has it now. Files with higher ones were not given them by pirn.
    fn next_number_seen(&self) -> io::Result<u64> {
        let seq = self.fs.take(&Place::Root, b"seq", 4096, Ask::Nothing)?;
        let first = |bytes: &[u8]| {
            let word = str::from_utf8(bytes).ok()?.split_ascii_whitespace().next();
            word?.parse().ok()
        };
        Ok(match seq {
            Taken::File { bytes, .. } => first(&bytes).unwrap_or(0),
            Taken::Missing | Taken::Strange(_) | Taken::TooLarge(_) => 0,
        })
    }
}

impl<F: Fs> NewestFirst<'_, F> {
    /// How many are left.
    pub fn count_left(&self) -> usize {
        self.numbered.len() + self.unread.len() + self.read.len()
    }

    /// The date of a job; that of its file if the record cannot be read. `None` if there is no such job any more.
    fn date(&self, id: &JobId, place: usize, of_file: Wall) -> io::Result<Option<Wall>> {
        let record = match self.spool.load(id, &self.places[place]) {
            // It may have moved on since it was listed.
            Ok(None) => self.spool.get(id)?.map(|found| found.record),
            Ok(record) => record,
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Ok(Some(of_file)),
            Err(e) => return Err(e),
        };
        Ok(record.map(|record| record.created_at.unwrap_or(of_file)))
    }

    /// Reads records until that of the newest job is among them.
    fn read_enough(&mut self) -> io::Result<()> {
        while let Some(Dated { at, id, place }) = self.unread.pop_if(|next| {
            let newest = self.read.peek();
            newest.is_none_or(|newest| newest.at <= next.at)
        }) {
            if let Some(date) = self.date(&id, place, at)? {
                let at = date.min(at);
                self.read.push(Dated { at, id, place });
            }
        }
        Ok(())
    }

    /// The newest job that is left.
    fn take(&mut self) -> io::Result<Option<(JobId, usize)>> {
        self.read_enough()?;
        let Some(newest) = self.read.peek() else {
            return Ok(self.numbered.pop().map(|(_, id, place)| (id, place)));
        };
        let is_numbered = match (self.numbered.last(), self.highest) {
            (None, _) => false,
            (Some(_), Some(highest)) => highest > newest.at,
            (Some((_, id, place)), None) => {
                let unknown = Wall(i64::MIN);
                let date = self.date(id, *place, unknown)?.unwrap_or(unknown);
                *self.highest.insert(date) > newest.at
            }
        };
        Ok(match is_numbered {
            true => {
                self.highest = None;
                self.numbered.pop().map(|(_, id, place)| (id, place))
            }
            false => self.read.pop().map(|newest| (newest.id, newest.place)),
        })
    }
}

impl<F: Fs> Iterator for NewestFirst<'_, F> {
    type Item = io::Result<(JobId, Where)>;

    fn next(&mut self) -> Option<Self::Item> {
        let taken = self.take().transpose()?;
        Some(taken.map(|(id, place)| (id, self.places[place].clone())))
    }
}
