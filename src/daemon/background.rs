//! The background thread.

use super::chores::Chore;
use super::proof::Proven;
use super::recover::found_held;
use super::retain::{self, Doubt};
use super::state::{Daemon, Machine};
use crate::core::id::JobId;
use crate::core::scheduler::Belief;
use crate::os::thread;
use crate::spool::Where;
use std::io;
use std::sync::Arc;

/// Starts the thread.
pub fn start(daemon: &Arc<Daemon>) -> io::Result<()> {
    let daemon = Arc::clone(daemon);
    let mut doubt = Doubt::new(daemon.now());
    thread::spawn("chores", move || {
        loop {
            let proven = perform(&daemon, &mut doubt, daemon.chores.next());
            if daemon.chores.has_done(proven) {
                // It may be time to exit, or to become a new binary.
                daemon.waker.wake();
            }
        }
    })
    .map(drop)
}

/// Does one task. Gives what came of [`Chore::Prove`].
pub fn perform<M: Machine>(
    daemon: &Arc<Daemon<M>>,
    doubt: &mut Doubt,
    chore: Chore,
) -> Option<Result<Proven, String>> {
    match chore {
        Chore::ByHand(id) => by_hand(daemon, &id),
        Chore::Retain => retain::retain(daemon, doubt),
        Chore::Orphans => {
            for id in retain::orphans(daemon) {
                found_held(daemon, &id);
            }
        }
        Chore::Held(id) => found_held(daemon, &id),
        Chore::Unended => {
            for id in daemon.spool.unended() {
                // A job that still runs gets its end when its processes have ended.
                if daemon.run(&id).is_none() {
                    by_hand(daemon, &id);
                }
            }
        }
        Chore::Prove(proof) => return Some(proof.run()),
    }
    None
}

/// A job left its queue, or its file was put somewhere by hand: writes its end if it is in `failed/` or
/// `complete/` without one, and forgets its log if it is nowhere.
fn by_hand<M: Machine>(daemon: &Arc<Daemon<M>>, id: &JobId) {
    let belief = daemon.ask(|s| s.believes(id).0);
    let at = match daemon.spool.find(id) {
        // A note was written where a user has put its file: it still runs.
        Ok(Some(Where::Failed | Where::Complete)) if belief == Belief::Running => return,
        Ok(Some(at @ (Where::Failed | Where::Complete))) => at,
        Ok(Some(Where::Pending(_) | Where::Held | Where::Active)) => return,
        Ok(None) => match belief {
            Belief::Unknown | Belief::Ending => return retain::forget_belongings(daemon, id),
            // It was on its way from one place to another.
            Belief::Waiting | Belief::Starting | Belief::Running => return,
        },
        Err(e) => return log::error!("{id}: {e}"),
    };
    match daemon.spool.end_withdrawn(id, &at, daemon.now().wall) {
        Ok(true) => log::info!("{id}: cancelled: moved to {} by hand", at.state()),
        Ok(false) => {}
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {}
        Err(e) => log::error!("{id}: {e}"),
    }
}
