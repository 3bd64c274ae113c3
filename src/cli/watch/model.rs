//! All that the screen shows.

use super::picture::{Picture, ShownJob};
use crate::core::id::JobId;
use crate::core::time::Wall;

/// The page that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    Jobs,
    /// The log of the selected job, without so many lines at its end.
    Log {
        back: usize,
    },
    Help,
}

/// All that the screen shows.
pub struct Model {
    pub picture: Picture,
    pub now: Wall,
    /// The place of the selected job among [`Picture::jobs`].
    pub selected: usize,
    /// The end of its log.
    pub log: Vec<String>,
    pub page: Page,
    /// A question, or what came of a key.
    pub message: Option<String>,
}

impl Model {
    /// The selected job; `None` if there are no jobs.
    pub fn job(&self) -> Option<&ShownJob> {
        self.picture.jobs().nth(self.selected)
    }

    pub fn id(&self) -> Option<JobId> {
        self.job().map(|job| job.row.id.clone())
    }
}
