//! Several users at once: random moves and removals of many jobs while they run, then a check of the result.

use crate::spool::{Spool, is_alive};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io;

/// A small generator, so that a failure can be repeated with its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n).unwrap()).unwrap()
    }

    fn pick<'l>(&mut self, list: &[&'l str]) -> &'l str {
        list[self.below(list.len())]
    }
}

const PLACES: [&str; 6] = [
    "pending",
    "pending/a",
    "pending/b",
    "active",
    "complete",
    "failed",
];

/// A user's command may come too late: that the file is not there is no failure.
fn try_to(result: io::Result<()>) {
    if let Err(e) = result {
        assert!(
            matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
            ),
            "{e}"
        );
    }
}

fn storm(seed: u64, jobs: usize, moves: usize) {
    let mut spool = Spool::new();
    let mut command = spool.command(["serve", "--slots", "4"]);
    command.env("PIRN_LOG", "debug");
    spool.serve_with(command);
    let mut dice = Dice(seed);
    for queue in ["a", "b"] {
        fs::create_dir(spool.path().join("pending").join(queue)).unwrap();
    }
    // Every process of a run holds the lock: two runs at once are noticed even if only a child of one is left.
    let line = format!(
        "exec 9> {0}/lock-$PIRN_ID; flock -n 9; [ $? != 1 ] || echo $PIRN_ID >> {0}/twice; \
         echo ran; (exec sleep 0.0$((PIRN_ATTEMPT % 9))); exit $((PIRN_ATTEMPT % 2))",
        spool.beside("").display()
    );
    let names: Vec<String> = (0..jobs).map(|n| format!("j{n}")).collect();
    for name in &names {
        let queue = dice.pick(&["", "a/", "b/"]);
        let record = json!({"command": line, "tries": 2, "backoff": {"first": "5ms"}, "grace": "5s",
            "split": dice.below(3) == 0, "group": dice.pick(&["g", "h"]), "tmp": dice.below(4) == 0});
        spool.drop_json(&format!("{queue}{name}"), &record);
    }
    for _ in 0..moves {
        let name = &names[dice.below(jobs)];
        let (from, to) = (dice.pick(&PLACES), dice.pick(&PLACES));
        let path = |place: &str| spool.path().join(place).join(name);
        match dice.below(12) {
            0 => try_to(fs::remove_file(path(from))),
            // A finished record keeps its name: no rule covers renaming it by hand.
            1 if !matches!(from, "complete" | "failed") => try_to(fs::rename(
                path(from),
                path(from).with_file_name(format!("{name}x")),
            )),
            // mv replaces the target. It is used only where that loses no third file.
            _ if !path(to).exists() => try_to(fs::rename(path(from), path(to))),
            _ => {}
        }
        if dice.below(8) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
    // Twice: a job between two tries may run while its queue is looked at, and wait there while active/ is.
    let busy = || {
        let places = ["pending", "pending/a", "pending/b", "active"];
        [places, places]
            .iter()
            .flatten()
            .any(|place| spool.ls(place).iter().any(|name| name.starts_with('j')))
    };
    spool.wait_for(&format!("the storm {seed} to calm"), || !busy());
    spool.settle();
    spool.wait_for("no process to be left", || {
        spool.all_processes().iter().all(|pid| !is_alive(*pid))
    });
    let twice = fs::read_to_string(spool.beside("twice")).unwrap_or_default();
    assert_eq!(
        twice,
        "",
        "seed {seed}: these ran twice at once\n{}",
        spool.daemon_log()
    );
    // A job that was moved by hand gets its end once its processes have ended.
    let is_over = |path: &str| {
        let text = fs::read(spool.path().join(path)).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        record["finished_at"].is_string() && record["reason"].is_string()
    };
    spool.wait_for(
        &format!("the storm {seed} to leave ended records only"),
        || {
            ["complete", "failed"].iter().all(|place| {
                spool
                    .ls(place)
                    .iter()
                    .all(|name| is_over(&format!("{place}/{name}")))
            })
        },
    );
    let (complete, failed) = (spool.ls("complete"), spool.ls("failed"));
    let mut known = BTreeSet::new();
    for (place, names) in [("complete", &complete), ("failed", &failed)] {
        for name in names {
            let text = fs::read(spool.path().join(place).join(name)).unwrap();
            let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(record["id"], name.as_str(), "seed {seed}: {place}/{name}");
            assert!(
                known.insert(name.clone()),
                "seed {seed}: {name} is in two places"
            );
        }
    }
    // Every log belongs to a job that exists, and every scratch directory is gone.
    spool.wait_for("logs of jobs that are there only", || {
        spool
            .ls("log")
            .iter()
            .all(|log| known.contains(log.trim_end_matches("~err").trim_end_matches(".err")))
    });
    spool.wait_for("no scratch to be left", || spool.scratch().is_empty());
    assert!(
        !spool.daemon_log().contains("panicked"),
        "{}",
        spool.daemon_log()
    );
}

#[test]
fn random_steering_leaves_a_spool_in_order() {
    // PIRN_TEST_STORMS sets the number; a failure names its seed.
    let storms: u64 = std::env::var("PIRN_TEST_STORMS").map_or(3, |n| n.parse().unwrap());
    for seed in 1..=storms {
        storm(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 30, 600);
    }
}
