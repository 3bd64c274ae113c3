//! A daemon with a delegated control group: no process of a job can leave it.

use crate::spool::{Spool, is_alive};
use crate::strace::{Injection, has_tool};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A control group, marked as delegated, which is removed after the test.
pub struct Group(PathBuf);

impl Group {
    pub fn make(test: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let point = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let point = fields.next()?;
            (fields.next()? == "cgroup2").then(|| point.to_owned())
        });
        let Some(point) = point else {
            eprintln!("skipped: there is no cgroup v2");
            return None;
        };
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        let name = format!("pirn-test-{test}-{}", std::process::id());
        let group = Self(
            Path::new(&point)
                .join(own.trim_start_matches('/'))
                .join(name),
        );
        if let Err(e) = fs::create_dir(&group.0) {
            eprintln!("skipped: no control group to be had: {e}");
            return None;
        }
        if !group.0.join("cgroup.kill").exists() {
            eprintln!("skipped: this kernel cannot kill a control group (Linux 5.14)");
            return None;
        }
        if !group.mark() {
            eprintln!("skipped: control groups cannot be marked here (needs root and python3)");
            return None;
        }
        Some(group)
    }

    /// Sets the mark that systemd sets on delegated groups.
    fn mark(&self) -> bool {
        set_mark(
            &self.0,
            "os.setxattr(sys.argv[1], 'trusted.delegate', b'1')",
        )
    }

    fn unmark(&self) {
        assert!(set_mark(
            &self.0,
            "os.removexattr(sys.argv[1], 'trusted.delegate')"
        ));
    }

    /// Serves the spool with a daemon inside the group.
    pub fn serve(&self, spool: &mut Spool) {
        let command = command_in(&self.0, spool);
        spool.serve_with(command);
    }

    /// Makes the group that a daemon has to itself.
    fn make_subgroup(&self) -> PathBuf {
        let own = self.0.join("daemon");
        fs::create_dir(&own).unwrap();
        own
    }

    /// The names of the groups inside it.
    fn jobs(&self) -> Vec<String> {
        names(&self.0)
    }
}

/// Sets or removes the mark of a group.
fn set_mark(group: &Path, how: &str) -> bool {
    Command::new("python3")
        .args(["-c", &format!("import os, sys; {how}")])
        .arg(group)
        .status()
        .is_ok_and(|status| status.success())
}

/// A daemon that is to run in a group.
fn command_in(group: &Path, spool: &Spool) -> Command {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"",
            "sh",
        ])
        .arg(group)
        .arg(env!("CARGO_BIN_EXE_pirn"))
        .arg("serve")
        .env("PIRN_LOG", "debug")
        .env("PIRN_SPOOL", spool.path());
    command
}

/// The names of the groups inside a group.
fn names(group: &Path) -> Vec<String> {
    let entries = fs::read_dir(group).unwrap().flatten();
    entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        for _ in 0..500 {
            for job in self.jobs() {
                for inner in names(&self.0.join(&job)) {
                    let _ = fs::remove_dir(self.0.join(&job).join(inner));
                }
                let _ = fs::remove_dir(self.0.join(job));
            }
            if fs::remove_dir(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Runs a job with a process that only the control group shows to be the job's: it has a session of its own, neither
/// our variables nor our output, and its parents have ended. Gives that process.
fn run_escaper(spool: &Spool) -> i64 {
    let note = spool.beside("escaped");
    let line = format!(
        "echo begun; sleep 0.3; (setsid env -i sh -c 'exec >/dev/null 2>&1 </dev/null; echo $$ > {}; \
         while :; do sleep 600; done' &); sleep 600",
        note.display()
    );
    spool.drop_json("7", &json!({"command": line, "grace": "300ms", "tries": 1}));
    spool.wait_for("the escaped one", || {
        fs::read_to_string(&note).is_ok_and(|text| text.ends_with('\n'))
    });
    fs::read_to_string(&note).unwrap().trim().parse().unwrap()
}

#[test]
fn nothing_escapes_from_a_control_group() {
    let Some(group) = Group::make("escape") else {
        return;
    };
    let mut spool = Spool::new();
    group.serve(&mut spool);
    let escaped = run_escaper(&spool);
    spool.mv("active/7", "failed");
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
    assert!(!is_alive(escaped), "a process was left");
    spool.wait_for("its group to be gone", || group.jobs().is_empty());

    // The control: without a group the process does escape, so that the group is what caught it.
    let plain = Spool::serving(&[]);
    let escaped = run_escaper(&plain);
    plain.mv("active/7", "failed");
    assert_eq!(plain.wait_record("failed/7")["reason"], "cancelled");
    let alive = is_alive(escaped);
    let _ = Command::new("kill")
        .args(["-KILL", &escaped.to_string()])
        .status();
    assert!(alive, "the test's escaper does not escape");
}

#[test]
fn a_group_outlives_its_daemon() {
    let Some(group) = Group::make("adopt") else {
        return;
    };
    let mut spool = Spool::new();
    group.serve(&mut spool);
    let escaped = run_escaper(&spool);
    spool.wait_note("7");
    spool.crash();
    group.serve(&mut spool);
    spool.mv("active/7", "failed");
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
    assert!(
        !is_alive(escaped),
        "a process was left\n{}",
        spool.daemon_log()
    );
    spool.wait_for("its group to be gone", || group.jobs().is_empty());
}

#[test]
fn what_a_good_job_leaves_behind_lives_on_in_its_group() {
    let Some(group) = Group::make("daemon") else {
        return;
    };
    let mut spool = Spool::new();
    group.serve(&mut spool);
    let note = spool.beside("left");
    spool.drop_file(
        "7",
        format!(
            "setsid sh -c 'exec >/dev/null 2>&1; exec sleep 600' & echo $! > {}",
            note.display()
        ),
    );
    spool.wait_record("complete/7");
    let left: i64 = fs::read_to_string(&note).unwrap().trim().parse().unwrap();
    assert!(is_alive(left));
    assert_eq!(group.jobs().len(), 1);
    let _ = Command::new("kill")
        .args(["-KILL", &left.to_string()])
        .status();
    // The next daemon removes it.
    spool.stop();
    spool.wait_for("its end", || !is_alive(left));
    group.serve(&mut spool);
    spool.wait_for("its group to be gone", || group.jobs().is_empty());
}

#[test]
fn each_of_a_thousand_short_jobs_is_in_its_own_group_and_none_is_left() {
    let Some(group) = Group::make("many") else {
        return;
    };
    let mut spool = Spool::made();
    spool.config(r#"{"slots": 4}"#);
    group.serve(&mut spool);
    let ids: Vec<String> = (0..1000).map(|n| format!("n{n}")).collect();
    for id in &ids {
        spool.drop_file(id, "exec cat /proc/self/cgroup");
    }
    spool.wait_progress("all to end", || {
        let over = spool.ls("complete").len();
        (over, over == ids.len())
    });
    for id in &ids {
        let record = spool.record(&format!("complete/{id}"));
        let output = record["output"].as_str().unwrap();
        assert!(output.contains(&format!(".{id}\n")), "{id}: {output}");
    }
    spool.wait_for("all groups to be gone", || group.jobs().is_empty());
}

/// The control group of a process.
fn group_of(pid: i64) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let group = text.lines().find_map(|line| line.strip_prefix("0::"));
    group.unwrap().to_owned()
}

/// The last components of a group's path.
fn last(count: usize, group: &str) -> Vec<String> {
    let parts: Vec<_> = group.split('/').map(str::to_owned).collect();
    parts[parts.len().saturating_sub(count)..].to_vec()
}

fn name_of(group: &Path) -> String {
    group.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Runs a job that lives on; gives its pid.
fn run_sleeper(spool: &Spool, id: &str) -> i64 {
    spool.drop_file(id, "sleep 600");
    spool.wait_note(id)["pid"].as_i64().unwrap()
}

#[test]
fn jobs_are_beside_a_daemon_that_has_a_group_to_itself() {
    let Some(group) = Group::make("beside") else {
        return;
    };
    let own = group.make_subgroup();
    let mut spool = Spool::new();
    let command = command_in(&own, &spool);
    spool.serve_with(command);
    let pid = run_sleeper(&spool, "7");
    let [unit, job] = last(2, &group_of(pid)).try_into().unwrap();
    assert_eq!(unit, name_of(&group.0));
    assert!(job.starts_with("pirn.") && job.ends_with(".7"), "{job}");
    let daemon = group_of(spool.daemon_pid().unwrap().into());
    assert_eq!(last(2, &daemon), [unit.as_str(), "daemon"]);
    spool.rm("active/7");
    spool.wait_for("its group to be gone", || group.jobs() == ["daemon"]);
}

#[test]
fn groups_below_the_daemons_own_are_found_after_an_upgrade() {
    let Some(group) = Group::make("below") else {
        return;
    };
    let own = group.make_subgroup();
    // The mark is where earlier daemons looked for it.
    group.unmark();
    assert!(set_mark(
        &own,
        "os.setxattr(sys.argv[1], 'trusted.delegate', b'1')"
    ));
    let mut spool = Spool::new();
    let command = command_in(&own, &spool);
    spool.serve_with(command);
    let escaped = run_escaper(&spool);
    let note = spool.wait_note("7");
    let job = group_of(note["pid"].as_i64().unwrap());
    assert_eq!(last(2, &job)[0], "daemon");
    spool.crash();
    assert!(group.mark());
    let command = command_in(&own, &spool);
    spool.serve_with(command);
    let pid = run_sleeper(&spool, "8");
    assert_eq!(last(2, &group_of(pid))[0], name_of(&group.0));
    spool.mv("active/7", "failed");
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
    assert!(!is_alive(escaped), "a process was left");
    spool.rm("active/8");
    spool.wait_for("the groups to be gone", || {
        group.jobs() == ["daemon"] && names(&own).is_empty()
    });
}

#[test]
fn a_daemon_moves_to_the_group_that_it_is_told() {
    let Some(group) = Group::make("told") else {
        return;
    };
    group.unmark();
    let told = group.0.join("told");
    let told = told.to_str().unwrap();
    let mut spool = Spool::new();
    let command = spool.command(["serve", "--cgroup", told]);
    spool.serve_with(command);
    let pid = run_sleeper(&spool, "7");
    assert_eq!(last(2, &group_of(pid))[0], "told");
    let daemon = group_of(spool.daemon_pid().unwrap().into());
    assert_eq!(last(2, &daemon), ["told", "daemon"]);
    // The next image finds itself there already.
    spool.signal("USR2");
    spool.wait_daemon_log("becoming");
    let next = run_sleeper(&spool, "8");
    assert_eq!(last(2, &group_of(next))[0], "told");
    spool.rm("active/7");
    spool.rm("active/8");
    spool.wait_for("the jobs to end", || !is_alive(pid) && !is_alive(next));
    spool.stop();

    let elsewhere = spool.beside("elsewhere");
    let refused = spool.pirn(&["serve", "--cgroup", elsewhere.to_str().unwrap()]);
    assert_eq!(refused.code, 78);
}

/// A kernel or container that does not know the call: the child enters the group by itself.
#[test]
fn jobs_get_their_groups_without_clone3() {
    if !has_tool("strace", "strace") {
        return;
    }
    let Some(group) = Group::make("old") else {
        return;
    };
    let mut spool = Spool::new();
    group.serve(&mut spool);
    for (n, error) in ["ENOSYS", "E2BIG", "EPERM"].into_iter().enumerate() {
        let daemon = spool.daemon_pid().unwrap();
        let what = format!("clone3:error={error}");
        let injection = Injection::new(&spool, daemon, &what, None);
        let id = format!("n{n}");
        spool.drop_file(&id, "cat /proc/self/cgroup");
        let record = spool.wait_record(&format!("complete/{id}"));
        let output = record["output"].as_str().unwrap();
        assert!(output.contains(&format!(".{id}\n")), "{error}: {output}");
        injection.end();
    }
}

/// A group that was removed in the moment of a start is made again, once. Then the job waits, and no try is counted.
#[test]
fn a_group_that_is_lost_is_made_again() {
    if !has_tool("strace", "strace") {
        return;
    }
    let Some(group) = Group::make("lost") else {
        return;
    };
    let mut spool = Spool::new();
    group.serve(&mut spool);
    // The thread of this job waits for the next one: the call makes threads as well as children.
    spool.drop_file("first", "true");
    spool.wait_record("complete/first");
    let daemon = spool.daemon_pid().unwrap();
    for (error, text, failing, waits) in [
        ("EBUSY", "Device or resource busy", 1, false),
        ("ENODEV", "No such device", 1, false),
        ("ENODEV", "No such device", 2, true),
        ("EAGAIN", "Resource temporarily unavailable", 1, true),
    ] {
        let id = format!("{error}{failing}");
        let what = format!("clone3:error={error}:when=1..{failing}");
        let injection = Injection::new(&spool, daemon, &what, None);
        spool.drop_json(&id, &json!({"command": "true", "tries": 1}));
        let told = format!("{id}: not started for now: {text}");
        if waits {
            spool.wait_daemon_log(&told);
            injection.end();
        }
        let record = spool.wait_record(&format!("complete/{id}"));
        assert_eq!(record["attempt"], 1, "{id}");
        let log = spool.daemon_log();
        assert_eq!(log.contains(&told), waits, "{id}: {log}");
    }
}
