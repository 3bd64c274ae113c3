//! The content of a simulated job file, and the file itself.

use crate::dice::Dice;
use pirn::core::config::Terms;
use pirn::core::id::{JobId, QueueName};
use pirn::core::policy::{RetryRule, Verdict};
use pirn::core::retry::{BackoffSpec, ExitRules};
use pirn::core::scheduler::{Demand, Need, Stamp};
use pirn::core::time::{Now, Wall};
use pirn::core::tokens::{TokenName, Units, Uses};
use pirn::core::warning::Warning;
use std::rc::Rc;
use std::time::Duration;

/// Few names, so that jobs meet: numbers sort by value, words after them.
pub const NAMES: [&str; 10] = ["1", "2", "3", "9", "10", "11", "a", "b", "make", "zeta"];
pub const QUEUES: [&str; 4] = ["default", "mail", "web", "callbacks"];
const GROUPS: [&str; 2] = ["g", "h"];
pub const TOKENS: [&str; 2] = ["gpu", "licence"];

pub fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

pub fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

pub fn token(name: &str) -> TokenName {
    TokenName::new(name).unwrap()
}

fn demand(dice: &mut Dice) -> Demand {
    let mut uses = Uses::new();
    for name in TOKENS {
        if dice.percent(25) {
            uses.insert(token(name), 1 + dice.below(3) as u32);
        }
    }
    let slots = match dice.percent(70) {
        true => 1,
        false => 1 + dice.below(3) as u32,
    };
    Demand { slots, uses }
}

/// The fields of the job's record.
#[derive(Debug)]
pub struct Spec {
    pub priority: i32,
    pub made: Wall,
    pub not_before: Option<Wall>,
    pub expires: Option<Wall>,
    pub group: Option<&'static str>,
    pub parents: Vec<(JobId, Need)>,
    pub demand: Demand,
    pub tries: u32,
    pub max_interruptions: u32,
    pub once: bool,
    pub timeout: Option<Duration>,
    /// Shorter than the timeout.
    pub warn: Option<Duration>,
    pub grace: Duration,
    pub backoff: BackoffSpec,
    /// The program cannot be started.
    pub impossible: bool,
    /// The chance that a try ends well.
    pub luck: u64,
    /// The longest try, in milliseconds.
    pub length: u64,
    /// The job ends when it is told to.
    pub obeys: bool,
    /// The job leaves other processes behind when its leader ends.
    pub leaves: bool,
}

impl Spec {
    pub fn random(dice: &mut Dice, own: &JobId, now: Now) -> Self {
        let around = |dice: &mut Dice, spread: u64| {
            let offset = dice.below(2 * spread) as i64 - spread as i64;
            Wall(now.wall.0 + offset * 1_000_000_000)
        };
        let mut parents: Vec<(JobId, Need)> = Vec::new();
        if dice.percent(25) {
            for _ in 0..=dice.below(2) {
                let need = match dice.below(5) {
                    0 => Need::End,
                    1 => Need::Fail,
                    _ => Need::Complete,
                };
                let parent = id(NAMES[dice.index(NAMES.len())]);
                // Waiting for itself is a cycle like any other, but would make most cycles that short.
                if parent != *own || dice.percent(10) {
                    parents.push((parent, need));
                }
            }
        }
        let made = if dice.percent(60) {
            now.wall
        } else {
            around(dice, 100)
        };
        let timeout = dice.percent(30).then(|| 1 + dice.below(20_000));
        let before = |ms| 1 + dice.below(ms);
        let warn = timeout.filter(|ms| *ms > 2).map(|ms| ms - 2).map(before);
        let warn = warn.filter(|_| dice.percent(70));
        Self {
            priority: if dice.percent(60) {
                0
            } else {
                dice.below(3) as i32 - 1
            },
            made,
            not_before: dice.percent(12).then(|| around(dice, 60)),
            expires: dice.percent(15).then(|| around(dice, 120)),
            group: dice.percent(35).then(|| *dice.pick(&GROUPS)),
            parents,
            demand: demand(dice),
            tries: 1 + dice.below(4) as u32,
            max_interruptions: *dice.pick(&[0, 1, 2, 3, 3]),
            once: dice.percent(15),
            timeout: timeout.map(Duration::from_millis),
            warn: warn.map(Duration::from_millis),
            grace: Duration::from_millis(*dice.pick(&[0, 500, 10_000])),
            backoff: BackoffSpec {
                first: Some(Duration::from_millis(*dice.pick(&[0, 100, 1_000, 30_000]))),
                factor: Some(*dice.pick(&[1.0, 2.0, 10.0])),
                max: Some(Duration::from_secs(*dice.pick(&[1, 60]))),
            },
            impossible: dice.percent(4),
            luck: *dice.pick(&[0, 50, 80, 100]),
            length: *dice.pick(&[1, 150, 5_000, 60_000]),
            obeys: dice.percent(70),
            leaves: dice.percent(15),
        }
    }
}

/// A job's file, wherever it lies.
#[derive(Debug, Clone)]
pub struct File {
    /// Distinguishes it from other files of the same name, as inodes do.
    pub version: u64,
    pub spec: Rc<Spec>,
    pub queue: QueueName,
    /// Tries that have begun; a claim begins one (DESIGN section 4: a file in active/ is a try).
    pub attempt: u32,
    /// Tries that were interrupted.
    pub interruptions: u32,
    /// Programs that ran since the user last queued it: never more than `tries` plus one for each interruption.
    pub spawned: u32,
    pub retry_at: Option<Wall>,
    /// The record has its end; the file only has to be moved on.
    pub end: Option<Verdict>,
    /// The units that its note names.
    pub units: Units,
    /// Its note says that this try was warned.
    pub warned: bool,
}

impl File {
    /// A file that a user has just written.
    pub fn new(version: u64, spec: Rc<Spec>, queue: QueueName) -> Self {
        Self {
            version,
            spec,
            queue,
            attempt: 0,
            interruptions: 0,
            spawned: 0,
            retry_at: None,
            end: None,
            units: Units::new(),
            warned: false,
        }
    }

    pub fn stamp(&self) -> Stamp {
        Stamp {
            inode: self.version,
            modified: i64::from(self.attempt),
            size: 1,
        }
    }

    pub fn terms(&self) -> Terms {
        let spec = &self.spec;
        let warn = spec.warn.filter(|_| !self.warned);
        Terms {
            timeout: spec.timeout,
            warn: warn.map(|before| Warning {
                before,
                signal: "USR1",
            }),
            grace: spec.grace,
            backoff: spec.backoff,
            max_log: None,
            nice: None,
            retry: RetryRule {
                tries: spec.tries,
                max_interruptions: spec.max_interruptions,
                interruptions: self.interruptions,
                rules: ExitRules::default(),
                once: spec.once,
            },
        }
    }

    /// `mv failed/7 pending/` gives a job all its tries again.
    pub fn make_fresh(&mut self) {
        self.attempt = 0;
        self.interruptions = 0;
        self.spawned = 0;
        self.retry_at = None;
        self.end = None;
        self.units.clear();
        self.warned = false;
    }
}
