//! Rung A: the spool's protocol on a simulated disk that forgets what was not synced.
//!
//! Lives of jobs are lived through the real [`pirn::spool::Spool`] on [`simfs::SimFs`]; at every operation, and within
//! every write, the power goes (or all processes are killed). Of what is left, in every combination that the model of
//! `disk` allows, a spool is recovered as the daemon would do it, and judged by the promises of DESIGN section 2.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod check;
mod daemon;
mod dice;
mod disk;
mod explore;
mod ledger;
mod life;
mod lives;
mod random;
mod simfs;

use dice::Dice;
use disk::Disk;
use explore::{Effort, Tried, explore};
use simfs::SimFs;
use std::time::Instant;

const EFFORT: Effort = Effort {
    all_of: 10,
    samples: 60,
    second: 20,
};

#[test]
fn scripted_lives() {
    let began = Instant::now();
    let mut tried = Tried::default();
    let mut broken = Vec::new();
    for (name, live) in lives::ALL {
        let fs = SimFs::over(Disk::new());
        let t = Instant::now();
        match explore(&fs, true, live, EFFORT, &mut Dice::new(1)) {
            Ok(more) => {
                println!("{name}: {more:?} {:?}", t.elapsed());
                tried.add(more)
            }
            Err(what) => broken.push(format!("{name}: {what}")),
        }
    }
    println!("{tried:?} in {:.1?}", began.elapsed());
    broken.iter().for_each(|what| println!("{what}\n"));
    assert!(broken.is_empty(), "{} lives broke a promise", broken.len());
}

#[test]
fn disturbed_lives() {
    let began = Instant::now();
    let mut tried = Tried::default();
    let mut broken = Vec::new();
    for (n, deed) in random::DEEDS.into_iter().enumerate() {
        for step in 1..75 {
            let fs = SimFs::over(Disk::new());
            let live = |life: &mut life::Life| {
                random::busy(life, |fs| fs.interject(step, move |fs| deed(fs, "a")));
            };
            match explore(&fs, true, live, EFFORT, &mut Dice::new(step as u64)) {
                Ok(more) => tried.add(more),
                Err(what) => broken.push(format!("deed {n} at step {step}: {what}")),
            }
        }
    }
    println!("{tried:?} in {:.1?}", began.elapsed());
    broken.iter().take(8).for_each(|what| println!("{what}\n"));
    assert!(broken.is_empty(), "{} lives broke a promise", broken.len());
}

#[test]
fn random_lives() {
    let began = Instant::now();
    let mut tried = Tried::default();
    let mut broken = Vec::new();
    for seed in 0..300 {
        let fs = SimFs::over(Disk::new());
        let live = |life: &mut life::Life| random::random(life, seed);
        match explore(&fs, true, live, EFFORT, &mut Dice::new(seed)) {
            Ok(more) => tried.add(more),
            Err(what) => broken.push(format!("seed {seed}: {what}")),
        }
    }
    println!("{tried:?} in {:.1?}", began.elapsed());
    broken.iter().take(8).for_each(|what| println!("{what}\n"));
    assert!(broken.is_empty(), "{} lives broke a promise", broken.len());
}
