//! Slots and tokens.

use super::*;
use crate::core::config::CALLBACKS;
use crate::core::tokens::{TokenName, Uses, parse_uses};

fn token(name: &str) -> TokenName {
    TokenName::new(name).unwrap()
}

/// A job that takes this many slots, and tokens as `gpu=2,licence`.
fn demanding(name: &str, slots: u32, uses: &str, made: i64) -> Ticket {
    let uses = match uses {
        "" => Uses::new(),
        text => parse_uses(text).unwrap(),
    };
    Ticket {
        demand: Demand { slots, uses },
        made: Wall(made),
        ..ticket(name)
    }
}

fn with_tokens(slots: usize, config: &str) -> Scheduler {
    let policy = Policy {
        config: Arc::new(Config::parse(config).unwrap()),
        ..scheduler(slots).policy
    };
    Scheduler::new(policy, 1)
}

fn units(actions: &[Action]) -> Vec<String> {
    let starts = actions.iter().filter_map(|action| match action {
        Action::Start { units, .. } => Some(units),
        _ => None,
    });
    let lists = starts.flat_map(|units| units.values());
    lists.map(|units| units.join(",")).collect()
}

#[test]
fn units_are_handed_out_and_come_back() {
    let mut s = with_tokens(9, r#"{"tokens": {"gpu": ["a", "b", "c"], "licence": 1}}"#);
    assert_eq!(
        units(&arrive(&mut s, demanding("1", 1, "gpu=2,licence", 1)).0),
        ["a,b"]
    );
    assert_eq!(units(&arrive(&mut s, demanding("2", 1, "gpu", 2)).0), ["c"]);
    assert_eq!(arrive(&mut s, demanding("3", 1, "gpu", 3)).1, [""; 0]);
    assert_eq!(arrive(&mut s, demanding("4", 1, "licence", 4)).1, [""; 0]);
    assert_eq!(arrive(&mut s, ticket("plain")).1, ["plain"]);
    assert_eq!(run(&mut s, "1", None, CommittedTo::Complete), ["3", "4"]);
    assert_eq!(
        s.tokens.free(&s.policy.config.tokens),
        [(token("gpu"), 1), (token("licence"), 0)].into()
    );
}

/// The units of a job that succeeded may still be in use by what it left behind.
#[test]
fn units_are_kept_until_nothing_lives() {
    let mut s = with_tokens(9, r#"{"tokens": {"gpu": ["a"]}}"#);
    arrive(&mut s, demanding("1", 1, "gpu", 1));
    arrive(&mut s, demanding("2", 1, "gpu", 2));
    let (id, attempt, terms) = (id("1"), 1, terms(None));
    step(
        &mut s,
        Event::Started {
            id: id.clone(),
            attempt,
            terms,
        },
        NOW,
    );
    let ended = Event::Ended {
        id: id.clone(),
        exit: Exit::Code(0),
        alone: false,
    };
    let (actions, started) = step(&mut s, ended, NOW);
    assert!(
        matches!(actions.as_slice(), [Action::Sweep { .. }]),
        "{actions:?}"
    );
    assert_eq!(started, [""; 0]);
    assert_eq!(step(&mut s, Event::Swept { id }, NOW).1, ["2"]);
}

#[test]
fn unknown_units_of_a_list_keep_all_of_it() {
    let mut s = with_tokens(9, r#"{"tokens": {"gpu": ["a", "b"], "licence": 2}}"#);
    let found = Event::Adopted {
        ticket: Box::new(demanding("1", 1, "gpu,licence", 1)),
        attempt: 1,
        terms: terms(None),
        ran: Duration::ZERO,
        units: Units::new(),
    };
    step(&mut s, found, NOW);
    assert_eq!(arrive(&mut s, demanding("2", 1, "gpu", 2)).1, [""; 0]);
    assert_eq!(arrive(&mut s, demanding("3", 1, "licence", 3)).1, ["3"]);
    let lost = Event::Ended {
        id: id("1"),
        exit: Exit::Lost,
        alone: true,
    };
    assert_eq!(step(&mut s, lost, NOW).1, ["2"]);
}

#[test]
fn more_than_there_is_holds_no_place() {
    let mut s = with_tokens(
        2,
        r#"{"tokens": {"gpu": 2}, "queues": {"mail": {"slots": 1}}}"#,
    );
    let in_mail = Ticket {
        queue: QueueName::new("mail").unwrap(),
        ..demanding("mail", 2, "", 0)
    };
    assert_eq!(arrive(&mut s, in_mail).1, [""; 0]);
    for (name, slots, uses) in [("many", 3, ""), ("gpus", 1, "gpu=3"), ("none", 1, "tape")] {
        assert_eq!(arrive(&mut s, demanding(name, slots, uses, 1)).1, [""; 0]);
    }
    assert!(s.is_drained());
    assert_eq!(arrive(&mut s, demanding("2", 2, "gpu=2", 2)).1, ["2"]);
    run(&mut s, "2", None, CommittedTo::Complete);
    let config =
        Config::parse(r#"{"tokens": {"gpu": 3, "tape": 1}, "queues": {"mail": {"slots": 1}}}"#)
            .unwrap();
    let policy = Policy {
        config: Arc::new(config),
        ..s.policy.clone()
    };
    assert_eq!(
        step(&mut s, Event::Configured(Box::new(policy)), NOW).1,
        ["gpus", "none"]
    );
}

/// Small jobs without end, which are younger, do not starve one that needs more; those that need none of it pass.
#[test]
fn small_jobs_do_not_starve_a_large_one() {
    for (slots, uses, small) in [
        (1, "gpu=3", "gpu"),
        (3, "", ""),
        (3, "gpu=3", "gpu"),
        (1, "gpu,licence=2", "gpu"),
    ] {
        let mut s = with_tokens(3, r#"{"tokens": {"gpu": ["a", "b", "c"], "licence": 2}}"#);
        let mut running = Vec::new();
        for n in 0..3 {
            let name = format!("first-{n}");
            let uses = if n == 0 && uses.contains("licence") {
                "licence"
            } else {
                small
            };
            running.extend(arrive(&mut s, demanding(&name, 1, uses, 0)).1);
        }
        arrive(&mut s, demanding("large", slots, uses, 1));
        let mut ends = 0;
        for n in 0..100 {
            let (other, uses) = if n % 2 == 0 {
                ("small", small)
            } else {
                ("plain", "")
            };
            let name = format!("{other}-{n}");
            running.extend(arrive(&mut s, demanding(&name, 1, uses, 2)).1);
            if running.is_empty() {
                break;
            }
            let first = running.remove(0);
            running.extend(run(&mut s, &first, None, CommittedTo::Complete));
            ends += 1;
            if running.iter().any(|name| name == "large") {
                break;
            }
        }
        assert!(ends <= 6, "{slots} {uses}: started after {ends} ends");
    }
}

#[test]
fn the_part_of_a_demand_that_is_more_than_there_is() {
    let config = r#"{"tokens": {"gpu": ["0", "1"]}, "queues": {"mail": {"slots": 2}}}"#;
    let gpu = token("gpu");
    let (tape, too_many) = (token("tape"), Excess::OfSpool(3));
    let tokens = |name, wanted, total| Excess::Tokens {
        name,
        wanted,
        total,
    };
    for (slots, queue, weight, uses, excess) in [
        (3, "default", 3, "gpu=2", None),
        (3, "default", 4, "", Some(too_many.clone())),
        (3, "mail", 2, "", None),
        (3, "mail", 3, "", Some(Excess::OfQueue(2))),
        (3, "default", 4, "gpu=3", Some(tokens(&gpu, 3, Some(2)))),
        (3, "default", 1, "tape", Some(tokens(&tape, 1, None))),
        // The callbacks run beside the others, unless nothing is run at all.
        (1, CALLBACKS, 2, "", None),
        (0, CALLBACKS, 1, "", Some(Excess::OfSpool(0))),
        (0, "mail", 1, "", Some(Excess::OfSpool(0))),
    ] {
        let Ticket { demand, .. } = demanding("1", weight, uses, 0);
        let policy = with_tokens(slots, config).policy;
        let queue = QueueName::new(queue).unwrap();
        assert_eq!(
            policy.excess(&queue, &demand),
            excess,
            "{slots} {queue} {demand:?}"
        );
    }
}
