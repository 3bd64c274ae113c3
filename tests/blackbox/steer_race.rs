//! Steering a job while the daemon starts it, or while somebody drops a newer one of its name: the answer is true.

use crate::spool::Spool;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

/// Drops jobs that run until they are ended, steers all of them while the daemon starts them, and compares each answer
/// with where the job is. The jobs that were `done` are in `to`, or nowhere; the others run.
fn told_what_happens(verb: &str, to: Option<&str>) {
    const JOBS: usize = 20;
    let spool = Spool::serving(&["--slots", "40"]);
    for round in 0..15 {
        let ids: Vec<String> = (0..JOBS).map(|n| format!("r{round}-{n}")).collect();
        for id in &ids {
            spool.drop_file(id, "exec sleep 600");
        }
        let args: Vec<&str> = std::iter::once(verb)
            .chain(ids.iter().map(String::as_str))
            .collect();
        let done = spool.pirn(&args);
        let refused: Vec<&str> = done.stderr.lines().collect();
        for id in &ids {
            let was_refused = refused
                .iter()
                .any(|line| line.contains(&format!("job {id} ")));
            let runs = spool.has(&format!("active/{id}"));
            assert_eq!(runs, was_refused, "{id}: {}", done.stderr);
            if let Some(to) = to {
                assert_eq!(spool.has(&format!("{to}/{id}")), !runs, "{id}");
            }
            assert!(!spool.has(&format!("pending/{id}")), "{id}");
        }
        // No job was reported missing either.
        assert!(!done.stderr.contains("no job"), "{}", done.stderr);
        let running = spool.ls("active");
        let kill = ["rm", "--kill"].into_iter();
        let kill: Vec<&str> = kill.chain(running.iter().map(String::as_str)).collect();
        if !running.is_empty() {
            assert_eq!(spool.pirn(&kill).code, 0);
            spool.wait_for("all to end", || spool.all_processes().is_empty());
        }
    }
}

#[test]
fn rm_of_a_job_that_is_being_started_says_what_becomes_of_it() {
    told_what_happens("rm", None);
}

#[test]
fn hold_of_a_job_that_is_being_started_says_what_becomes_of_it() {
    told_what_happens("hold", Some("held"));
}

/// `hold` must write the queue into a plain text, and a newer file may be dropped meanwhile.
#[test]
fn a_drop_survives_a_hold_of_its_name() {
    let spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    let places = ["pending/mail/a", "held/a"];
    let has = |text: &str| {
        let mut texts = places
            .iter()
            .map(|place| fs::read_to_string(spool.path().join(place)));
        texts.any(|read| read.is_ok_and(|read| read.contains(text)))
    };
    let mut lost = Vec::new();
    for round in 0..1000 {
        spool.drop_file("mail/a", format!("echo older {round}"));
        let mut hold = spool.command(["hold", "a"]);
        let mut hold = hold.stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(1500 + (round % 50) * 80));
        let newer = format!("echo newer {round}");
        spool.drop_file("mail/a", &newer);
        hold.wait().unwrap();
        if !has(&newer) {
            lost.push(round);
        }
        for place in places {
            let _ = fs::remove_file(spool.path().join(place));
        }
    }
    assert_eq!(lost, [0u64; 0], "{} of 1000", lost.len());
    assert_eq!(spool.ls("bad"), [""; 0]);
    assert_eq!(spool.scratch(), [""; 0]);
}
