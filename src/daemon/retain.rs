//! Retention: forgetting finished records, oldest first, as the config says.

use super::children;
use super::engine::Letter;
use super::shared::Shared;
use crate::core::id::JobId;
use crate::os::clock;
use crate::spool::{Ask, Fs, Place, Taken, Where, stderr_log};
use std::io;

struct Old {
    finished: i64,
    bytes: u64,
    id: JobId,
    place: Place,
}

/// Removes what is older than `keep`, more than `keep_count`, or beyond `keep_bytes`.
pub fn retain(shared: &Shared) {
    if let Err(e) = try_retain(shared) {
        log::error!("retention: {e}");
    }
}

/// Removes the logs whose records were removed while no daemon was there to see it: a log lives as long as its
/// record is in the spool.
pub fn orphans(shared: &Shared) {
    if let Err(e) = shared.spool.separate_twins() {
        log::error!("names that have ended both ways: {e}");
    }
    let mut ids = Vec::new();
    let listed = shared.spool.fs().names(&Place::Log, &mut |name| {
        let name = name.strip_suffix(b"~err").unwrap_or(name);
        ids.extend(JobId::from_bytes(name));
    });
    if let Err(e) = listed {
        return log::error!("log/: {e}");
    }
    ids.sort();
    ids.dedup();
    for id in ids {
        if children::log_is_held(shared, &id) {
            shared.mail.send(Letter::Held(id));
        } else if shared.spool.find(&id).is_ok_and(|at| at.is_none()) {
            forget_belongings(shared, &id);
        }
    }
}

/// Finishes what an archiving left half done: see `Spool::reunite`. Before anything else is archived.
pub fn reunite(shared: &Shared) -> io::Result<()> {
    let mut older = Vec::new();
    shared.spool.fs().names(&Place::Log, &mut |name| {
        if name.contains(&b'~') {
            older.extend(JobId::from_bytes(name));
        }
    })?;
    for id in older {
        if shared.spool.find(&id)?.is_none() {
            shared.spool.reunite(&id)?;
        }
    }
    Ok(())
}

/// Records in `failed/` and `complete/` that have no end: put there while no daemon was there to write it.
pub fn unended(shared: &Shared) -> Vec<JobId> {
    let mut ids = Vec::new();
    for at in [Where::Failed, Where::Complete] {
        let listed = shared.spool.ids(&at).unwrap_or_default();
        ids.extend(listed.into_iter().filter(|id| {
            let taken = shared.spool.fs().take(
                &at.place(),
                id.as_str().as_bytes(),
                MAX_UNENDED,
                Ask::Nothing,
            );
            // Cheaper than to parse every record that was ever finished.
            matches!(taken, Ok(Taken::File { bytes, .. }) if !contains(&bytes, b"\"finished_at\""))
        }));
    }
    ids
}

/// A record without an end is not larger than a job may be, which is 1 GiB at the very most; this is generous.
const MAX_UNENDED: u64 = 64 << 20;

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Removes what belonged to a job that is gone, unless processes of it still write there.
pub fn forget_belongings(shared: &Shared, id: &JobId) {
    if children::log_is_held(shared, id) {
        return;
    }
    if let Err(e) = shared.spool.remove_belongings(id) {
        log::error!("{id}: {e}");
    }
}

fn try_retain(shared: &Shared) -> io::Result<()> {
    let config = shared.config();
    if config.keep.is_none() && config.keep_count.is_none() && config.keep_bytes.is_none() {
        return Ok(());
    }
    let mut all = Vec::new();
    for place in [Place::Complete, Place::Failed] {
        list(shared, &place, config.keep_bytes.is_some(), &mut all)?;
    }
    all.sort_by_key(|old| std::cmp::Reverse(old.finished));
    let now = clock::wall();
    let (mut count, mut bytes, mut removed) = (0u64, 0u64, 0u64);
    for old in all {
        count += 1;
        bytes = bytes.saturating_add(old.bytes);
        let too_old = config
            .keep
            .is_some_and(|keep| now.since(crate::core::time::Wall(old.finished)) > keep);
        let too_many = config.keep_count.is_some_and(|most| count > most);
        let too_much = config.keep_bytes.is_some_and(|most| bytes > most);
        if too_old || too_many || too_much {
            shared.spool.remove_finished(&old.id, &old.place)?;
            removed += 1;
        }
    }
    if removed > 0 {
        log::info!("retention: forgot {removed} finished jobs");
    }
    Ok(())
}

/// A record is written when its job ends, so that its file's date is the job's.
fn list(shared: &Shared, place: &Place, with_logs: bool, all: &mut Vec<Old>) -> io::Result<()> {
    let fs = shared.spool.fs();
    let mut ids = Vec::new();
    fs.names(place, &mut |name| ids.extend(JobId::from_bytes(name)))?;
    for id in ids {
        let Some(look) = fs.look(place, id.as_str().as_bytes())? else {
            continue;
        };
        let mut bytes = look.size;
        if with_logs {
            for name in [id.as_str().to_owned(), stderr_log(&id)] {
                bytes += fs
                    .look(&Place::Log, name.as_bytes())?
                    .map_or(0, |look| look.size);
            }
        }
        all.push(Old {
            finished: look.modified,
            bytes,
            id,
            place: place.clone(),
        });
    }
    Ok(())
}
