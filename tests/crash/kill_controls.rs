//! Rung B's negative controls: a daemon that does not count, look or lock must be noticed.

use crate::audit::Broken;
use crate::host::ready;
use crate::kill::{TOOLS, under_strace};

/// Kills at a later and later rename until the fault shows.
fn must_find(fault: &str, expected: Broken) {
    if !ready("rung B's controls", &TOOLS, false) {
        return;
    }
    for when in 3..12 {
        let home = tempfile::tempdir().unwrap();
        let inject = format!("inject=renameat2:signal=SIGKILL:when={when}");
        let options = ["-o", "/dev/null", "-e", "trace=renameat2", "-e", &inject];
        let outcome = under_strace(home.path(), &options, fault, &format!("{fault} {when}"));
        let mut findings = outcome.findings.into_iter();
        if let Some((broken, what)) = findings.find(|(broken, _)| *broken == expected) {
            println!("control {fault}: found at rename {when}: {broken:?}: {what}");
            return;
        }
    }
    panic!("rung B is blind: {fault} was not found");
}

#[test]
fn living_jobs_not_looked_for() {
    must_find("no-adoption,no-log-lock", Broken::TwoAtOnce);
}

#[test]
fn interrupted_tries_not_counted() {
    must_find("no-try-count", Broken::Uncounted);
}
