//! Changing the turn and the queue of a waiting or held job.

use super::pause::no_queue;
use super::rewrite::IfSame;
use super::steer::Steered;
use super::ticket::stamp;
use super::{Ask, Fs, OLD_HELD, Place, Spool, Where};
use crate::core::id::{JobId, QueueName};
use crate::core::record::Record;
use std::collections::BTreeSet;
use std::io;

/// The priority of urgent jobs. None is higher.
const URGENT: i32 = i32::MAX;

impl<F: Fs> Spool<F> {
    /// Makes a waiting or held job the next of its queue, behind earlier urgent ones. `changed` is that of
    /// [`Self::retry`].
    pub fn make_urgent(&self, id: &JobId, changed: &mut BTreeSet<Place>) -> io::Result<Steered> {
        self.act_on_waiting(id, |at| {
            if let Some(wrong) = waits_not(at) {
                return Ok(Some(wrong));
            }
            let raise = |record: &mut Record| record.priority = URGENT;
            let was_there = self.edit_record(id, &at.place(), changed, raise)?;
            Ok(was_there.then_some(Steered::Done(at.state())))
        })
    }

    /// Moves a waiting job to another queue; a held one will be released to it. `changed` is that of [`Self::retry`].
    pub fn move_to(
        &self,
        id: &JobId,
        queue: &QueueName,
        changed: &mut BTreeSet<Place>,
    ) -> io::Result<Steered> {
        if queue.as_str() == OLD_HELD {
            return Err(no_queue(queue));
        }
        let named = (!queue.is_default()).then(|| queue.clone());
        self.act_on_waiting(id, |at| {
            if let Some(wrong) = waits_not(at) {
                return Ok(Some(wrong));
            }
            // A record that names a queue is moved there from `pending/` itself.
            let name = |record: &mut Record| {
                if *at == Where::Held || record.queue.is_some() {
                    record.queue.clone_from(&named);
                }
            };
            if !self.edit_record(id, &at.place(), changed, name)? {
                return Ok(None);
            }
            let to = match at {
                Where::Pending(from) if from != queue => self.waiting_place(queue.clone())?,
                Where::Pending(_)
                | Where::Held
                | Where::Active
                | Where::Complete
                | Where::Failed => {
                    return Ok(Some(Steered::Done(at.state())));
                }
            };
            let moved = self.move_file(id, &at.place(), &to, changed)?;
            Ok(moved.then_some(Steered::Done(at.state())))
        })
    }

    /// Changes the record in the file of a waiting or held job. A file that would say the same stays as it is. False
    /// if it is not there any more.
    pub(super) fn edit_record(
        &self,
        id: &JobId,
        place: &Place,
        changed: &mut BTreeSet<Place>,
        edit: impl Fn(&mut Record),
    ) -> io::Result<bool> {
        while let Some((look, mut record)) = self.read_record(id, place, Ask::Writing)? {
            let before = record.to_json();
            edit(&mut record);
            if record.to_json() == before {
                return Ok(true);
            }
            match self.rewrite(place, id, stamp(&look), record.to_json().as_bytes())? {
                IfSame::Done(_) => {
                    changed.insert(place.clone());
                    return Ok(true);
                }
                IfSame::Gone => return Ok(false),
                IfSame::Changed => {}
            }
        }
        Ok(false)
    }
}

/// The answer for a job that neither waits nor is held.
fn waits_not(at: &Where) -> Option<Steered> {
    match at {
        Where::Pending(_) | Where::Held => None,
        Where::Active | Where::Complete | Where::Failed => Some(Steered::Wrong(at.state())),
    }
}
