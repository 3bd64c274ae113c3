//! Rung B where a name is used again: the record and the log of the earlier run are archived in several steps, and the
//! daemon is killed at each of them. Neither may be lost (promise 6).

use crate::audit::conclude;
use crate::host::ready;
use crate::kill::TOOLS;
use crate::rig::{Rig, STRACE};
use std::fs;

/// More renames than a daemon makes in this test.
const RENAMES: u64 = 8;

fn drop_job(rig: &Rig, text: &str) {
    let staged = rig.spool.with_file_name("staged");
    fs::write(&staged, text).unwrap();
    fs::rename(staged, rig.spool.join("pending/b")).unwrap();
}

fn texts(rig: &Rig, dirs: &[&str]) -> String {
    let files = dirs.iter().flat_map(|dir| rig.files(dir));
    let text = |path| fs::read_to_string(rig.spool.join(path)).unwrap_or_default();
    files.map(text).collect()
}

/// Runs `b` twice with a kill at the second start, recovers, and looks for the first run.
fn kill_while_putting_aside(when: u64, withdrawn: bool) -> Vec<String> {
    let mut rig = Rig::alone("");
    rig.recover().unwrap();
    drop_job(&rig, "echo first; echo of-first >&2");
    rig.recover().unwrap();
    drop_job(&rig, "echo second");
    let inject = format!("inject=renameat2:signal=SIGKILL:when={when}");
    let strace = [&STRACE[..], &["-e", "trace=renameat2", "-e", &inject]].concat();
    rig.serve_by(rig.through(&strace, &["serve", "--drain"]));
    rig.wait_exit();
    if withdrawn {
        let _ = fs::remove_file(rig.spool.join("pending/b"));
    }
    let mut found = Vec::new();
    // Twice: the second recovery must not lose files that the first one left.
    for _ in 0..2 {
        found.extend(rig.recover().err());
    }
    if !texts(&rig, &["log"]).contains("first\n") {
        found.push("the log of the first run is lost".to_owned());
    }
    if !texts(&rig, &["complete", "failed"]).contains("echo first") {
        found.push("the record of the first run is lost".to_owned());
    }
    let aside = |dir: &str| rig.names(dir).contains("b~1");
    if aside("log") != aside("complete") {
        found.push("log and record of the first run have different names".to_owned());
    }
    let line = |what| format!("rename {when}, withdrawn {withdrawn}: {what}");
    found.into_iter().map(line).collect()
}

#[test]
fn an_earlier_run_is_kept() {
    if !ready("rung B", &TOOLS, false) {
        return;
    }
    let mut found = Vec::new();
    for when in 1..=RENAMES {
        for withdrawn in [false, true] {
            found.extend(kill_while_putting_aside(when, withdrawn));
        }
    }
    let tried = format!("{} kills while an earlier run was put aside", 2 * RENAMES);
    conclude("rung B: a name used again", &tried, &found);
}
