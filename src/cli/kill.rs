//! `pirn kill`.

use super::existing;
use super::exit::{CommandResult, FAILURE, Failure, NOT_NOW};
use super::follow::Moves;
use super::select::Selection;
use super::steer::{NotDone, each};
use crate::core::id::JobId;
use crate::core::process::Proc;
use crate::core::record::State;
use crate::os::clock::{self, Timer};
use crate::os::procfs;
use crate::os::signals;
use crate::os::wait::PidFd;
use crate::spool::{Place, Spool, Where};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct KillArgs {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIG", default_value = "TERM", value_parser = signals::parse)]
    signal: i32,
    #[command(flatten)]
    jobs: Selection,
}

/// A job has its note 200 ms after its start. On a busy machine it takes longer.
const NOTED_WITHIN: Duration = Duration::from_secs(5);

/// Sends a signal to the process groups of running jobs.
pub fn kill(path: &Path, args: &KillArgs) -> CommandResult {
    let spool = existing::spool(path)?;
    let jobs = args.jobs.to_change(&spool, &[State::Active])?;
    let owner = std::fs::metadata(path)?.uid();
    each(&spool, &jobs, |id, _| {
        let proc = process_of(&spool, id)?;
        signal(id, &proc, owner, args.signal)
    })
}

/// Replaces the tip of an error that is about a signal in the form of kill(1), such as `-9` or `-KILL`.
pub fn with_tip(mut e: clap::Error) -> clap::Error {
    if e.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::StyledStr(usage)) = e.get(ContextKind::Usage)
        && usage.to_string().contains("pirn kill")
        && let Some(ContextValue::String(arg)) = e.get(ContextKind::InvalidArg)
        && arg
            .trim_start_matches('-')
            .starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase())
    {
        let tip = "a signal follows -s, as in '-s 9' or '-s KILL'".to_owned();
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        e.insert(ContextKind::Suggested, tips);
    }
    e
}

fn does_not_run(id: &JobId, why: &str) -> NotDone {
    NotDone::Elsewhere(Failure::new(
        FAILURE,
        format!("job {id} does not run: {why}"),
    ))
}

/// The first process of a running job. Its record says which it is; until it does, this waits.
fn process_of(spool: &Spool, id: &JobId) -> Result<Proc, NotDone> {
    let failed = |e: std::io::Error| NotDone::Failed(e.into());
    let deadline = clock::now().boot.after(NOTED_WITHIN);
    let moves = Moves::of(spool, &[Place::Active]).map_err(failed)?;
    let mut timer = Timer::boot().map_err(failed)?;
    timer.set(Some(deadline.0)).map_err(failed)?;
    moves.also_wait_for(&timer).map_err(failed)?;
    loop {
        let found = spool.get(id).map_err(failed)?;
        let found = found.ok_or_else(|| NotDone::Elsewhere(Failure::no_job(id)))?;
        if found.at != Where::Active {
            return Err(does_not_run(id, &format!("it is in {}/", found.at.state())));
        }
        if let Some(proc) = found.record.proc {
            return Ok(proc);
        }
        if clock::now().boot >= deadline {
            let what = format!("job {id}: its record does not say yet which process it is");
            return Err(NotDone::Failed(Failure::new(NOT_NOW, what)));
        }
        moves.wait().map_err(failed)?;
    }
}

/// Signals the group of a process, if that is certainly the one that the record describes: a later one may have its
/// number. With the descriptor open before the look, no other process can get it in between.
///
/// The `owner` of the spool, and so of the record, can name any process there, and have root signal it.
fn signal(id: &JobId, proc: &Proc, owner: u32, signal: i32) -> Result<(), NotDone> {
    let gone = || does_not_run(id, &format!("its process {} has ended", proc.pid));
    let pidfd = PidFd::open(proc.pid).map_err(|_| gone())?;
    if !procfs::is_same(proc) {
        return Err(gone());
    }
    let user = procfs::user_of(proc.pid).ok_or_else(gone)?;
    if owner != 0 && user != owner {
        let what = format!(
            "job {id}: process {} runs as user {user}, and the spool belongs to {owner}; kill -- -{0} signals its group",
            proc.pid
        );
        return Err(NotDone::Failed(Failure::new(FAILURE, what)));
    }
    pidfd.signal_group(proc.pid, signal).map_err(|e| {
        let what = format!("job {id}: process group {}: {e}", proc.pid);
        NotDone::Failed(Failure::new(FAILURE, what))
    })
}
