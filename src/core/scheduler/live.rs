//! A live job: one whose start was asked for and whose file is not yet where it belongs.

use super::types::Slot;
use crate::core::config::Terms;
use crate::core::id::QueueName;
use crate::core::policy::{StopReason, TryEnd};
use crate::core::time::Boot;

#[derive(Debug)]
pub(super) struct Live {
    pub stage: Stage,
    /// The queue in which a newer file of this name waits.
    pub successor: Option<QueueName>,
}

/// How far a live job is.
#[derive(Debug)]
pub(super) enum Stage {
    /// `Start` was asked for. A reason to stop that came meanwhile takes effect when the program runs.
    Starting {
        slot: Slot,
        stop: Option<StopReason>,
    },
    /// The program runs, or processes that it left behind do.
    Running(RunningTry),
    /// `Finish` or `EndUnrun` was asked for. The slot is free.
    Ending,
}

#[derive(Debug)]
pub(super) struct RunningTry {
    pub slot: Slot,
    pub attempt: u32,
    pub terms: Box<Terms>,
    pub course: Course,
}

/// How a running try is going to end.
#[derive(Debug)]
pub(super) enum Course {
    /// By itself, or at its timeout.
    Free {
        timeout_at: Option<Boot>,
        /// `None` once the warning was asked for, or if there is none.
        warn_at: Option<Boot>,
        /// `None` once the note was asked for.
        note_at: Option<Boot>,
    },
    /// It was told to end.
    Stopping {
        why: StopReason,
        /// `None` once KILL was asked for.
        kill_at: Option<Boot>,
    },
    /// Its leader ended so; its other processes are being ended.
    Sweeping { end: TryEnd },
}

impl Live {
    pub fn new(stage: Stage) -> Self {
        let successor = None;
        Self { stage, successor }
    }

    /// The slot that the job holds.
    pub fn slot(&self) -> Option<Slot> {
        match &self.stage {
            Stage::Starting { slot, .. } => Some(*slot),
            Stage::Running(running) => Some(running.slot),
            Stage::Ending => None,
        }
    }

    /// True when something is to be done about the job at this moment.
    pub fn waits_for(&self, at: Boot) -> bool {
        match &self.stage {
            Stage::Running(running) => match running.course {
                Course::Free {
                    timeout_at,
                    warn_at,
                    note_at,
                } => [timeout_at, warn_at, note_at].contains(&Some(at)),
                Course::Stopping { kill_at, .. } => kill_at == Some(at),
                Course::Sweeping { .. } => false,
            },
            Stage::Starting { .. } | Stage::Ending => false,
        }
    }
}
