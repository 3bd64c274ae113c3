//! Rung C with a bridge: the file system is cut off while leases are held. Nothing in `remote/` is synced, so the next
//! bridge has what is left there, and the leases in the records.
//!
//! Messages may be received once, so that no job may be started twice; and each ends in one place.

use crate::audit::conclude;
use crate::cut::Bench;
use crate::faults::FaultySqs;
use crate::host::{Dice, ready, setting, tool, wait_for};
use crate::image::{KINDS, TOOLS};
use crate::rig::Rig;
use serde_json::json;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Messages of one cut. The bridge holds all of them, the daemon runs four at a time.
const JOBS: usize = 8;

/// A bridge, killed when this is dropped.
struct Bridge(Child);

impl Bridge {
    fn start(bench: &Bench) -> Self {
        let log = bench.image.beside().join("bridge.log");
        let log = fs::File::options().create(true).append(true).open(log);
        let mut command: Command = bench.rig.command(&["pull", "work"]);
        command
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("XDG_CACHE_HOME", bench.image.beside())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What became of the messages, over all cuts.
#[derive(Debug, Default)]
struct Counts {
    acked_before: usize,
    /// Acknowledged by the next bridge, which found `remote/` as the cut had left it.
    acked_after: usize,
    /// The same, where `remote/` was gone.
    found_again: usize,
    failed: usize,
    /// Records that were not on the disk yet: their messages come again, or go to the failed queue.
    torn: usize,
}

fn configure(rig: &Rig, sqs: &FaultySqs) {
    let work =
        json!({"url": "sqs:q", "endpoint": sqs.url(), "wait": "1s", "lease": "1h", "slots": JOBS});
    let config = json!({"min_free": 0, "slots": 4, "remote": {"work": work}});
    let path = rig.spool.join("config.json");
    fs::write(&path, config.to_string()).unwrap();
    tool("sync", &[&path.display().to_string()]);
}

fn is_complete(rig: &Rig, id: &str) -> bool {
    let record = rig.record("complete", id);
    record.is_some_and(|record| record.get("finished_at").is_some())
}

/// Sends messages, cuts, boots, and sees all of them through. Gives what is wrong.
fn cut_with_leases(
    bench: &mut Bench,
    sqs: &FaultySqs,
    dice: &mut Dice,
    counts: &mut Counts,
) -> Vec<String> {
    let cut = bench.image.cuts();
    let words = ["ok", "fail", "nap 0.3", "nap 1"];
    let messages: Vec<(String, String)> = (0..JOBS)
        .map(|n| {
            let words = words[dice.below(4) as usize];
            let body = format!("{} {words} # {cut}.{n}", bench.rig.ledger.job());
            (sqs.asker().send("q", &body), body)
        })
        .collect();
    let is_on = |queue: &str, body: &String| sqs.bodies(queue).contains(body);
    if !bench.rig.is_serving() {
        bench.rig.serve();
    }
    let bridge = Bridge::start(bench);
    wait_for("all to be received", || sqs.asker().counts("q").0 == 0);
    std::thread::sleep(Duration::from_millis(dice.below(800)));
    // An answer that comes while the file system is being cut off would be none after a power cut. Jobs may end meanwhile.
    drop(bridge);
    std::thread::sleep(Duration::from_millis(dice.below(800)));
    bench.image.cut();
    bench.rig.kill_all();
    bench.image.reboot();

    let is_acked = |body: &String| !is_on("q", body) && !is_on("q_failed", body);
    let acked: Vec<bool> = messages.iter().map(|(_, body)| is_acked(body)).collect();
    let is_gone = cut % 2 == 1;
    if is_gone {
        // A cut may take it. This one has not, as other work has synced the file system meanwhile.
        let _ = fs::remove_dir_all(bench.rig.spool.join("remote"));
    }
    bench.rig.serve();
    let _bridge = Bridge::start(bench);
    let rig = &bench.rig;
    wait_for("what is left to end", || {
        let is_idle = rig.files("pending").is_empty() && rig.files("active").is_empty();
        let is_told = |(id, body): &(String, String)| !is_complete(rig, id) || !is_on("q", body);
        is_idle && messages.iter().all(is_told)
    });
    for (id, body) in &messages {
        if is_on("q", body) {
            // Nobody has its lease. It lapses.
            sqs.show_again(id);
        }
    }
    wait_for("the queue to be empty", || sqs.bodies("q").is_empty());
    let mut found = Vec::new();
    for ((id, body), was_acked) in messages.iter().zip(acked) {
        let (starts, is_failed) = (rig.ledger.starts(id), is_on("q_failed", body));
        if starts > 1 {
            found.push(format!("{id} was started {starts} times"));
        }
        match (is_complete(rig, id), is_failed) {
            (true, false) if was_acked => counts.acked_before += 1,
            (true, false) if is_gone => counts.found_again += 1,
            (true, false) => counts.acked_after += 1,
            (false, true) => counts.failed += 1,
            (true, true) => found.push(format!("{id} is complete and on the failed queue")),
            (false, false) => found.push(format!("{id} was acknowledged and has no record")),
        }
        let torn = rig.spool.join("bad").join(id);
        counts.torn += usize::from(torn.exists());
        if fs::read(torn).is_ok_and(|text| !text.is_empty()) {
            found.push(format!("bad/{id} is not empty"));
        }
    }
    wait_for("the leases to go", || {
        let left = rig.names("remote/work");
        left.iter()
            .all(|name| ["boot", "counts", "lock"].contains(&name.as_str()))
    });
    found
}

fn cuts_on((kind, size): (&'static str, u64)) {
    let rung = format!("rung C with leases on {kind}");
    if !ready(&rung, &TOOLS, true) {
        return;
    }
    let Some(mut bench) = Bench::new((kind, size), "") else {
        return;
    };
    let sqs = FaultySqs::start();
    sqs.asker().make_pair("q", 1);
    configure(&bench.rig, &sqs);
    let (mut dice, mut counts) = (Dice::new(&rung), Counts::default());
    let mut found = Vec::new();
    let cuts = setting("PIRN_CUTS", 15);
    for n in 0..cuts {
        let some = cut_with_leases(&mut bench, &sqs, &mut dice, &mut counts);
        found.extend(some.into_iter().map(|what| format!("cut {n}: {what}")));
    }
    conclude(&rung, &format!("{cuts} cuts, {counts:?}"), &found);
}

#[test]
fn leases_on_ext4_outlive_a_cut() {
    cuts_on(KINDS[0]);
}

#[test]
fn leases_on_xfs_outlive_a_cut() {
    cuts_on(KINDS[1]);
}
