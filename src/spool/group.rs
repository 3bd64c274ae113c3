//! One sync for many callers: those that come while a sync runs share the next one.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

/// Combines concurrent syncs of one directory. A caller returns once a sync that *began* after its call has ended.
#[derive(Debug, Default)]
pub(super) struct GroupSync {
    state: Mutex<Rounds>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    /// The last round that failed, with its error.
    failed: Option<(u64, io::ErrorKind, Option<i32>)>,
}

impl GroupSync {
    /// Runs `sync`, or waits for another caller's that began after this call.
    pub fn run(&self, sync: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let mut rounds = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = rounds.begun + 1;
        loop {
            if rounds.ended >= mine {
                return match rounds.failed {
                    Some((round, kind, code)) if round >= mine => {
                        Err(code.map_or_else(|| kind.into(), io::Error::from_raw_os_error))
                    }
                    Some(_) | None => Ok(()),
                };
            }
            if rounds.begun == rounds.ended {
                rounds.begun += 1;
                let round = rounds.begun;
                drop(rounds);
                let outcome = sync();
                rounds = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                rounds.ended = round;
                if let Err(e) = outcome {
                    rounds.failed = Some((round, e.kind(), e.raw_os_error()));
                }
                self.ended.notify_all();
            } else {
                rounds = self
                    .ended
                    .wait(rounds)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn many_share_few_and_nobody_returns_early() {
        let (group, written, durable, syncs) = (
            GroupSync::default(),
            AtomicU64::new(0),
            AtomicU64::new(0),
            AtomicU64::new(0),
        );
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mine = written.fetch_add(1, Ordering::SeqCst) + 1;
                        let sync = || {
                            let seen = written.load(Ordering::SeqCst);
                            std::thread::yield_now();
                            syncs.fetch_add(1, Ordering::SeqCst);
                            durable.fetch_max(seen, Ordering::SeqCst);
                            Ok(())
                        };
                        group.run(sync).unwrap();
                        assert!(durable.load(Ordering::SeqCst) >= mine);
                    }
                });
            }
        });
        assert!(syncs.load(Ordering::SeqCst) < 16 * 50);
    }

    #[test]
    fn a_failure_reaches_its_callers_only() {
        let group = GroupSync::default();
        assert!(
            group
                .run(|| Err(io::Error::from_raw_os_error(libc::EIO)))
                .is_err()
        );
        assert!(group.run(|| Ok(())).is_ok());
    }
}
