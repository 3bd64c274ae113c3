//! The result of a job, with what it wrote.

use crate::core::qmd;
use crate::http::Door;
use crate::os::clock;
use crate::spool::Found;

/// A job with what came of it, as it is sent.
pub fn of(door: &Door, found: &Found) -> String {
    let (id, record) = (&found.id, &found.record);
    let log = door.spool().end_of_log(id, record, qmd::MOST_LOG);
    let result = qmd::result(id, record, found.at.state(), &log, clock::zone);
    format!("{result}\n")
}
