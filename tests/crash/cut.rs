//! Rung C: the file system under the spool is cut off (shutdown ioctl, no log flush), right after an acknowledgement or
//! at any moment; then it is mounted again, recovered, and compared with the promises.
//!
//! A cut must be quiet: a sync by other work would hide that our own is missing. So at most moments there is one job,
//! and nothing happens after the event that promises something.

use crate::audit::{self, Broken, Findings, Known};
use crate::host::{Dice, ready, setting, wait_for};
use crate::image::{Image, KINDS, TOOLS};
use crate::load::under_load;
use crate::rig::Rig;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The moment at which the file system is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// `pirn add` has exited with 0; there is no daemon.
    Added,
    /// A push over HTTP was answered with 201.
    Pushed,
    /// A finished record was seen.
    Finished,
    /// A `once` job has started.
    Begun,
    /// Any moment, while jobs come and go.
    Load,
}

/// The cuts of one file system, so that the result of a recovery is crashed again.
const CUTS_PER_IMAGE: u64 = 5;

/// A spool on an image.
pub struct Bench {
    pub rig: Rig,
    pub image: Image,
    pub known: Known,
    /// Tries that no record counts: pirn-spool(5) says when that may be.
    pub uncounted: usize,
}

impl Bench {
    /// An empty spool. `None`, with a message, if the machine cannot do it.
    pub fn new((kind, size): (&'static str, u64), faults: &str) -> Option<Self> {
        let image = Image::fresh(kind, size)?;
        let rig = Rig::new(image.beside(), &image.mount_point().join("spool"), faults);
        rig.make();
        Some(Self {
            rig,
            image,
            known: Known::default(),
            uncounted: 0,
        })
    }

    /// Works up to the moment, cuts, boots, recovers, and checks.
    pub fn round(&mut self, moment: Moment, dice: &mut Dice) -> Findings {
        let gate = format!("gate{}", self.image.cuts());
        match moment {
            Moment::Added => self.added(dice),
            Moment::Pushed => self.pushed(dice),
            Moment::Finished => self.finished(dice),
            Moment::Begun => self.begun(&gate),
            Moment::Load => self.load(dice),
        }
        self.rig.kill_all();
        self.image.reboot();
        self.rig.ledger.open_gate(&gate);
        let mut findings = audit::raw(&self.rig);
        audit::age_staging(&self.rig);
        if let Err(what) = self.rig.recover() {
            findings.push((Broken::Stuck, what));
        }
        findings.extend(audit::settled(&self.rig, &self.known));
        let all = findings.len();
        findings.retain(|(broken, _)| *broken != Broken::Uncounted);
        self.uncounted += all - findings.len();
        findings.sort();
        findings.dedup();
        findings
    }

    fn added(&mut self, dice: &mut Dice) {
        let named = format!("n{}", self.image.cuts());
        let options: [&[&str]; 3] = [&[], &["--queue", "mail"], &["--id", &named]];
        let options = options[dice.below(3) as usize];
        for _ in 0..dice.below(3) {
            let id = self.rig.add(&[], &["ok"]);
            self.known.accept(&id);
        }
        let id = self.rig.add(options, &["ok"]);
        self.known.accept(&id);
        self.image.cut();
    }

    fn pushed(&mut self, dice: &mut Dice) {
        let door = self.image.beside().join("door");
        let address = format!("unix:{}", door.display());
        let command = self
            .rig
            .command(&["serve", "--slots", "0", "--http", &address]);
        self.rig.serve_by(command);
        wait_for("the door to open", || UnixStream::connect(&door).is_ok());
        let job = json!({"command": [self.rig.ledger.job(), "ok"]}).to_string();
        let named = format!("PUT /v1/jobs/p{}", self.image.cuts());
        let what = ["POST /v1/jobs", &named, "POST /v1/jobs"][dice.below(3) as usize];
        let mut stream = UnixStream::connect(&door).unwrap();
        let length = job.len();
        write!(
            stream,
            "{what} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{job}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        self.image.cut();
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let record: Value = serde_json::from_str(body).unwrap();
        self.known.accept(record["id"].as_str().unwrap());
    }

    fn finished(&mut self, dice: &mut Dice) {
        let jobs: [&[&str]; 3] = [&["ok"], &["fail"], &["nap", "0.3"]];
        let words = jobs[dice.below(3) as usize];
        self.rig.serve();
        let id = self.rig.add(&["--tries", "1"], words);
        self.known.accept(&id);
        let end = Instant::now() + Duration::from_secs(20);
        while !self.known.finished.contains_key(&id) {
            assert!(Instant::now() < end, "{id} does not end");
            self.known.see_finished(&self.rig);
        }
        self.image.cut();
    }

    fn begun(&mut self, gate: &str) {
        self.rig.serve();
        // Started later, so that the sync of its acceptance is over by then.
        let id = self.rig.add(&["--once", "--in", "200ms"], &["gate", gate]);
        self.known.accept(&id);
        self.known.once.insert(id.clone());
        wait_for("a once job to begin", || self.rig.ledger.starts(&id) > 0);
        self.image.cut();
    }

    fn load(&mut self, dice: &mut Dice) {
        self.rig.serve();
        let purpose = format!("load {}", dice.below(u64::MAX));
        let moment = Duration::from_millis(20 + dice.below(400));
        let (rig, image) = (&self.rig, &mut self.image);
        under_load(rig, &purpose, &mut self.known, |late| {
            std::thread::sleep(moment);
            late.store(true, Ordering::SeqCst);
            image.cut();
        });
    }
}

fn cut_again_and_again((kind, size): (&'static str, u64)) {
    if !ready("rung C", &TOOLS, true) {
        return;
    }
    let (cuts, mut dice) = (setting("PIRN_CUTS", 15), Dice::new(kind));
    let moments = [
        Moment::Added,
        Moment::Finished,
        Moment::Pushed,
        Moment::Load,
        Moment::Begun,
    ];
    let (mut tried, mut found) = (BTreeMap::new(), Vec::new());
    let (mut jobs, mut records, mut uncounted) = (0, 0, 0);
    let mut bench: Option<Bench> = None;
    for n in 0..cuts {
        if n % CUTS_PER_IMAGE == 0 {
            drop(bench.take());
            bench = Bench::new((kind, size), "");
        }
        let Some(bench) = bench.as_mut() else { return };
        // The load comes last, so that no round reads a ledger that other rounds have filled.
        let moment = moments[((n + n / CUTS_PER_IMAGE) % 5) as usize];
        *tried.entry(moment).or_insert(0) += 1;
        let before = (bench.known.acknowledged.len(), bench.known.finished.len());
        let counted = bench.uncounted;
        let findings = bench.round(moment, &mut dice);
        jobs += bench.known.acknowledged.len() - before.0;
        records += bench.known.finished.len() - before.1;
        uncounted += bench.uncounted - counted;
        let line = |(broken, what)| format!("cut {n} ({moment:?}): {broken:?}: {what}");
        found.extend(findings.into_iter().map(line));
        if found.len() > 20 {
            println!("{}", bench.rig.log());
            break;
        }
    }
    let what = format!(
        "{cuts} cuts {tried:?}, {jobs} acknowledged jobs, {records} finished records seen, \
         {uncounted} tries not counted"
    );
    audit::conclude(&format!("rung C on {kind}"), &what, &found);
}

#[test]
fn on_ext4_nothing_promised_is_lost() {
    cut_again_and_again(KINDS[0]);
}

#[test]
fn on_xfs_nothing_promised_is_lost() {
    cut_again_and_again(KINDS[1]);
}
