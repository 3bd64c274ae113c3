//! Many files, written in different ways: each runs exactly once.

use crate::spool::Spool;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

/// Half of the files are moved into place, half are written there in two parts, fifty open at a time.
#[test]
fn every_file_runs_exactly_once() {
    // `PIRN_TEST_DROPS=100000` is the full load; the default keeps CI short.
    let count: usize = std::env::var("PIRN_TEST_DROPS").map_or(6_000, |n| n.parse().unwrap());
    let spool = Spool::serving(&[]);
    let runs = spool.beside("runs");
    File::create(&runs).unwrap();
    // Each job appends one line in one write, so that runs are counted outside of the spool.
    let job = |n: usize| format!("echo {n} >> {}", runs.display());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..count)
                .step_by(2)
                .for_each(|n| spool.drop_file(&n.to_string(), job(n)))
        });
        scope.spawn(|| {
            let odd: Vec<usize> = (1..count).step_by(2).collect();
            for batch in odd.chunks(50) {
                let mut open: Vec<(File, String)> = Vec::new();
                for n in batch {
                    let mut file = File::create(spool.path().join(format!("pending/{n}"))).unwrap();
                    let (head, tail) = (job(*n)[..4].to_owned(), job(*n)[4..].to_owned());
                    file.write_all(head.as_bytes()).unwrap();
                    open.push((file, tail));
                }
                for (mut file, tail) in open {
                    file.write_all(tail.as_bytes()).unwrap();
                }
            }
        });
    });
    let began = Instant::now();
    let mut last = (0, Instant::now());
    loop {
        let done = fs::read_dir(spool.path().join("complete")).unwrap().count();
        if done == count {
            break;
        }
        if done != last.0 {
            last = (done, Instant::now());
        }
        assert!(
            last.1.elapsed() < Duration::from_secs(60),
            "stuck at {done} of {count}:\n{}",
            spool.daemon_log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut seen: HashMap<String, u32> = HashMap::new();
    for line in fs::read_to_string(&runs).unwrap().lines() {
        *seen.entry(line.to_owned()).or_default() += 1;
    }
    assert_eq!(seen.len(), count);
    assert!(seen.values().all(|runs| *runs == 1));
    for dir in ["pending", "active", "failed", "bad", "log", "tmp"] {
        let names = if dir == "tmp" {
            spool.scratch()
        } else {
            spool.ls(dir)
        };
        assert_eq!(names, [""; 0], "{dir}/ is empty");
    }
    println!(
        "{count} files, all once; drained {:?} after the last was written",
        began.elapsed()
    );
}

#[test]
fn a_job_may_be_called_like_the_default_queue() {
    let spool = Spool::serving(&[]);
    for name in ["default", "next"] {
        spool.drop_file(name, "true");
        spool.wait_record(&format!("complete/{name}"));
    }
}
