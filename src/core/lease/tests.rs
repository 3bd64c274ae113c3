//! Random histories of a bridge, its engine and its spool, cut off between any two actions.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::core::time::Wall;
use std::collections::{BTreeSet, VecDeque};

const SECOND: u64 = 1_000_000_000;
const LEASE: Duration = Duration::from_secs(4);
const MOST: usize = 3;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Queued,
    Acked,
    OnFailedQueue,
}

#[derive(Debug)]
struct Remote {
    count: u32,
    visible_at: u64,
    receipt: u64,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Spot {
    Pending,
    Held,
    Active,
    Complete,
    Failed,
}

/// Everything that outlives the bridge.
struct World {
    now: u64,
    boot: u64,
    /// The boot whose leases have all been taken up.
    noted: u64,
    max: Option<u32>,
    messages: BTreeMap<JobId, Remote>,
    /// The jobs, and the receive that each is of.
    spool: BTreeMap<JobId, (Spot, Wall)>,
    /// The jobs that were ever in the spool.
    dropped: BTreeSet<JobId>,
    leases: BTreeMap<JobId, Lease>,
    staged: BTreeSet<JobId>,
    /// The lease in the record of each job.
    in_record: BTreeMap<JobId, Lease>,
    runs: BTreeMap<JobId, u32>,
    accepted: bool,
    calm: bool,
}

struct Bridge {
    table: LeaseTable,
    todo: VecDeque<LeaseAction>,
    calls: Vec<(u64, LeaseCall)>,
}

fn terms(accepted: bool, prefetch: usize) -> LeaseTerms {
    LeaseTerms {
        most: MOST,
        prefetch,
        lease_max: Duration::from_secs(16),
        longest_hold: Some(Duration::from_secs(43_200)),
        needs: None,
        accepted,
        cancel_lost: false,
    }
}

impl World {
    fn time(&self) -> Now {
        Now {
            boot: Boot(self.now),
            wall: Wall(i64::try_from(self.now).unwrap() / 1_000_000 * 1_000_000),
        }
    }

    fn sight(&self, id: &JobId, since: Wall) -> Sighting {
        match self.spool.get(id) {
            None => Sighting::Nowhere,
            Some((Spot::Pending | Spot::Held, _)) => Sighting::Waiting,
            Some((Spot::Active, _)) => Sighting::Running,
            Some((Spot::Complete, of)) if *of == since => Sighting::Well,
            Some((Spot::Failed, of)) if *of == since => Sighting::Badly(Duration::from_secs(1)),
            Some((Spot::Complete | Spot::Failed, _)) => Sighting::Nowhere,
        }
    }

    fn receive(&mut self, bridge: &mut Bridge, dice: &mut Dice) {
        let room = bridge.table.room();
        if room == 0 {
            return;
        }
        let now = self.now;
        let visible = |m: &Remote| m.fate == Fate::Queued && m.visible_at <= now;
        let ready: Vec<JobId> = (self.messages.iter())
            .filter(|(_, m)| visible(m))
            .map(|(id, _)| id.clone())
            .take(room)
            .collect();
        for id in ready {
            let time = self.time();
            let message = self.messages.get_mut(&id).unwrap();
            message.count += 1;
            if self.max.is_some_and(|max| message.count > max) {
                message.fate = Fate::OnFailedQueue;
                continue;
            }
            message.receipt += 1;
            message.visible_at = now + nanos(LEASE);
            if !self.calm && dice.one_in(20) {
                // The bridge is killed before it has written anything; it begins again with the next event.
                continue;
            }
            let mut lease = Lease {
                engine: "test".to_owned(),
                queue: "q".to_owned(),
                url: "u".to_owned(),
                receipt: message.receipt.to_string(),
                count: message.count,
                max: self.max,
                group: None,
                since: time.wall,
                until: time.wall.after(LEASE),
                ends: time.boot.after(LEASE),
                boot: self.boot.to_string(),
                length: LEASE,
                fixed: false,
                lost: None,
                back: false,
            };
            let known = self.spool.get(&id).map(|(spot, since)| (*spot, *since));
            let seen = match known {
                Some((Spot::Failed, _)) if !self.accepted => Sighting::Nowhere,
                Some((_, since)) => self.sight(&id, since),
                None => Sighting::Nowhere,
            };
            if let Some(held) = bridge.table.lease(&id) {
                lease.since = held.since;
            } else if let Some((_, since)) = known.filter(|_| seen != Sighting::Nowhere) {
                lease.since = since;
            }
            let runnable = !dice.one_in(30);
            self.step(
                bridge,
                LeaseEvent::Received {
                    id,
                    lease,
                    runnable,
                    seen,
                },
            );
        }
    }

    fn step(&self, bridge: &mut Bridge, event: LeaseEvent) {
        let todo = bridge.table.step(event, self.time());
        for action in todo.into_iter().rev() {
            bridge.todo.push_front(action);
        }
    }

    /// Does the next action.
    fn perform(&mut self, bridge: &mut Bridge) {
        let Some(action) = bridge.todo.pop_front() else {
            return;
        };
        match action {
            LeaseAction::Stage(id) => {
                let lease = bridge.table.lease(&id).unwrap().clone();
                self.staged.insert(id.clone());
                self.leases.insert(id.clone(), lease.clone());
                self.in_record.insert(id.clone(), lease);
                self.step(bridge, LeaseEvent::Staged(id, true));
            }
            LeaseAction::Drop(id) => {
                let since = self.leases.get(&id).unwrap().since;
                let there = self.spool.get(&id).map(|(spot, _)| *spot);
                assert!(self.staged.remove(&id), "{id} is dropped twice");
                if let Some(spot @ (Spot::Pending | Spot::Held | Spot::Active)) = there {
                    panic!("{id} is dropped while it is {spot:?}");
                }
                self.spool.insert(id.clone(), (Spot::Pending, since));
                self.dropped.insert(id.clone());
                let open = |spot: &Spot| matches!(spot, Spot::Pending | Spot::Active);
                let open = self.spool.values().filter(|(spot, _)| open(spot)).count();
                assert!(
                    open <= MOST,
                    "{open} jobs are held: {:#?} {:#?}",
                    self.spool,
                    bridge.table.held
                );
                self.step(bridge, LeaseEvent::Dropped(id, true));
            }
            LeaseAction::Store(id) => {
                if let Some(lease) = bridge.table.lease(&id) {
                    self.leases.insert(id, lease.clone());
                }
            }
            LeaseAction::Look(id) => {
                if let Some(lease) = bridge.table.lease(&id) {
                    let seen = self.sight(&id, lease.since);
                    self.step(bridge, LeaseEvent::Seen(id, seen));
                }
            }
            LeaseAction::Withdraw(id) => {
                let waits = matches!(self.spool.get(&id), Some((Spot::Pending | Spot::Held, _)));
                if waits {
                    self.spool.remove(&id);
                }
                self.step(bridge, LeaseEvent::Withdrawn(id, waits));
            }
            LeaseAction::Cancel(_) | LeaseAction::Tell(..) => {}
            LeaseAction::Call(call) => bridge.calls.push((self.now, call)),
            LeaseAction::Remove(id) => {
                self.leases.remove(&id);
                self.staged.remove(&id);
            }
        }
    }

    /// The engine does what a call asks for. `answers`: the bridge learns of it.
    fn answer(&mut self, bridge: &mut Bridge, answers: bool, refuses: bool) {
        if bridge.calls.is_empty() {
            return;
        }
        let (asked, call) = bridge.calls.remove(0);
        for entry in call.entries {
            let now = self.now;
            let message = self.messages.get_mut(&entry.id).unwrap();
            let is_ours =
                message.receipt.to_string() == entry.lease.receipt && message.fate == Fate::Queued;
            let answer = match (is_ours, refuses) {
                (_, true) => CallAnswer::Again(Duration::from_millis(500)),
                (false, false) => CallAnswer::Lost("stale".to_owned()),
                (true, false) => {
                    match call.kind {
                        CallKind::Extend => message.visible_at = now + nanos(entry.span),
                        CallKind::Ack => {
                            let spot = self.spool.get(&entry.id).map(|(spot, _)| *spot);
                            let accepted = self.accepted && self.dropped.contains(&entry.id);
                            assert!(
                                spot == Some(Spot::Complete) || accepted,
                                "{}: acknowledged while it is {spot:?}",
                                entry.id
                            );
                            message.fate = Fate::Acked;
                        }
                        CallKind::Nack if self.max.is_some_and(|max| message.count >= max) => {
                            message.fate = Fate::OnFailedQueue;
                        }
                        CallKind::Nack => message.visible_at = now + nanos(entry.span),
                    }
                    CallAnswer::Done
                }
            };
            if answers {
                let (id, receipt) = (entry.id, entry.lease.receipt);
                let asked = Boot(asked);
                self.step(
                    bridge,
                    LeaseEvent::Answered {
                        id,
                        asked,
                        receipt,
                        answer,
                    },
                );
            }
        }
    }

    /// The daemon, or a user, does something with a job.
    fn move_job(&mut self, bridge: &mut Bridge, dice: &mut Dice) {
        let ids: Vec<JobId> = self.spool.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[usize::try_from(dice.roll(ids.len() as u64)).unwrap()].clone();
        let (spot, since) = self.spool[&id];
        let next = match spot {
            Spot::Pending if !self.calm && dice.one_in(20) => None,
            Spot::Pending if !self.calm && dice.one_in(20) => Some(Spot::Held),
            Spot::Pending => {
                *self.runs.entry(id.clone()).or_default() += 1;
                Some(Spot::Active)
            }
            Spot::Held => Some(Spot::Pending),
            Spot::Active if self.calm || !dice.one_in(3) => Some(Spot::Complete),
            Spot::Active if dice.one_in(5) => None,
            Spot::Active => Some(Spot::Failed),
            Spot::Complete | Spot::Failed => return,
        };
        match next {
            Some(next) => drop(self.spool.insert(id.clone(), (next, since))),
            None => drop(self.spool.remove(&id)),
        }
        if !self.calm && dice.one_in(10) {
            // The watch has missed it; the next look round finds it.
            return;
        }
        bridge.todo.push_back(LeaseAction::Look(id));
    }

    fn restart(&mut self, power_cut: bool, dice: &mut Dice, prefetch: usize) -> Bridge {
        if power_cut {
            self.boot += 1;
            if dice.one_in(2) {
                self.leases.clear();
                self.staged.clear();
            }
            // Files that were not synced may be gone; jobs that ran have failed (max_interruptions 0).
            let accepted = self.accepted;
            self.spool
                .retain(|_, (spot, _)| *spot != Spot::Pending || accepted || dice.one_in(2));
            for (spot, _) in self.spool.values_mut() {
                if *spot == Spot::Active {
                    *spot = if accepted {
                        Spot::Pending
                    } else {
                        Spot::Failed
                    };
                }
            }
        }
        let mut bridge = Bridge {
            table: LeaseTable::new(terms(self.accepted, prefetch)),
            todo: VecDeque::new(),
            calls: Vec::new(),
        };
        self.staged.retain(|id| self.leases.contains_key(id));
        let mut found = self.leases.clone();
        let is_new_boot = self.noted != self.boot;
        if is_new_boot || self.accepted {
            for (id, (spot, _)) in &self.spool {
                let is_wanted = match spot {
                    Spot::Pending | Spot::Held | Spot::Active => true,
                    Spot::Complete => is_new_boot,
                    Spot::Failed => false,
                };
                if is_wanted && !found.contains_key(id) {
                    found.insert(id.clone(), self.in_record[id].clone());
                }
            }
        }
        for (id, lease) in found {
            let seen = self.sight(&id, lease.since);
            let same_boot = lease.boot == self.boot.to_string();
            let staged = self.staged.contains(&id);
            self.step(
                &mut bridge,
                LeaseEvent::Resumed {
                    id,
                    lease,
                    staged,
                    seen,
                    same_boot,
                },
            );
        }
        bridge
    }

    fn look_round(bridge: &mut Bridge) {
        let ids: Vec<JobId> = bridge.table.ids().cloned().collect();
        bridge.todo.extend(ids.into_iter().map(LeaseAction::Look));
    }
}

fn history(seed: u64, accepted: bool) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let max = [None, Some(1), Some(3)][usize::try_from(dice.roll(3)).unwrap()];
    let prefetch = match max {
        Some(1) => 0,
        None | Some(_) => usize::try_from(dice.roll(2)).unwrap(),
    };
    let remote = || Remote {
        count: 0,
        visible_at: 0,
        receipt: 0,
        fate: Fate::Queued,
    };
    let ids = (0..6).map(|n| JobId::new(&format!("m{n}")).unwrap());
    let mut world = World {
        now: SECOND,
        boot: 1,
        noted: 0,
        max,
        messages: ids.map(|id| (id, remote())).collect(),
        spool: BTreeMap::new(),
        dropped: BTreeSet::new(),
        leases: BTreeMap::new(),
        staged: BTreeSet::new(),
        in_record: BTreeMap::new(),
        runs: BTreeMap::new(),
        accepted,
        calm: false,
    };
    let mut bridge = world.restart(false, &mut dice, prefetch);
    for _ in 0..200 {
        match dice.roll(8) {
            0 => world.receive(&mut bridge, &mut dice),
            1 | 2 => world.move_job(&mut bridge, &mut dice),
            3 => {
                let refuses = dice.one_in(4);
                world.answer(&mut bridge, true, refuses);
            }
            4 => {
                world.now += dice.roll(3) * SECOND / 2;
                world.step(&mut bridge, LeaseEvent::Tick);
            }
            5 if dice.one_in(20) => world.step(&mut bridge, LeaseEvent::Stop),
            5 if dice.one_in(5) => World::look_round(&mut bridge),
            _ => {}
        }
        // The bridge does all that an event asks for before it takes in another one, unless it is killed.
        loop {
            if dice.one_in(30) {
                // A call under way may still be carried out.
                if dice.one_in(2) {
                    world.answer(&mut bridge, false, false);
                }
                let power_cut = dice.one_in(4);
                bridge = world.restart(power_cut, &mut dice, prefetch);
            } else if bridge.todo.is_empty() {
                world.noted = world.boot;
                break;
            } else if dice.one_in(4) {
                world.move_job(&mut bridge, &mut dice);
            } else {
                world.perform(&mut bridge);
            }
        }
    }
    // From here on nothing goes wrong: all comes to its end.
    world.calm = true;
    bridge = world.restart(false, &mut dice, prefetch);
    for round in 0..3000 {
        world.now += SECOND / 10;
        world.step(&mut bridge, LeaseEvent::Tick);
        if round % 50 == 0 {
            World::look_round(&mut bridge);
        }
        while !bridge.todo.is_empty() {
            world.perform(&mut bridge);
        }
        world.answer(&mut bridge, true, false);
        world.move_job(&mut bridge, &mut dice);
        world.receive(&mut bridge, &mut dice);
    }
    for (id, message) in &world.messages {
        assert_ne!(message.fate, Fate::Queued, "{id} is left: {message:?}");
        let runs = world.runs.get(id).copied().unwrap_or(0);
        let spare = if accepted { u32::MAX } else { message.count };
        assert!(
            runs <= spare,
            "{id}: {runs} runs, {} receives",
            message.count
        );
    }
    assert!(
        world.leases.is_empty(),
        "{:?} {:?} {:?}",
        world.leases,
        bridge.table,
        world.messages
    );
    assert!(world.staged.is_empty());
    assert!(bridge.table.is_empty(), "{:?}", bridge.table);
}

#[test]
fn any_history_comes_to_a_good_end() {
    for seed in 1..400 {
        let run = || history(seed, seed % 4 == 0);
        if let Err(e) = std::panic::catch_unwind(run) {
            println!("seed {seed}");
            std::panic::resume_unwind(e);
        }
    }
}

fn now(ms: u64) -> Now {
    Now {
        boot: Boot(ms * 1_000_000),
        wall: Wall(i64::try_from(ms).unwrap() * 1_000_000),
    }
}

fn lease(count: u32, max: Option<u32>) -> Lease {
    Lease {
        engine: "sqs".to_owned(),
        queue: "q".to_owned(),
        url: "http://u".to_owned(),
        receipt: format!("r{count}"),
        count,
        max,
        group: Some("g".to_owned()),
        since: now(0).wall,
        until: now(120_000).wall,
        ends: now(120_000).boot,
        boot: "b".to_owned(),
        length: Duration::from_secs(120),
        fixed: false,
        lost: None,
        back: false,
    }
}

#[test]
fn a_lease_reads_as_written() {
    let mut one = lease(2, Some(3));
    assert_eq!(Lease::parse(&one.to_json(None)).unwrap(), one);
    one.lost = Some("gone".to_owned());
    one.back = true;
    let text = one.to_json(Some("work"));
    assert_eq!(Lease::read(&text).unwrap(), (one, Some("work".to_owned())));
    assert!(Lease::parse("{}").is_err());
    assert!(Lease::parse("").is_err());
}

/// The extensions of a job that never ends: when each is asked for, and its length, in seconds.
fn extensions(terms: LeaseTerms, lease: Lease, until: u64) -> Vec<(u64, u64)> {
    let id = JobId::new("a").unwrap();
    let mut table = LeaseTable::new(terms);
    let received = LeaseEvent::Received {
        id: id.clone(),
        lease,
        runnable: true,
        seen: Sighting::Running,
    };
    table.step(received, now(0));
    let mut asked = Vec::new();
    while let Some(due) = table.due().filter(|due| due.0 <= until * SECOND) {
        let time = now(due.0 / 1_000_000);
        for action in table.step(LeaseEvent::Tick, time) {
            if let LeaseAction::Call(call) = action {
                assert_eq!(call.kind, CallKind::Extend);
                asked.push((due.0 / SECOND, call.entries[0].span.as_secs()));
                let answered = LeaseEvent::Answered {
                    id: id.clone(),
                    asked: due,
                    receipt: call.entries[0].lease.receipt.clone(),
                    answer: CallAnswer::Done,
                };
                table.step(answered, time);
            }
        }
    }
    asked
}

#[test]
fn leases_double_up_to_their_limits() {
    let minutes = |m: u64| Duration::from_secs(60 * m);
    let plain = LeaseTerms {
        lease_max: minutes(10),
        ..terms(false, 0)
    };
    let first = extensions(plain.clone(), lease(1, None), 1500);
    assert_eq!(
        first,
        [
            (60, 240),
            (180, 480),
            (420, 600),
            (720, 600),
            (1020, 600),
            (1320, 600)
        ]
    );

    // Near the limit of 12 hours each is shorter, and then there are no more.
    let long = LeaseTerms {
        lease_max: minutes(720),
        ..plain.clone()
    };
    let all = extensions(long.clone(), lease(1, None), 50_000);
    let ends: Vec<u64> = all.iter().map(|(at, length)| at + length).collect();
    assert!(ends.iter().all(|end| *end <= 43_140), "{ends:?}");
    assert_eq!(ends.last(), Some(&43_140));

    // No longer than the job can need.
    let needs = LeaseTerms {
        needs: Some(minutes(10)),
        ..long
    };
    let all = extensions(needs, lease(1, None), 600);
    assert_eq!(all[..2], [(60, 240), (180, 420)]);

    // A fixed lease is taken again after a third of it.
    let fixed = Lease {
        fixed: true,
        ..lease(1, None)
    };
    assert_eq!(
        extensions(plain, fixed, 130),
        [(40, 120), (80, 120), (120, 120)]
    );
}

#[test]
fn acknowledgements_wait_for_company() {
    let id = |n: u32| JobId::new(&format!("j{n}")).unwrap();
    let mut table = LeaseTable::new(LeaseTerms {
        most: 20,
        ..terms(false, 0)
    });
    for n in 0..13 {
        let received = LeaseEvent::Received {
            id: id(n),
            lease: lease(1, None),
            runnable: true,
            seen: Sighting::Running,
        };
        table.step(received, now(0));
    }
    let mut calls = Vec::new();
    let mut take = |todo: Vec<LeaseAction>| {
        for action in todo {
            if let LeaseAction::Call(call) = action {
                calls.push((call.kind, call.entries.len()));
            }
        }
    };
    for n in 0..11 {
        take(table.step(LeaseEvent::Seen(id(n), Sighting::Well), now(1000)));
    }
    take(table.step(LeaseEvent::Tick, now(1099)));
    take(table.step(LeaseEvent::Tick, now(1100)));
    take(table.step(
        LeaseEvent::Seen(id(11), Sighting::Badly(Duration::ZERO)),
        now(1200),
    ));
    // Nobody is left who could come.
    take(table.step(LeaseEvent::Seen(id(12), Sighting::Well), now(1210)));
    use CallKind::{Ack, Nack};
    assert_eq!(calls, [(Ack, 10), (Ack, 1), (Ack, 1), (Nack, 1)]);
}

/// The engine hands a message out again before we learn that it was given back.
#[test]
fn a_message_that_comes_again_too_soon_is_given_back_again() {
    let id = JobId::new("a").unwrap();
    let mut table = LeaseTable::new(terms(false, 0));
    let mut receive = |count, max, at| {
        let received = LeaseEvent::Received {
            id: id.clone(),
            lease: lease(count, max),
            runnable: false,
            seen: Sighting::Nowhere,
        };
        let todo = table.step(received, now(at));
        let calls = todo.into_iter().filter_map(|action| match action {
            LeaseAction::Call(call) => Some((call.kind, call.entries[0].lease.receipt.clone())),
            _ => None,
        });
        calls.collect::<Vec<_>>()
    };
    assert_eq!(receive(1, Some(3), 0), [(CallKind::Nack, "r1".to_owned())]);
    assert_eq!(receive(2, Some(3), 10), [(CallKind::Nack, "r2".to_owned())]);
    let mut answer = |receipt: &str| {
        let answered = LeaseEvent::Answered {
            id: id.clone(),
            asked: now(0).boot,
            receipt: receipt.to_owned(),
            answer: CallAnswer::Done,
        };
        table.step(answered, now(20));
        table.is_empty()
    };
    assert!(!answer("r1"));
    assert!(answer("r2"));
}

/// A bridge that acknowledges what it has accepted takes a lease without its record for that of an accepted job.
#[test]
fn no_lease_is_written_before_its_record() {
    let id = JobId::new("a").unwrap();
    let mut table = LeaseTable::new(terms(true, 0));
    let mut receive = |count, at| {
        let received = LeaseEvent::Received {
            id: id.clone(),
            lease: lease(count, None),
            runnable: true,
            seen: Sighting::Nowhere,
        };
        let todo = table.step(received, now(at));
        table.step(LeaseEvent::Staged(id.clone(), false), now(at));
        todo
    };
    assert_eq!(receive(1, 0), [LeaseAction::Stage(id.clone())]);
    assert_eq!(receive(2, 10), []);
}

#[test]
fn a_message_that_is_no_job_waits_longer_each_time() {
    let wait = |count, max| lease(count, max).refused_for().as_secs();
    assert_eq!([wait(1, None), wait(2, None), wait(50, None)], [2, 4, 512]);
    assert_eq!(wait(1, Some(3)), 0);
}

#[test]
fn a_message_whose_lease_is_lost_is_acknowledged_before_others_come() {
    let id = JobId::new("j").unwrap();
    let mut table = LeaseTable::new(LeaseTerms {
        most: 1,
        ..terms(false, 0)
    });
    let received = LeaseEvent::Received {
        id: id.clone(),
        lease: lease(1, None),
        runnable: true,
        seen: Sighting::Running,
    };
    table.step(received, now(0));
    table.step(LeaseEvent::Tick, now(61_000));
    let answered = |answer| LeaseEvent::Answered {
        id: id.clone(),
        asked: now(61_000).boot,
        receipt: lease(1, None).receipt,
        answer,
    };
    let lost = CallAnswer::Lost("stale".to_owned());
    table.step(answered(lost), now(61_000));
    table.step(LeaseEvent::Seen(id.clone(), Sighting::Well), now(62_000));
    assert_eq!(table.room(), 0);
    table.step(answered(CallAnswer::Done), now(62_000));
    assert_eq!(table.room(), 1);
}

#[test]
fn a_delay_ends_before_the_limit_of_the_engine() {
    let id = JobId::new("a").unwrap();
    let mut table = LeaseTable::new(terms(false, 0));
    let received = LeaseEvent::Received {
        id: id.clone(),
        lease: lease(1, None),
        runnable: true,
        seen: Sighting::Running,
    };
    table.step(received, now(0));
    let failed = Sighting::Badly(Duration::from_secs(43_200));
    let todo = table.step(LeaseEvent::Seen(id, failed), now(60_000));
    let spans = todo.iter().filter_map(|action| match action {
        LeaseAction::Call(call) => Some(call.entries[0].span.as_secs()),
        _ => None,
    });
    assert_eq!(spans.collect::<Vec<_>>(), [43_200 - 60 - 60]);
}
