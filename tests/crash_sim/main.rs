//! Rung A: the daemon on a simulated disk that loses unsynced changes.
//!
//! The lives of jobs run through the real [`pirn::daemon::state::Daemon`] and [`pirn::spool::Spool`], on
//! [`machine::SimMachine`] and [`simfs::SimFs`]; at every operation, and within every write, the power fails (or all
//! processes are killed). From every state that the model of `disk` allows, the daemon recovers a spool, which is
//! checked against the promises of DESIGN section 2.
//!
//! `PIRN_CRASH_SIM_LIVES=n` tries more random lives, `PIRN_CRASH_SIM_SEED=n` only that one, and
//! `PIRN_CRASH_SIM_LINES=n` prints more of the steps before a broken promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod check;
mod controls;
#[path = "../sim/dice.rs"]
mod dice;
mod disk;
mod explore;
mod ledger;
mod life;
mod lives;
mod machine;
mod random;
mod served;
mod simfs;
mod survey;
mod units;
mod user;
mod world;

use dice::Dice;
use disk::Disk;
use explore::{Effort, Seen, Tried, explore};
use life::Life;
use simfs::SimFs;
use std::time::Instant;

const EFFORT: Effort = Effort {
    all_of: 10,
    samples: 60,
    second: 20,
};

const LIVES: u64 = 100;

fn from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a whole number"))
}

/// Runs all of these lives, on all processors, and reports the number of cases.
fn live_all<T: Sync>(
    what: &str,
    all: &[T],
    live: impl Fn(&T, &mut Seen) -> Result<Tried, String> + Sync,
) -> Tried {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let outcomes: Vec<Result<Tried, String>> = std::thread::scope(|scope| {
        let workers = (0..threads).map(|worker| {
            let mine = all.iter().skip(worker).step_by(threads);
            let live = &live;
            scope.spawn(move || {
                let mut seen = Seen::new();
                mine.map(|one| live(one, &mut seen)).collect::<Vec<_>>()
            })
        });
        let workers: Vec<_> = workers.collect();
        let joined = workers.into_iter().map(|w| w.join().expect("no panic"));
        joined.flatten().collect()
    });
    let mut tried = Tried::default();
    let mut broken = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(more) => tried.add(more),
            Err(what) => broken.push(what),
        }
    }
    println!(
        "{what}: {tried}, {} violations, in {:.1?}",
        broken.len(),
        began.elapsed()
    );
    broken.iter().take(8).for_each(|what| println!("{what}\n"));
    assert!(broken.is_empty(), "{} lives broke a promise", broken.len());
    tried
}

#[test]
fn scripted_lives() {
    live_all("scripted lives", &lives::ALL, |(name, live), seen| {
        let fs = SimFs::over(Disk::new());
        explore(&fs, true, live, EFFORT, &mut Dice::new(1), seen)
            .map_err(|what| format!("{name}: {what}"))
    });
}

/// A user interferes at each step of a life, with each deed that a user can do.
#[test]
fn disturbed_lives() {
    let deeds = 0..random::DEEDS.len();
    let all: Vec<_> = deeds
        .flat_map(|n| (1..75).map(move |step| (n, step)))
        .collect();
    live_all("disturbed lives", &all, |(n, step), seen| {
        let (n, step) = (*n, *step);
        let fs = SimFs::over(Disk::new());
        let effort = Effort {
            second: 5,
            ..EFFORT
        };
        explore(
            &fs,
            true,
            disturbed(n, step),
            effort,
            &mut Dice::new(step as u64),
            seen,
        )
        .map_err(|what| format!("deed {n} at step {step}: {what}"))
    });
}

fn disturbed(deed: usize, step: usize) -> impl Fn(&mut Life) {
    move |life| {
        random::busy(life, |fs| {
            fs.interject(step, move |fs| random::DEEDS[deed](fs, "a"))
        })
    }
}

#[test]
fn random_lives() {
    let lives = from_env("PIRN_CRASH_SIM_LIVES").unwrap_or(LIVES);
    let seeds: Vec<u64> = match from_env("PIRN_CRASH_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..lives).collect(),
    };
    let tried = live_all("random lives", &seeds, |seed, seen| {
        let fs = SimFs::over(Disk::new());
        let live = |life: &mut Life| random::random(life, *seed);
        explore(&fs, true, live, EFFORT, &mut Dice::new(*seed), seen)
            .map_err(|what| format!("PIRN_CRASH_SIM_SEED={seed}: {what}"))
    });
    // Lives without steps would prove nothing.
    assert!(tried.moments > tried.lives * 10 && tried.images > tried.lives * 10);
}
