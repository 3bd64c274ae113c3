//! SIGUSR2: becoming the new binary in place. Children stay ours, the lock stays locked, and the next image finds
//! the running jobs by their notes.

use super::committer;
use super::engine::Engine;
use crate::core::id::JobId;
use crate::core::scheduler::Scheduler;
use crate::os::spawn;

impl Engine {
    pub(super) fn running(&self) -> Vec<JobId> {
        let runs = self
            .shared
            .runs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        runs.keys().cloned().collect()
    }

    /// True when nothing is being started or written, and every running job has its note.
    pub(super) fn is_settled(&mut self) -> bool {
        let ending = self.ask(Scheduler::counts).ending;
        if self.shared.dispatch.is_starting() || self.errands > 0 || ending > 0 {
            return false;
        }
        let unnoted: Vec<JobId> = self
            .running()
            .into_iter()
            .filter(|id| self.is_unnoted(id))
            .collect();
        let settled = unnoted.is_empty();
        unnoted
            .into_iter()
            .for_each(|id| self.errand(committer::Task::Note(id)));
        settled
    }

    pub(super) fn is_unnoted(&self, id: &JobId) -> bool {
        self.shared.run(id).is_some_and(|run| {
            let book = run.book();
            !book.noted && book.ended.is_none()
        })
    }

    /// Execs the binary that is there now. Children stay ours, the lock stays locked; the next image finds the
    /// running jobs by their notes. `None` when something has come up, so that it is not the time; else it returns on
    /// failure only.
    ///
    /// The caller holds signals back: those that were handled before are acted on here, and those that come later wait
    /// for the next image.
    pub(super) fn become_new(&mut self) -> Option<std::io::Error> {
        self.read_signals();
        if !self.upgrade {
            return None;
        }
        let shared = std::sync::Arc::clone(&self.shared);
        // What ends from here on is reaped by the next image, which learns how it ended.
        let _frozen = shared.children.freeze()?;
        if !shared.mail.is_empty() || self.ask(Scheduler::counts).ending > 0 {
            return None;
        }
        let program = program();
        let Some(lock) = &self.lock else {
            return Some(std::io::ErrorKind::NotFound.into());
        };
        let argv: Vec<_> = std::env::args_os().collect();
        log::info!("upgrade: becoming {}", program.display());
        let mut env = lock.pass_on().to_vec();
        if let Some(service) = &mut self.service {
            env.extend(service.pass_on());
        }
        let e = spawn::replace_process(&program.to_string_lossy(), &argv, &env);
        if let Some(service) = &mut self.service {
            service.resume();
        }
        Some(e)
    }
}

/// The binary to become: the file that this process was started from, or what has replaced it.
pub(super) fn program() -> std::path::PathBuf {
    let exe = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let text = exe.to_string_lossy();
    text.strip_suffix(" (deleted)")
        .map_or_else(|| exe.clone(), Into::into)
}
