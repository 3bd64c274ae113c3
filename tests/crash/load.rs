//! Work for the daemon: a mix of all kinds of jobs, added while it runs.

use crate::audit::Known;
use crate::host::Dice;
use crate::rig::Rig;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// One of the usual jobs, as options of `add` and words of the job.
pub fn any_job(dice: &mut Dice) -> (Vec<&'static str>, Vec<&'static str>) {
    match dice.below(8) {
        0 => (vec!["--tries", "2"], vec!["fail"]),
        1 => (vec!["--tries", "3"], vec!["second"]),
        2 => (vec![], vec!["nap", "0.05"]),
        3 => (vec!["--tries", "2"], vec!["nap", "0.4"]),
        4 => (vec!["--once"], vec!["ok"]),
        5 => (vec!["--queue", "mail"], vec!["ok"]),
        6 => (vec!["--tmp", "--group", "g"], vec!["ok"]),
        _ => (vec![], vec!["ok"]),
    }
}

/// Adds one of the usual jobs, and remembers it if it was accepted before `late`.
///
/// An answer that comes while the file system is being cut off is no acknowledgement: a power cut would not have let it
/// out. (Measured on XFS: fsync(2) of a directory gives 0 when the shutdown has just dropped the change.)
pub fn add_any(rig: &Rig, dice: &mut Dice, known: &Mutex<Known>, late: &AtomicBool) {
    let (options, words) = any_job(dice);
    let once = options.contains(&"--once");
    if let Some(id) = rig.try_add(&options, &words)
        && !late.load(Ordering::SeqCst)
    {
        let mut known = known.lock().unwrap();
        known.acknowledged.push(id.clone());
        if once {
            known.once.insert(id);
        }
    }
}

/// Adds jobs and reads finished records, in three threads, while `meanwhile` runs. `meanwhile` must raise the flag
/// before it cuts anything off.
pub fn under_load(
    rig: &Rig,
    purpose: &str,
    known: &mut Known,
    meanwhile: impl FnOnce(&AtomicBool),
) {
    let late = AtomicBool::new(false);
    let (shared, over) = (Mutex::new(std::mem::take(known)), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for n in 0..2 {
            let (shared, over, late) = (&shared, &over, &late);
            scope.spawn(move || {
                let mut dice = Dice::new(&format!("{purpose} {n}"));
                while !over.load(Ordering::SeqCst) {
                    add_any(rig, &mut dice, shared, late);
                }
            });
        }
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let mut seen = Known::default();
                seen.see_finished(rig);
                if late.load(Ordering::SeqCst) {
                    break;
                }
                let mut known = shared.lock().unwrap();
                for (id, text) in seen.finished {
                    known.finished.entry(id).or_insert(text);
                }
                drop(known);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        meanwhile(&late);
        over.store(true, Ordering::SeqCst);
    });
    *known = shared.into_inner().unwrap();
}
