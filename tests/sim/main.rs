//! The scheduler runs through random histories in a simulated world, checked at every step.
//!
//! A history is a seed. A history that breaks a promise prints its seed; `PIRN_SIM_SEED=n cargo test --test sim --
//! --nocapture` runs it again and prints every step. `PIRN_SIM_HISTORIES=n` tries more of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod daemon;
mod dice;
mod faults;
mod history;
mod invariants;
mod job;
mod restart;
mod users;
mod workers;
mod world;

use daemon::Stats;
use faults::Fault;
use history::live;
use pirn::core::scheduler::{Action, Demand, Event, Slot};
use pirn::core::tokens::{Supply, Units, Uses};
use std::time::Instant;

const HISTORIES: u64 = 20_000;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a whole number"))
}

#[test]
fn random_histories() {
    if let Some(seed) = from_env("PIRN_SIM_SEED") {
        let lived = live(seed, Fault::None, true);
        assert!(lived.is_ok(), "{lived:?}");
        return;
    }
    let histories = from_env("PIRN_SIM_HISTORIES").unwrap_or(HISTORIES);
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            std::thread::spawn(move || {
                let seeds = (worker..histories).step_by(threads as usize);
                seeds
                    .map(|seed| live(seed, Fault::None, false))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut sum = Stats::default();
    let mut broken = Vec::new();
    for worker in workers {
        for lived in worker.join().expect("no history panics") {
            match lived {
                Ok(stats) => sum = add(sum, stats),
                Err(found) => broken.push(found),
            }
        }
    }
    for found in broken.iter().take(20) {
        println!("PIRN_SIM_SEED={}: {}", found.seed, found.what);
    }
    assert!(
        broken.is_empty(),
        "{} of {histories} histories broke a promise",
        broken.len()
    );
    println!("{sum:?} in {:.1?}", began.elapsed());
    assert_eq!(sum.histories, histories);
    // A simulation without events would prove nothing.
    assert!(
        sum.starts > histories
            && sum.crashes > histories / 10
            && sum.rejected > 0
            && sum.adopted > 0
            && sum.with_units > histories / 10
            && sum.skipped > histories / 100
            && sum.warned > histories / 10
    );
}

fn add(a: Stats, b: Stats) -> Stats {
    Stats {
        histories: a.histories + b.histories,
        events: a.events + b.events,
        starts: a.starts + b.starts,
        crashes: a.crashes + b.crashes,
        ended: a.ended + b.ended,
        rejected: a.rejected + b.rejected,
        shutdowns: a.shutdowns + b.shutdowns,
        adopted: a.adopted + b.adopted,
        in_vain: a.in_vain + b.in_vain,
        with_units: a.with_units + b.with_units,
        skipped: a.skipped + b.skipped,
        warned: a.warned + b.warned,
    }
}

/// The negative control: some history must find each fault, and for the right reason.
#[test]
fn faults_are_found() {
    for (fault, word) in Fault::ALL {
        let mut others = std::collections::BTreeSet::new();
        let found = (0..3_000).any(|seed| match live(seed, fault, false) {
            Err(broken) if broken.what.contains(word) => true,
            Err(broken) => {
                others.insert(broken.what);
                false
            }
            Ok(_) => false,
        });
        assert!(
            found,
            "{fault:?}: nobody complained of {word:?}, but of {others:?}"
        );
    }
}

/// The same seed gives the same history; otherwise no failure could be examined again.
#[test]
fn seeds_repeat() {
    for seed in 0..20 {
        let (a, b) = (
            live(seed, Fault::None, false),
            live(seed, Fault::None, false),
        );
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }
}

/// A fault that no changed event or action makes: a queue served twice while another waits.
#[test]
fn starvation_is_found() {
    let mut world = world::World::new(3);
    let mut checker = invariants::Checker::new(world.policy());
    let mut start = Vec::new();
    for (name, queue) in [("1", "mail"), ("2", "mail"), ("3", "web")] {
        start.push(arrive(
            &mut world,
            &mut checker,
            name,
            queue,
            Demand::default(),
        ));
    }
    let mut judge = |action: &Action| checker.judge(action, world.now, &world.procs);
    assert_eq!(judge(&start[0]), Ok(()));
    assert!(judge(&start[1]).is_err_and(|what| what.contains("starvation")));
    assert_eq!(judge(&start[2]), Ok(()));
    assert_eq!(judge(&start[1]), Ok(()));
}

/// The faults that let small jobs starve a large one: tokens or slots that are kept for it are given to others.
#[test]
fn passing_is_found() {
    let gpus = |n| Uses::from([(job::token("gpu"), n)]);
    let plain = Demand::default;
    let uses = |n| Demand {
        uses: gpus(n),
        ..plain()
    };
    let wide = Demand {
        slots: 3,
        ..plain()
    };
    for (first, large, small, is_passing) in [
        (uses(1), uses(2), uses(1), true),
        (plain(), wide.clone(), plain(), true),
        (plain(), wide, uses(1), true),
        // It needs none of what is kept, or there is enough for both.
        (uses(1), uses(2), plain(), false),
        (plain(), uses(1), uses(1), false),
    ] {
        let mut world = world::World::new(3);
        let two = Supply::Count(2);
        world.config.tokens.insert(job::token("gpu"), two);
        let mut checker = invariants::Checker::new(world.policy());
        let mut start = Vec::new();
        for (name, demand) in [("1", &first), ("2", &large), ("3", &small)] {
            start.push(arrive(
                &mut world,
                &mut checker,
                name,
                "default",
                demand.clone(),
            ));
        }
        let mut judge = |action: &Action| checker.judge(action, world.now, &world.procs);
        assert_eq!(judge(&start[0]), Ok(()));
        if is_passing {
            assert!(judge(&start[2]).is_err(), "{large:?} {small:?}");
            continue;
        }
        if large == uses(1) {
            assert_eq!(judge(&start[1]), Ok(()));
        }
        assert_eq!(judge(&start[2]), Ok(()), "{large:?} {small:?}");
    }
}

/// A job arrives. Gives the action that starts it, with the slot that is the number in its name.
fn arrive(
    world: &mut world::World,
    checker: &mut invariants::Checker,
    name: &str,
    queue: &str,
    demand: Demand,
) -> Action {
    let (id, queue) = (job::id(name), job::queue(queue));
    let spec = job::Spec {
        priority: 0,
        not_before: None,
        expires: None,
        group: None,
        parents: Vec::new(),
        demand,
        made: world.now.wall,
        ..job::Spec::random(&mut dice::Dice::new(0), &id, world.now)
    };
    let version = name.parse::<u64>().unwrap() - 1;
    let file = job::File::new(version, std::rc::Rc::new(spec), queue.clone());
    let ticket = world.ticket(&id, &file);
    world.put_pending(&id, &queue, file);
    let stamp = ticket.stamp;
    checker.hear(&Event::Arrived(Box::new(ticket)), world.now);
    let number = version as usize;
    let slot = Slot {
        of_all: number,
        of_queue: number,
    };
    let units = Units::new();
    Action::Start {
        id,
        queue,
        stamp,
        slot,
        units,
    }
}
