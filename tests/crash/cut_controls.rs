//! Rung C's negative controls: with one sync left out, a cut at the right moment must show a loss.

use crate::audit::Broken;
use crate::cut::{Bench, Moment};
use crate::host::{Dice, ready};
use crate::image::{KINDS, TOOLS};

/// The number of cuts that a fault may survive before the rung counts as blind to it.
const PATIENCE: u64 = 6;

fn must_find(fault: &str, moment: Moment, expected: &[Broken]) {
    if !ready("rung C's controls", &TOOLS, true) {
        return;
    }
    for kind in KINDS {
        let mut dice = Dice::new(fault);
        let mut seen = Vec::new();
        for cut in 1..=PATIENCE {
            let Some(mut bench) = Bench::new(kind, fault) else {
                return;
            };
            seen = bench.round(moment, &mut dice);
            if let Some((broken, what)) = seen.iter().find(|(b, _)| expected.contains(b)) {
                println!(
                    "control {fault} on {} ({moment:?}): found at cut {cut}: {broken:?}: {what}",
                    kind.0
                );
                seen.clear();
                break;
            }
            seen.push((Broken::Stuck, "nothing that was expected".to_owned()));
        }
        assert!(
            seen.is_empty(),
            "rung C is blind: {fault} on {} at {moment:?} was not found in {PATIENCE} cuts: {seen:?}",
            kind.0
        );
    }
}

#[test]
fn accepted_without_sync_of_the_file() {
    must_find("no-file-sync", Moment::Added, &[Broken::Torn]);
}

#[test]
fn accepted_without_sync_of_the_directory() {
    must_find("no-pending-sync", Moment::Added, &[Broken::Lost]);
    must_find("no-pending-sync", Moment::Pushed, &[Broken::Lost]);
}

#[test]
fn finished_without_sync_of_the_record() {
    let expected = [Broken::Torn, Broken::Vanished];
    must_find("no-file-sync", Moment::Finished, &expected);
}

#[test]
fn finished_without_sync_of_the_directory() {
    must_find("no-active-sync", Moment::Finished, &[Broken::Vanished]);
}

#[test]
fn begun_once_without_sync() {
    must_find("no-once-sync", Moment::Begun, &[Broken::RanAgain]);
}
