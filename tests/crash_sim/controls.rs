//! Negative controls: if a step of the protocol is left out, some life must show it.

use super::dice::Dice;
use super::disk::Disk;
use super::disturbed;
use super::explore::{Effort, Seen, explore};
use super::life::Life;
use super::lives;
use super::random;
use super::simfs::SimFs;
use std::collections::BTreeMap;
use std::process::Command;

const QUICK: Effort = Effort {
    all_of: 8,
    samples: 40,
    second: 0,
};

/// The faults of `os::fault` that are about this protocol.
const FAULTS: [&str; 9] = [
    "no-file-sync",
    "no-pending-sync",
    "no-active-sync",
    "no-once-sync",
    "no-exchange",
    "no-try-count",
    "no-claim-check",
    "no-adoption",
    "no-unit-note",
];

/// Syncs that no life misses, and the reasons why they are made nevertheless.
const SPARE: [(&str, &str); 18] = [
    ("claim: fsync pending", ONCE),
    ("claim: fsync a queue", ONCE),
    ("claim: fsync active", ONCE),
    (
        "unclaim: fsync active",
        "nobody was told of a start that did not happen",
    ),
    ("cancel: fsync pending", BOTH),
    ("cancel: fsync a queue", BOTH),
    ("cancel: fsync active", BOTH),
    ("retry: fsync pending", BOTH),
    ("retry: fsync a queue", BOTH),
    ("retry: fsync failed", BOTH),
    ("retry: fsync complete", BOTH),
    ("hold: fsync pending", BOTH),
    ("hold: fsync a queue", BOTH),
    ("hold: fsync held", BOTH),
    ("release: fsync pending", BOTH),
    ("release: fsync a queue", BOTH),
    ("release: fsync held", BOTH),
    (
        "stop: fdatasync seq",
        "only saves numbers from being skipped",
    ),
];

/// Renames are atomic here: one of the two would be enough. Without both it is noticed (`no-once-sync`).
const ONCE: &str = "a start that must not be repeated is made durable at both ends of its rename";

/// The same as [`ONCE`]: not every file system makes a rename durable if only one end is synced.
const BOTH: &str = "what somebody is told is done is made durable at both ends of its rename";

/// Set in the child process that runs with a fault: faults are read once in a process.
const CHILD: &str = "PIRN_CRASH_SIM_CHILD";

/// The first broken promise in one life.
fn violation(durable: bool, live: impl FnOnce(&mut Life)) -> Option<String> {
    let fs = SimFs::over(Disk::new());
    let (mut dice, mut seen) = (Dice::new(1), Seen::new());
    explore(&fs, durable, live, QUICK, &mut dice, &mut seen).err()
}

/// The first broken promise in any life.
fn first_violation(durable: bool) -> Option<String> {
    let scripted = lives::ALL
        .iter()
        .find_map(|(name, live)| Some(format!("{name}: {}", violation(durable, live)?)));
    scripted.or_else(|| {
        // Newer drops in between show most; they are the last deeds.
        let deeds = (0..random::DEEDS.len()).rev();
        let mut all = deeds.flat_map(|n| (1..75).map(move |step| (n, step)));
        all.find_map(|(n, step)| {
            let broken = violation(durable, disturbed(n, step))?;
            Some(format!("deed {n} at step {step}: {broken}"))
        })
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[test]
fn without_syncs_it_is_noticed() {
    let broken = first_violation(false).expect("no sync at all, and nobody complains");
    println!("control, no sync at all: {}", first_line(&broken));
}

#[test]
fn faults_are_noticed() {
    if std::env::var(CHILD).is_ok() {
        println!("FOUND {:?}", first_violation(true));
        return;
    }
    let us = std::env::current_exe().expect("a name");
    let children = FAULTS.map(|fault| {
        let child = Command::new(&us)
            .args(["--exact", "controls::faults_are_noticed", "--nocapture"])
            .env("PIRN_FAULTS", fault)
            .env(CHILD, "1")
            .output();
        let out = child.expect("ran").stdout;
        let out = String::from_utf8_lossy(&out).into_owned();
        let found = out.lines().find_map(|line| line.split_once("FOUND "));
        (fault, found.map(|(_, found)| found.to_owned()))
    });
    let mut blind = Vec::new();
    for (fault, found) in children {
        let found = found.unwrap_or_default();
        let shown = found.split("\\n").next().unwrap_or_default();
        println!("control, {fault}: {shown}");
        if !found.starts_with("Some") {
            blind.push(fault);
        }
    }
    // A release build has no fault switches.
    if cfg!(debug_assertions) {
        assert!(blind.is_empty(), "nobody complains of {blind:?}");
    }
}

/// Leaves out one sync at a time: some life misses it, or there is a reason for it in the list.
#[test]
fn every_sync_is_needed() {
    let mut missed: BTreeMap<String, bool> = BTreeMap::new();
    for (_, live) in &lives::ALL {
        let whole = SimFs::over(Disk::new());
        live(&mut Life::new(whole.clone(), true));
        let syncs = whole.world().syncs.clone();
        let story = whole.world().story.clone();
        for (n, sync) in syncs.into_iter().enumerate() {
            if sync.starts_with("a user") || missed.get(&sync) == Some(&true) {
                continue;
            }
            let fs = SimFs::over(Disk::new());
            fs.world().lost_sync = Some(n);
            let broken =
                explore(&fs, true, live, QUICK, &mut Dice::new(1), &mut Seen::new()).is_err();
            assert_eq!(fs.world().story, story, "another life than before: {sync}");
            *missed.entry(sync).or_default() |= broken;
        }
    }
    let spare: Vec<_> = missed.iter().filter(|(_, missed)| !**missed).collect();
    println!(
        "control, each sync left out: {} kinds, {} not missed",
        missed.len(),
        spare.len()
    );
    let mut unexplained = Vec::new();
    for (sync, _) in spare {
        match SPARE.iter().find(|(known, _)| sync == known) {
            Some((_, why)) => println!("  not missed: {sync}: {why}"),
            None => unexplained.push(sync),
        }
    }
    assert!(unexplained.is_empty(), "nobody misses {unexplained:?}");
}
