//! The fate of a message when the bridge, the daemon or the machine dies at each point of its way: on both engines,
//! where messages may be received once, and three times.

use crate::bridge::{has, leases, runs};
use crate::crash_rig::{Machine, SLOTS, Server};
use crate::strace::has_tool;
use std::time::Duration;

/// Where the way of a message is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Point {
    /// The bridge has the message, and has written nothing.
    Received,
    /// The record is staged, and not dropped.
    Staged,
    /// The job waits.
    Dropped,
    Runs,
    /// The job ends well while the bridge is away.
    Ended,
    /// The message is acknowledged; the lease is still there.
    Acked,
    /// The job fails while the bridge is away.
    Failed,
    /// The bridge is away for longer than the lease, and the job ends meanwhile. Nobody else listens.
    AwayAlone,
    /// The same, and the job still runs when the bridge is back.
    AwayRuns,
    /// The job runs, the bridge is away for longer than the lease, and another machine listens.
    AwayOther,
    /// The job runs, and the daemon is killed.
    Daemon,
    /// The job runs; bridge, daemon and job are killed, and another machine listens.
    Machine,
}

/// Where a message is in the end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// Its job is in `complete/`, and the engine does not have it any more.
    Acked,
    /// On the failed queue.
    OnFailed,
    /// On the failed queue, and its job is in `complete/` all the same.
    Both,
}

use End::{Acked, Both, OnFailed};

/// How often the job is started, and the end of its message, where it may be received once, and three times.
type Row = (Point, (usize, End), (usize, End));

const TABLE: [Row; 12] = [
    (Point::Received, (0, OnFailed), (1, Acked)),
    (Point::Staged, (1, Acked), (1, Acked)),
    (Point::Dropped, (1, Acked), (1, Acked)),
    (Point::Runs, (1, Acked), (1, Acked)),
    (Point::Ended, (1, Acked), (1, Acked)),
    (Point::Acked, (1, Acked), (1, Acked)),
    (Point::Failed, (1, OnFailed), (3, OnFailed)),
    (Point::AwayAlone, (1, Acked), (1, Acked)),
    (Point::AwayRuns, (1, Acked), (1, Acked)),
    (Point::AwayOther, (1, Both), (2, Acked)),
    (Point::Daemon, (1, Acked), (1, Acked)),
    (Point::Machine, (1, OnFailed), (2, Acked)),
];

/// Rows that are tried at the same time.
const SIDE_BY_SIDE: usize = 12;

/// Takes the message through the crash, up to where the bridge is left to itself. Gives the other machine.
fn crash(
    point: Point,
    (server, lease, max): (&Server, u32, u32),
    here: &mut Machine,
    id: &str,
) -> Option<Machine> {
    let other = |here: &Machine| {
        // It receives the message once the lease has lapsed.
        let mut there = Machine::new(server, lease);
        match max {
            1 => {
                there.start();
                let moved = || server.counts() == (0, 1);
                here.spool.wait_for("the failed queue", moved);
            }
            _ => there.run(id),
        }
        there
    };
    match point {
        Point::Received => {
            here.go();
            // The first call is about `boot`.
            here.until("unlinkat", "remote/work", 2);
            assert_eq!(leases(&here.spool), Vec::<String>::new());
        }
        Point::Staged => {
            here.go();
            here.until("renameat2", "pending", 1);
            let staged = [format!(".{id}"), id.to_owned()];
            let mut found = leases(&here.spool);
            found.sort();
            assert_eq!(found, staged);
        }
        Point::Dropped => {
            let first = here.spool.add(&["--", "sh", "-c", &command(0)]);
            here.wait("active", &first);
            here.start();
            here.wait("pending", id);
            here.pull = None;
            here.go();
        }
        Point::Runs => {
            here.run(id);
            here.pull = None;
            here.start();
            here.spool.wait_for("it to be taken up", || {
                here.spool.daemon_log().contains("taken up again")
            });
            here.go();
        }
        Point::Ended | Point::Failed => {
            here.run(id);
            here.pull = None;
            here.go();
            let place = if point == Point::Failed {
                "failed"
            } else {
                "complete"
            };
            here.wait(place, id);
        }
        Point::Acked => {
            here.go();
            here.until("unlinkat", "remote/work", 5);
            assert_eq!(leases(&here.spool), [id]);
            assert_eq!(server.counts(), (0, 0));
        }
        Point::AwayAlone => {
            here.run(id);
            here.pull = None;
            here.go();
            std::thread::sleep(Duration::from_secs(u64::from(lease) + 1));
        }
        Point::AwayRuns => {
            here.run(id);
            here.pull = None;
            std::thread::sleep(Duration::from_secs(u64::from(lease) + 1));
            here.start();
            here.spool.wait_for("word of it", || {
                here.spool.daemon_log().contains("the lease is lost")
            });
            here.go();
        }
        Point::AwayOther => {
            here.run(id);
            here.pull = None;
            let there = other(here);
            here.go();
            here.wait("complete", id);
            here.start();
            here.wait_no_lease();
            // The late acknowledgement has changed nothing.
            assert_eq!(server.counts(), if max == 1 { (0, 1) } else { (1, 0) });
            return Some(there);
        }
        Point::Daemon => {
            here.run(id);
            here.spool.crash();
            here.spool.serve(&SLOTS);
            here.go();
        }
        Point::Machine => {
            here.run(id);
            here.crash();
            let there = other(here);
            here.spool.serve(&SLOTS);
            return Some(there);
        }
    }
    None
}

/// The job: it says that it was started, and ends when it may.
fn command(code: u32) -> String {
    format!(
        "echo run >> $PIRN_SPOOL/../runs; while ! [ -e $PIRN_SPOOL/../go ]; do sleep 0.05; done; exit {code}"
    )
}

/// Gives how often the job was started, on all machines, and where its message is in the end.
fn outcome(point: Point, engine: &str, max: u32) -> Option<(usize, End)> {
    let is_long = !matches!(
        point,
        Point::Received | Point::AwayAlone | Point::AwayRuns | Point::AwayOther | Point::Machine
    );
    let lease = if is_long { 60 } else { 3 };
    let server = Server::start(engine, lease, max)?;
    let mut here = Machine::new(&server, lease);
    let id = server.send(&command(u32::from(point == Point::Failed)));
    let there = crash(point, (&server, lease, max), &mut here, &id);
    if here.pull.is_none() {
        here.start();
    }
    let mut machines = vec![here];
    machines.extend(there);
    for machine in &machines {
        machine.go();
    }
    let log = &machines[0].spool;
    log.wait_for("the queue to be empty", || server.counts().0 == 0);
    for machine in &machines {
        machine.wait_no_lease();
    }
    let started: usize = machines.iter().map(|machine| runs(&machine.spool)).sum();
    let mut spools = machines.iter().map(|machine| &machine.spool);
    let end = match (
        server.counts().1,
        spools.any(|spool| has(spool, "complete", &id)),
    ) {
        (0, true) => Acked,
        (1, false) => OnFailed,
        (1, true) => Both,
        (n, _) => panic!("{n} on the failed queue"),
    };
    let local = usize::from(point == Point::Dropped);
    Some((started - local, end))
}

#[test]
fn each_row_of_the_table() {
    if !has_tool("strace", "strace") {
        return;
    }
    let mut trials = Vec::new();
    for (point, once, thrice) in TABLE {
        for engine in ["sqs", "redis"] {
            trials.extend([(point, engine, 1, once), (point, engine, 3, thrice)]);
        }
    }
    for some in trials.chunks(SIDE_BY_SIDE) {
        std::thread::scope(|scope| {
            for &(point, engine, max, wanted) in some {
                let name = format!("{point:?}, {engine}, max {max}");
                let trial = move || {
                    if let Some(seen) = outcome(point, engine, max) {
                        println!("{point:?}, {engine}, max {max}: {seen:?}");
                        assert_eq!(seen, wanted, "runs, and the end of the message");
                    }
                };
                let thread = std::thread::Builder::new().name(name);
                thread.spawn_scoped(scope, trial).unwrap();
            }
        });
    }
}
