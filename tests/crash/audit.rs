//! The promises that must hold after a crash, once the next daemon has done its work.

use crate::rig::{Rig, STATES};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// A promise that was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// An acknowledged job is missing, or has not ended.
    Lost,
    /// A file that is no record, or only a part of one.
    Torn,
    /// A job in two places.
    Twofold,
    /// Two runs of a job at the same time.
    TwoAtOnce,
    /// More starts than the record counts.
    Uncounted,
    /// A `once` job was started again.
    RanAgain,
    /// A finished record that was seen is gone or has changed.
    Vanished,
    /// A cancel that was acknowledged was not carried out.
    NotCancelled,
    /// A number was given twice.
    NumberReused,
    /// A leftover: a file, a process, a job that has not ended.
    LeftBehind,
    /// The next daemon has not done its work.
    Stuck,
}

/// Broken promises, each with a sentence for people.
pub type Findings = Vec<(Broken, String)>;

/// Knowledge about the jobs from outside of the spool.
#[derive(Debug, Default, Clone)]
pub struct Known {
    /// Ids that `pirn add` has printed.
    pub acknowledged: Vec<String>,
    /// Ids of jobs that may be started once only.
    pub once: BTreeSet<String>,
    /// Ids of jobs whose cancelling was acknowledged.
    pub cancelled: BTreeSet<String>,
    /// Finished records that were seen, with their text.
    pub finished: BTreeMap<String, Vec<u8>>,
}

impl Known {
    /// Remembers an acknowledged job.
    pub fn accept(&mut self, id: &str) -> String {
        self.acknowledged.push(id.to_owned());
        id.to_owned()
    }

    /// Remembers the finished records that are visible now.
    pub fn see_finished(&mut self, rig: &Rig) {
        for dir in ["complete", "failed"] {
            for id in rig.names(dir) {
                let Ok(text) = fs::read(rig.spool.join(dir).join(&id)) else {
                    continue;
                };
                if is_over(&text) {
                    self.finished.entry(id).or_insert(text);
                }
            }
        }
    }
}

fn is_over(text: &[u8]) -> bool {
    serde_json::from_slice::<Value>(text).is_ok_and(|r| r.get("finished_at").is_some())
}

/// The files as the crash left them, before any daemon runs: each is whole, and in one place.
pub fn raw(rig: &Rig) -> Findings {
    let mut findings = Findings::new();
    let mut seen = BTreeMap::new();
    for dir in STATES {
        for path in rig.files(dir) {
            let text = fs::read(rig.spool.join(&path)).unwrap_or_default();
            if serde_json::from_slice::<Value>(&text).is_err() {
                let what = format!("{path} is torn: {} bytes", text.len());
                findings.push((Broken::Torn, what));
            }
            let id = path.rsplit('/').next().unwrap_or("").to_owned();
            if let Some(other) = seen.insert(id, path.clone()) {
                findings.push((Broken::Twofold, format!("there are {other} and {path}")));
            }
        }
    }
    findings
}

/// Compares the spool after recovery with the knowledge from outside.
pub fn settled(rig: &Rig, known: &Known) -> Findings {
    let mut findings = raw(rig);
    let mut add = |broken, what: String| findings.push((broken, what));
    let starts = rig.ledger.count("start");
    for line in rig.ledger.lines().iter().filter(|l| l.word == "twice") {
        let what = format!("{} ran twice at once, try {:?}", line.id, line.rest);
        add(Broken::TwoAtOnce, what);
    }
    let mut numbers = BTreeSet::new();
    for id in &known.acknowledged {
        if !numbers.insert(id) {
            add(Broken::NumberReused, format!("{id} was given twice"));
        }
        let ended = ["complete", "failed"].into_iter().find_map(|dir| {
            let text = fs::read(rig.spool.join(dir).join(id)).ok()?;
            Some((dir, is_over(&text)))
        });
        match ended {
            Some((_, true)) => {}
            Some((dir, false)) => add(Broken::LeftBehind, format!("{dir}/{id} has no end")),
            None => add(Broken::Lost, format!("{id} was acknowledged and is lost")),
        }
    }
    for (dir, id, record) in records(rig) {
        let tries = record.get("attempt").and_then(Value::as_u64).unwrap_or(0);
        let begun = starts.get(&id).copied().unwrap_or(0);
        if begun > tries {
            let what = format!("{id} was started {begun} times, its record says {tries}");
            add(Broken::Uncounted, what);
        }
        if known.once.contains(&id) && begun > 1 {
            let what = format!("{id} is once and was started {begun} times");
            add(Broken::RanAgain, what);
        }
        if dir == "complete" && record.get("exit_code") != Some(&Value::from(0)) {
            add(Broken::Torn, format!("complete/{id} has no exit code 0"));
        }
        if dir == "complete" && known.cancelled.contains(&id) {
            let what = format!("{id} is complete, its cancelling was acknowledged");
            add(Broken::NotCancelled, what);
        }
    }
    for (id, text) in &known.finished {
        let now = ["complete", "failed"].map(|dir| fs::read(rig.spool.join(dir).join(id)));
        if !now.into_iter().flatten().any(|now| now == *text) {
            let what = format!("the finished record {id} was seen, and is gone or changed");
            add(Broken::Vanished, what);
        }
    }
    findings.extend(left_behind(rig));
    findings
}

fn records(rig: &Rig) -> Vec<(&'static str, String, Value)> {
    let all = |dir| {
        let names = rig.names(dir).into_iter();
        names.filter_map(move |id| Some((dir, rig.record(dir, &id)?)).map(|(d, r)| (d, id, r)))
    };
    ["complete", "failed"].into_iter().flat_map(all).collect()
}

/// No job waits, runs, or was quarantined, and no process is left.
fn left_behind(rig: &Rig) -> Findings {
    let mut left = Vec::new();
    for dir in ["pending", "active", "bad", "tmp"] {
        left.extend(rig.files(dir));
    }
    // The reserve for a full disk stays.
    left.retain(|path| !path.starts_with("tmp/.reserve"));
    let ended: BTreeSet<String> = &rig.names("complete") | &rig.names("failed");
    let names = rig.names("log").into_iter();
    left.extend(
        names
            .filter(|id| !ended.contains(id))
            .map(|id| format!("log/{id}")),
    );
    left.extend(rig.processes().iter().map(|pid| format!("process {pid}")));
    let behind = |what| (Broken::LeftBehind, format!("{what} is left behind"));
    left.into_iter().map(behind).collect()
}

/// Makes staging files look so old that nobody can be about to rename them.
pub fn age_staging(rig: &Rig) {
    for name in rig.names("tmp") {
        let path = rig.spool.join("tmp").join(name);
        let path = path.to_string_lossy();
        crate::host::try_tool("touch", &["-d", "2 hours ago", &path]);
    }
}

/// Ends a test: prints the number of cases, and fails if promises were broken.
pub fn conclude(rung: &str, tried: &str, findings: &[String]) {
    println!("{rung}: {tried}; {} broken promises", findings.len());
    findings.iter().for_each(|finding| println!("  {finding}"));
    assert!(findings.is_empty(), "{rung}:\n{}", findings.join("\n"));
}
