//! `ids` in the settings: ids that go with the time, unique over machines.

use crate::spool::Spool;
use std::collections::BTreeSet;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// 2019-01-01T00:00:00Z, in milliseconds since 1970.
const EPOCH: u64 = 1_546_300_800_000;

fn timed(server: u64) -> Spool {
    let spool = Spool::made();
    set(&spool, server);
    spool
}

fn set(spool: &Spool, server: u64) {
    let text = format!("{{\"ids\": {{\"form\": \"time\", \"server\": {server}}}}}");
    fs::write(spool.path().join("config.json"), text).unwrap();
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap() - EPOCH
}

/// Milliseconds, server, sequence.
fn parts(id: u64) -> (u64, u64, u64) {
    (id >> 22, id >> 12 & 1023, id & 4095)
}

fn add(spool: &Spool) -> u64 {
    spool.add(&["true"]).parse().unwrap()
}

#[test]
fn an_id_has_the_time_and_the_server() {
    let spool = timed(1023);
    let before = now();
    let id = add(&spool);
    let (ms, server, _) = parts(id);
    assert!((before..=now()).contains(&ms), "{ms}");
    assert_eq!(server, 1023);
    assert!(spool.has(&format!("pending/{id}")));
    // Others go with it, and none is given twice.
    let run: u64 = {
        let done = spool.pirn(&["run", "echo $PIRN_ID"]);
        done.stdout.trim().parse().unwrap()
    };
    assert!(run > id && parts(run).1 == 1023);
}

#[test]
fn processes_that_ask_at_once_get_different_ids() {
    let spool = timed(7);
    let input = spool.beside("lines");
    fs::write(&input, "true\n".repeat(6000)).unwrap();
    let batches: Vec<_> = (0..3)
        .map(|_| {
            let mut add = spool.command(["add", "--batch", "--no-sync"]);
            add.stdin(fs::File::open(&input).unwrap());
            add.stdout(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut all = BTreeSet::new();
    for batch in batches {
        let done = batch.wait_with_output().unwrap();
        assert!(done.status.success());
        let text = String::from_utf8(done.stdout).unwrap();
        let ids: Vec<u64> = text.lines().map(|id| id.parse().unwrap()).collect();
        assert_eq!(ids.len(), 6000);
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| parts(*id).1 == 7));
        all.extend(ids);
    }
    assert_eq!(all.len(), 18_000);
}

#[test]
fn a_clock_that_goes_back_gives_no_id_twice() {
    let spool = timed(7);
    let first = add(&spool);
    // As if that had been an hour later.
    let later = first + (3_600_000 << 22);
    let seq = fs::read_to_string(spool.path().join("seq")).unwrap();
    let boot = seq.split_whitespace().nth(2).unwrap();
    let put = |text: String| fs::write(spool.path().join("seq"), text).unwrap();
    put(format!("{later} {later} {boot}\n"));
    let (a, b) = (add(&spool), add(&spool));
    assert_eq!((a, b), (later, later + 1));
    // After a crash of the machine, with the clock an hour back, ids go on behind all that were given.
    let seq = fs::read_to_string(spool.path().join("seq")).unwrap();
    put(seq.replace(boot, "another-boot"));
    let c = add(&spool);
    assert!(c > b && parts(c).1 == 7, "{c}");
    // Another machine's number does not bring back a lower one.
    set(&spool, 3);
    let d = add(&spool);
    assert!(d > c && parts(d).1 == 3, "{d}");
}

#[test]
fn the_form_can_be_changed() {
    let mut spool = Spool::made();
    assert_eq!(add(&spool), 1);
    set(&spool, 0);
    let timed = add(&spool);
    assert!(parts(timed).0 > 200_000_000_000, "{timed}");
    fs::write(spool.path().join("config.json"), "{}").unwrap();
    assert_eq!(add(&spool), timed + 1);
    spool.serve(&[]);
    spool.wait_record(&format!("complete/{timed}"));
    spool.stop();

    let broken = "{\"ids\": {\"form\": \"time\"}}";
    fs::write(spool.path().join("config.json"), broken).unwrap();
    let done = spool.pirn(&["config", "check"]);
    assert_eq!(done.code, 78);
    assert!(done.stderr.contains("ids.server"), "{}", done.stderr);
}

/// The ids of `new-id` name files that a caller makes.
#[test]
fn new_ids_are_free_and_given_once() {
    let plain = Spool::made();
    let new = |spool: &Spool| {
        let done = spool.pirn(&["new-id"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.stdout.trim().to_owned()
    };
    plain.make_queue("mail");
    for taken in ["pending/2", "pending/mail/3", "held/4", "complete/5"] {
        fs::write(plain.path().join(taken), "true").unwrap();
    }
    let numbers: Vec<String> = (0..3).map(|_| new(&plain)).collect();
    assert_eq!(numbers, ["6", "7", "8"]);
    assert_eq!(plain.add(&["true"]), "9");
    fs::remove_file(plain.path().join("seq")).unwrap();
    fs::write(plain.path().join("seq"), "2").unwrap();
    assert_eq!(new(&plain), "6");

    let timed = timed(5);
    let ids: Vec<u64> = (0..3).map(|_| new(&timed).parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    assert!(ids.iter().all(|id| parts(*id).1 == 5), "{ids:?}");

    let none = Spool::new();
    assert_eq!(none.pirn(&["new-id"]).code, 66);
    assert!(!none.path().exists());
}
