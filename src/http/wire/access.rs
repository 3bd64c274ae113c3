//! The access log.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The longest queue. While the log is stuck, a thread with one more line waits for the log itself.
const MOST: usize = 1024;

/// Writes lines. One thread writes at a time, also the lines of others that come meanwhile; these threads go on at
/// once.
#[derive(Debug, Default)]
pub struct AccessLog(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    waiting: Vec<String>,
    is_writing: bool,
}

impl AccessLog {
    /// Writes a line, now or as soon as those before it are written.
    pub fn write(&self, line: String) {
        let mut lines = self.lines();
        if lines.waiting.len() >= MOST {
            drop(lines);
            return log::info!(target: "access", "access {line}");
        }
        lines.waiting.push(line);
        if std::mem::replace(&mut lines.is_writing, true) {
            return;
        }
        while !lines.waiting.is_empty() {
            let waiting = std::mem::take(&mut lines.waiting);
            drop(lines);
            for line in waiting {
                log::info!(target: "access", "access {line}");
            }
            lines = self.lines();
        }
        lines.is_writing = false;
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
