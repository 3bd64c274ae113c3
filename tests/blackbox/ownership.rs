//! chmod(1) and chgrp(1) on a job are kept in every state, though its record is a new file each time.

use crate::spool::Spool;
use crate::strace::{Injection, has_tool};
use crate::tools::{Gate, sh};
use serde_json::json;
use std::os::unix::fs::MetadataExt;

/// A group that need not exist; only root can give it.
const GROUP: u32 = 4321;

fn is_root() -> bool {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        eprintln!("skipped: only root can give any group");
    }
    root
}

/// The mode and the group of a file in the spool.
fn seen(spool: &Spool, name: &str) -> (u32, u32) {
    let look = std::fs::metadata(spool.path().join(name)).unwrap();
    (look.mode() & 0o7777, look.gid())
}

/// Does chmod and chgrp.
fn change(spool: &Spool, name: &str, mode: &str, group: u32) {
    let path = spool.path().join(name);
    let path = path.display();
    sh(&format!("chgrp {group} '{path}' && chmod {mode} '{path}'"));
}

/// Puts a job with this mode and group into the spool.
fn drop_as(spool: &Spool, id: &str, line: &str, mode: &str, group: u32) {
    let draft = spool.beside("draft");
    std::fs::write(&draft, line).unwrap();
    let (from, to) = (draft.display(), spool.path().join("pending").join(id));
    let to = to.display();
    sh(&format!(
        "chgrp {group} '{from}' && chmod {mode} '{from}' && mv '{from}' '{to}'"
    ));
}

fn serving(faults: &str) -> Spool {
    let mut spool = Spool::new();
    let mut command = spool.command(["serve", "--slots", "1"]);
    command.env("PIRN_FAULTS", faults);
    spool.serve_with(command);
    spool
}

#[test]
fn a_job_keeps_the_mode_and_group_that_it_came_with() {
    if !is_root() {
        return;
    }
    let spool = serving("");
    let mut gate = Gate::new(&spool, "gate");
    let job = json!({"command": format!("{}; exit 3", gate.wait()), "tries": 2, "backoff": {"first": "5ms"}});
    drop_as(&spool, "7", &job.to_string(), "640", GROUP);
    spool.wait_note("7");
    assert_eq!(seen(&spool, "active/7"), (0o640, GROUP));
    assert_eq!(seen(&spool, "log/7"), (0o640, GROUP));
    gate.open(1);
    gate.open(1);
    spool.wait_record("failed/7");
    assert_eq!(seen(&spool, "failed/7"), (0o640, GROUP));
    // Another run rewrites it as well.
    change(&spool, "failed/7", "664", GROUP + 1);
    spool.mv("failed/7", "pending");
    spool.wait_note("7");
    assert_eq!(seen(&spool, "active/7"), (0o664, GROUP + 1));
    gate.open(1);
    gate.open(1);
    spool.wait_record("failed/7");
    assert_eq!(seen(&spool, "failed/7"), (0o664, GROUP + 1));
    // Bits that mean nothing for a record are not kept, and a log is for reading only.
    drop_as(&spool, "8", "echo x", "2776", GROUP);
    spool.wait_record("complete/8");
    assert_eq!(seen(&spool, "complete/8"), (0o666, GROUP));
    assert_eq!(seen(&spool, "log/8"), (0o644, GROUP));
}

#[test]
fn without_that_a_record_is_private() {
    if !is_root() {
        return;
    }
    let spool = serving("no-ownership");
    drop_as(&spool, "7", "echo x", "640", GROUP);
    spool.wait_record("complete/7");
    let own = std::fs::metadata(spool.path()).unwrap().gid();
    assert_eq!(seen(&spool, "complete/7"), (0o600, own));
}

#[test]
fn changes_while_a_job_runs_are_kept() {
    if !is_root() {
        return;
    }
    let spool = serving("");
    let rounds = 20;
    let mut gate = Gate::new(&spool, "gate");
    for n in 0..rounds {
        spool.drop_file(&format!("n{n}"), gate.wait());
    }
    // The note is written after 200 ms: changes come just before, at that time, and after it.
    for n in 0..rounds {
        let id = format!("n{n}");
        spool.wait_for("its claim", || spool.has(&format!("active/{id}")));
        std::thread::sleep(std::time::Duration::from_millis(180 + 2 * n));
        change(&spool, &format!("active/{id}"), "640", GROUP);
        gate.open(1);
        spool.wait_record(&format!("complete/{id}"));
        assert_eq!(
            seen(&spool, &format!("complete/{id}")),
            (0o640, GROUP),
            "{id}"
        );
    }
}

/// A change between the look at a record and the exchange with its successor.
#[test]
fn a_change_in_the_moment_of_the_exchange_is_kept() {
    if !is_root() || !has_tool("strace", "strace") {
        return;
    }
    let spool = serving("");
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("7", gate.wait());
    spool.wait_note("7");
    let daemon = spool.daemon_pid().unwrap();
    let slow = Injection::new(&spool, daemon, "renameat2:delay_enter=1000000", None);
    gate.open(1);
    let is_staged = || {
        let names = std::fs::read_dir(spool.path().join("tmp"))
            .unwrap()
            .flatten();
        let mut names = names.map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().starts_with(".7."))
    };
    spool.wait_for("the next record", is_staged);
    change(&spool, "active/7", "640", GROUP);
    spool.wait_for("its end", || spool.has("complete/7"));
    slow.end();
    assert_eq!(seen(&spool, "complete/7"), (0o640, GROUP));
}
