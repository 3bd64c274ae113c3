//! Histories that the simulation (`tests/sim`) found or cannot see, told one by one.

mod shares;

use super::*;
use crate::core::config::pauses::Pauses;
use crate::core::config::{Config, Only, Terms};
use crate::core::policy::RetryRule;
use crate::core::process::Exit;
use crate::core::retry::{BackoffSpec, ExitRules};
use crate::core::tokens::Units;
use std::cmp::Reverse;
use std::sync::Arc;

const NOW: Now = Now {
    boot: Boot(1_000_000_000),
    wall: Wall(1_000_000_000),
};

fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

fn ticket(name: &str) -> Ticket {
    Ticket {
        id: id(name),
        queue: QueueName::default(),
        stamp: Stamp {
            inode: 1,
            modified: 0,
            size: 1,
        },
        priority: 0,
        made: Wall(0),
        not_before: None,
        wait: None,
        expires: None,
        group: None,
        parents: Vec::new(),
        demand: Demand::default(),
    }
}

fn after(name: &str, parent: &str) -> Ticket {
    let parent = Parent {
        id: id(parent),
        need: Need::Complete,
        seen: ParentState::Open,
    };
    Ticket {
        parents: vec![parent],
        ..ticket(name)
    }
}

fn scheduler(slots: usize) -> Scheduler {
    let policy = Policy {
        slots,
        config: Arc::new(Config::default()),
        pauses: Pauses::default(),
        only: Only::default(),
    };
    Scheduler::new(policy, 1)
}

fn terms(timeout: Option<Duration>) -> Box<Terms> {
    Box::new(Terms {
        timeout,
        warn: None,
        grace: Duration::from_secs(10),
        backoff: BackoffSpec::default(),
        max_log: None,
        nice: None,
        retry: RetryRule {
            tries: 3,
            max_interruptions: 3,
            interruptions: 0,
            rules: ExitRules::default(),
            once: false,
        },
    })
}

/// One step, and the ids of the jobs it starts.
fn step(scheduler: &mut Scheduler, event: Event, now: Now) -> (Vec<Action>, Vec<String>) {
    let mut actions = Vec::new();
    scheduler.step(event, now, &mut actions);
    let started = actions.iter().filter_map(|action| match action {
        Action::Start { id, .. } => Some(id.to_string()),
        _ => None,
    });
    let started = started.collect();
    (actions, started)
}

fn arrive(scheduler: &mut Scheduler, ticket: Ticket) -> (Vec<Action>, Vec<String>) {
    step(scheduler, Event::Arrived(Box::new(ticket)), NOW)
}

/// A job that did well, from its start to its commit.
fn run(
    scheduler: &mut Scheduler,
    name: &str,
    timeout: Option<Duration>,
    place: CommittedTo,
) -> Vec<String> {
    let (id, terms) = (id(name), terms(timeout));
    let started = Event::Started {
        id: id.clone(),
        attempt: 1,
        terms,
    };
    step(scheduler, started, NOW);
    let ended = Event::Ended {
        id: id.clone(),
        exit: Exit::Code(0),
        alone: true,
    };
    let mut all = step(scheduler, ended, NOW).1;
    all.extend(step(scheduler, Event::Committed { id, place }, NOW).1);
    all
}

#[test]
fn timers_of_ended_jobs_do_not_pile_up() {
    let mut s = scheduler(1);
    let long = arrive(&mut s, ticket("long"));
    assert_eq!(long.1, ["long"]);
    for n in 0..10_000 {
        let name = n.to_string();
        arrive(&mut s, ticket(&name));
    }
    // The first of them keeps the heap's top: what is below is stale none the less.
    let day = Some(Duration::from_secs(86_400));
    run(
        &mut s,
        "long",
        Some(Duration::from_secs(3_600)),
        CommittedTo::Complete,
    );
    for n in 0..10_000 {
        run(&mut s, &n.to_string(), day, CommittedTo::Complete);
    }
    assert_eq!(s.counts(), Counts::default());
    assert_eq!(s.boot_timers.len(), 0);
    assert_eq!(s.next_wake(), (None, None));
}

#[test]
fn buried_timers_are_bounded_too() {
    let mut s = scheduler(2);
    arrive(&mut s, ticket("long"));
    let hour = terms(Some(Duration::from_secs(3_600)));
    step(
        &mut s,
        Event::Started {
            id: id("long"),
            attempt: 1,
            terms: hour,
        },
        NOW,
    );
    for n in 0..10_000 {
        let name = n.to_string();
        arrive(&mut s, ticket(&name));
        run(
            &mut s,
            &name,
            Some(Duration::from_secs(86_400)),
            CommittedTo::Complete,
        );
    }
    assert!(s.boot_timers.len() < 100, "{}", s.boot_timers.len());
}

/// Each of a long chain comes after the one before; neither order of arrival may look back along all of it each time.
#[test]
fn long_chains_cost_little() {
    let n = 20_000;
    let name = |i: usize| format!("j{i}");
    for backwards in [false, true] {
        let mut s = scheduler(1);
        for i in 0..n {
            let i = if backwards { n - 1 - i } else { i };
            let (actions, _) = arrive(&mut s, after(&name(i + 1), &name(i)));
            assert!(actions.is_empty());
        }
        assert_eq!(s.counts().waiting, n);
        let (actions, _) = arrive(&mut s, after(&name(0), &name(n)));
        assert!(
            matches!(actions.as_slice(), [Action::Quarantine { .. }]),
            "{actions:?}"
        );
    }
}

#[test]
fn a_ring_is_drawn_in_the_order_of_waiting() {
    let mut s = scheduler(1);
    arrive(&mut s, after("a", "b"));
    arrive(&mut s, after("b", "c"));
    let (actions, _) = arrive(&mut s, after("c", "a"));
    match actions.as_slice() {
        [
            Action::Quarantine {
                id,
                why: QuarantineReason::Ring { why, .. },
                ..
            },
        ] => {
            assert_eq!(id.as_str(), "c");
            assert!(why.ends_with("c -> a -> b -> c"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

/// The second of a group expires while the first runs: it is failing, and must not be started when the first ends.
#[test]
fn an_expired_member_is_not_started_when_its_turn_comes() {
    let mut s = scheduler(2);
    let member = |name: &str| Ticket {
        group: Some("g".into()),
        ..ticket(name)
    };
    arrive(&mut s, member("1"));
    arrive(
        &mut s,
        Ticket {
            expires: Some(Wall(2_000_000_000)),
            ..member("2")
        },
    );
    let later = Now {
        boot: Boot(2_000_000_000),
        wall: Wall(2_000_000_000),
    };
    let (actions, _) = step(&mut s, Event::Tick, later);
    assert!(
        matches!(actions.as_slice(), [Action::EndUnrun { .. }]),
        "{actions:?}"
    );
    assert!(run(&mut s, "1", None, CommittedTo::Complete).is_empty());
    let failed = Event::Committed {
        id: id("2"),
        place: CommittedTo::Failed,
    };
    step(&mut s, failed, later);
    assert_eq!(s.counts(), Counts::default());
}

/// The parent runs again behind its delayed child, in the child's own group: neither may wait for the other.
#[test]
fn a_passed_gate_stays_passed() {
    let mut s = scheduler(1);
    let mut child = after("child", "parent");
    child.parents[0].seen = ParentState::Complete;
    child.group = Some("g".into());
    child.not_before = Some(Wall(5_000_000_000));
    arrive(&mut s, child);
    let again = Ticket {
        group: Some("g".into()),
        made: Wall(1),
        ..ticket("parent")
    };
    assert!(arrive(&mut s, again).1.is_empty());
    let later = Now {
        boot: Boot(5_000_000_000),
        wall: Wall(5_000_000_000),
    };
    assert_eq!(step(&mut s, Event::Tick, later).1, ["child"]);
}

/// Three files of one name: the one that runs, and two in different queues. The older of these is said to be so.
#[test]
fn only_one_successor_waits() {
    let mut s = scheduler(1);
    arrive(&mut s, ticket("1"));
    let mail = QueueName::new("mail").unwrap();
    let in_mail = Ticket {
        queue: mail.clone(),
        ..ticket("1")
    };
    assert!(arrive(&mut s, in_mail).0.is_empty());
    assert_eq!(s.believes(&id("1")).1, Some(mail.clone()));
    // Another file than the one that is being started: that one may also be seen again.
    let newer = Ticket {
        stamp: Stamp {
            inode: 99,
            modified: 0,
            size: 0,
        },
        ..ticket("1")
    };
    assert!(arrive(&mut s, ticket("1")).0.is_empty());
    match arrive(&mut s, newer).0.as_slice() {
        [Action::Quarantine { queue, .. }] => assert_eq!(*queue, mail),
        other => panic!("{other:?}"),
    }
}

/// A pending file that was failing when the active one of its name was found: it no longer counts as ending.
#[test]
fn adoption_leaves_the_figures_right() {
    let mut s = scheduler(1);
    let expired = Ticket {
        expires: Some(NOW.wall),
        ..ticket("1")
    };
    assert!(matches!(
        arrive(&mut s, expired).0.as_slice(),
        [Action::EndUnrun { .. }]
    ));
    let found = Event::Adopted {
        ticket: Box::new(ticket("1")),
        attempt: 1,
        terms: terms(None),
        ran: Duration::ZERO,
        units: Units::new(),
    };
    step(&mut s, found, NOW);
    let figures = Counts {
        running: 1,
        ..Counts::default()
    };
    assert_eq!(s.counts(), figures);
}

/// An adopted job of a group is tried again, whatever became of its parent since it began.
#[test]
fn an_adopted_job_has_passed_its_parents() {
    let mut s = scheduler(1);
    let mut member = after("1", "parent");
    member.parents[0].seen = ParentState::Failed;
    member.group = Some("g".into());
    let found = Event::Adopted {
        ticket: Box::new(member.clone()),
        attempt: 1,
        terms: terms(None),
        ran: Duration::ZERO,
        units: Units::new(),
    };
    step(&mut s, found, NOW);
    let ended = Event::Ended {
        id: id("1"),
        exit: Exit::Lost,
        alone: true,
    };
    step(&mut s, ended, NOW);
    let place = CommittedTo::Pending(Box::new(member));
    let committed = Event::Committed { id: id("1"), place };
    assert_eq!(step(&mut s, committed, NOW).1, ["1"]);
}

/// Higher priority first, then age, then names with the numbers in them by value, whoever leaves meanwhile.
#[test]
fn those_that_are_ready_start_in_order() {
    let mut s = scheduler(0);
    let mut waiting = Vec::new();
    for n in 0..200u64 {
        let dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let name = match dice % 3 {
            0 => format!("a-long-name-{n}"),
            _ => n.to_string(),
        };
        let ticket = Ticket {
            priority: (dice / 3 % 4) as i32,
            made: Wall((dice / 12 % 5) as i64),
            ..ticket(&name)
        };
        let is_number = name.parse::<u64>().is_ok();
        let rank = (Reverse(ticket.priority), ticket.made, !is_number, n, name);
        step(&mut s, Event::Arrived(Box::new(ticket)), NOW);
        waiting.push(rank);
        if dice / 60 % 3 == 0 {
            let (.., name) = waiting.swap_remove(dice as usize / 180 % waiting.len());
            let (id, queue) = (id(&name), QueueName::default());
            step(&mut s, Event::Withdrawn { id, queue }, NOW);
        }
    }
    waiting.sort();
    let policy = Policy {
        slots: 200,
        ..scheduler(0).policy
    };
    let (_, started) = step(&mut s, Event::Configured(Box::new(policy)), NOW);
    let names: Vec<String> = waiting.into_iter().map(|(.., name)| name).collect();
    assert_eq!(started, names);
}

/// A job in the queue `callbacks`.
fn callback(name: &str) -> Ticket {
    Ticket {
        queue: QueueName::new("callbacks").unwrap(),
        ..ticket(name)
    }
}

/// Neither take urgent jobs the callbacks' slots, nor callbacks those of jobs.
#[test]
fn callbacks_run_beside_the_slots() {
    let mut s = scheduler(1);
    let urgent = |name| Ticket {
        priority: 10,
        ..ticket(name)
    };
    assert_eq!(arrive(&mut s, urgent("a")).1, ["a"]);
    assert_eq!(arrive(&mut s, urgent("b")).1, [""; 0]);
    for n in 0..4 {
        let name = format!("callback-{n}");
        assert_eq!(arrive(&mut s, callback(&name)).1, [name]);
    }
    assert_eq!(arrive(&mut s, callback("callback-4")).1, [""; 0]);
    assert_eq!((s.counts().running, s.counts().waiting), (5, 2));
    assert_eq!(
        run(&mut s, "callback-1", None, CommittedTo::Complete),
        ["callback-4"]
    );
    assert_eq!(run(&mut s, "a", None, CommittedTo::Complete), ["b"]);
    assert!(s.is_full() && !s.is_quiet());
}

/// All that stops jobs stops callbacks too.
#[test]
fn callbacks_are_stopped_as_jobs_are() {
    let paused = |text: &str, slots: usize| Policy {
        pauses: Pauses::default(),
        slots,
        config: Arc::new(Config::parse(text).unwrap()),
        only: Only::default(),
    };
    let of_queue = |settings: &str| format!("{{\"queues\": {{\"callbacks\": {{{settings}}}}}}}");
    for policy in [
        paused("{}", 0),
        paused(&of_queue("\"slots\": 2"), 0),
        paused("{\"paused\": true}", 2),
        paused(&of_queue("\"paused\": true"), 2),
        paused(&of_queue("\"slots\": 0"), 2),
    ] {
        let mut s = Scheduler::new(policy, 1);
        assert_eq!(arrive(&mut s, callback("c")).1, [""; 0]);
        assert!(s.is_drained());
        let two = Event::Configured(Box::new(paused(&of_queue("\"slots\": 1"), 2)));
        assert_eq!(step(&mut s, two, NOW).1, ["c"]);
    }
}
