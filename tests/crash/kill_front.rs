//! Rung B with a front: the daemon is killed at its n-th rename or clone, and the process in front of it does all the
//! work that is left. strace detaches from the front at its exec, so that the next daemon lives.

use crate::audit::{self, Broken, Known};
use crate::host::ready;
use crate::kill::TOOLS;
use crate::rig::{Rig, STRACE};

/// Gives whether the daemon was killed, and the broken promises.
fn under_front(call: &str, when: u64) -> (bool, Vec<(Broken, String)>) {
    let mut rig = Rig::alone("");
    let mut known = Known::default();
    for words in [["nap", "0.5"], ["nap", "0.25"], ["nap", "0.1"]] {
        known.accept(&rig.add(&["--tries", "3"], &words));
    }
    let first = known.accept(&rig.add(&["--tries", "3"], &["second"]));
    known.accept(&rig.add(&["--after", &first], &["ok"]));
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:signal=SIGKILL:when={when}");
    let options = ["-D", "-e", &trace, "-e", &inject];
    let strace = [&STRACE[..], &options].concat();
    rig.serve_by_front(rig.through(&strace, &["serve", "--drain"]));
    let mut findings = Vec::new();
    if !rig.wait_exit() {
        findings.push((
            Broken::Stuck,
            "the next daemon does not come to an end".to_owned(),
        ));
    }
    findings.extend(audit::settled(&rig, &known));
    if !findings.is_empty() {
        println!("--- {call} {when}: {findings:?}\n{}", rig.log());
    }
    (rig.log().contains("taking its place"), findings)
}

#[test]
fn the_front_does_the_rest() {
    if !ready("rung B with a front", &TOOLS, false) {
        return;
    }
    let (mut killed, mut found) = (0, Vec::new());
    for call in ["renameat2", "clone,clone3"] {
        for when in [2, 3, 5] {
            let (was_killed, findings) = under_front(call, when);
            killed += u64::from(was_killed);
            let line = |(broken, what)| format!("at {call} {when}: {broken:?}: {what}");
            found.extend(findings.into_iter().map(line));
        }
    }
    assert!(killed > 0, "no daemon was killed");
    audit::conclude("rung B with a front", &format!("{killed} killed"), &found);
}
