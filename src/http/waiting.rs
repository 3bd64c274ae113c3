//! Waiting for the end of a job.

use super::{Door, Request, Topic, Woken};
use crate::core::id::JobId;
use crate::core::time::Boot;
use crate::spool::{Found, Where};
use std::io;

/// The result of [`wait_for_end`].
#[derive(Debug)]
pub enum Ended {
    /// The job is over; its record carries its end.
    Over(Box<Found>),
    /// The job is not over, and the wait had to end.
    Late(Box<Found>),
    /// There is no such job.
    Gone,
    /// The spool could not be read, or the client is gone.
    Failed(io::Error),
}

/// Waits until a job is over, or until `until`, the client is gone or the daemon ends.
pub fn wait_for_end(request: &Request, door: &Door, id: &JobId, until: Option<Boot>) -> Ended {
    let on = [Topic::Job(id.clone())];
    let mut may_wait = true;
    loop {
        if let Some(ended) = look_for_end(door, id, may_wait) {
            return ended;
        }
        may_wait = match request.waiter.wait(&on, until) {
            Woken::Changed | Woken::Draining => true,
            Woken::Late | Woken::HungUp | Woken::Leaving => false,
            Woken::Gone => return Ended::Failed(io::ErrorKind::BrokenPipe.into()),
        };
    }
}

/// The end of a job. `None` while it is not over, if `may_wait`.
pub fn look_for_end(door: &Door, id: &JobId, may_wait: bool) -> Option<Ended> {
    match door.spool().find(id) {
        // The record may be large, and many may wait for it: it is read when it is needed.
        Ok(Some(Where::Pending(_) | Where::Held | Where::Active)) if may_wait => return None,
        Ok(_) => {}
        Err(e) => return Some(Ended::Failed(e)),
    }
    match door.spool().get(id) {
        Ok(Some(found)) if found.is_over() => Some(Ended::Over(Box::new(found))),
        Ok(Some(_)) if may_wait => None,
        Ok(Some(found)) => Some(Ended::Late(Box::new(found))),
        Ok(None) => Some(Ended::Gone),
        Err(e) => Some(Ended::Failed(e)),
    }
}
