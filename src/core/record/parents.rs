//! The jobs that a job comes after.

use super::Record;
use crate::core::id::JobId;
use std::collections::HashSet;

/// Most jobs that a job can come after. Each of them is looked up when the job arrives and when one of them ends.
const MOST: usize = 10_000;

/// Removes repeated ids. A job that is in `after_any` too stays in the other list; one cannot be in both others.
pub fn settle_parents(
    after: &mut Vec<JobId>,
    after_failed: &mut Vec<JobId>,
    after_any: &mut Vec<JobId>,
) -> Result<(), &'static str> {
    if after.is_empty() && after_failed.is_empty() && after_any.is_empty() {
        return Ok(());
    }
    let mut seen = HashSet::new();
    after.retain(|id| seen.insert(id.clone()));
    if after_failed.iter().any(|id| seen.contains(id)) {
        return Err(
            "after, after_failed: a job cannot both complete and fail; name it in one of them",
        );
    }
    after_failed.retain(|id| seen.insert(id.clone()));
    after_any.retain(|id| seen.insert(id.clone()));
    match seen.len() > MOST {
        true => Err("after, after_failed, after_any: a job can come after 10000 jobs at most"),
        false => Ok(()),
    }
}

impl Record {
    /// The jobs that must end before it starts, whatever their ends must be.
    pub fn parents(&self) -> impl Iterator<Item = &JobId> {
        let well_or_not = self.after_failed.iter().chain(&self.after_any);
        self.after.iter().chain(well_or_not)
    }

    /// The parents that the job still waits for: none after its first try. Otherwise a later try could hold up its
    /// group for a parent in that same group which runs again.
    pub fn awaited(&self) -> impl Iterator<Item = &JobId> {
        self.parents().filter(|_| !self.is_between_tries())
    }

    /// Lets it come after no job.
    pub fn forget_parents(&mut self) {
        self.after.clear();
        self.after_failed.clear();
        self.after_any.clear();
    }
}
