//! A daemon with a delegated control group: no process of a job can leave it.

use crate::spool::{Spool, is_alive};
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
        Command::new("python3")
            .args([
                "-c",
                "import os, sys; os.setxattr(sys.argv[1], 'trusted.delegate', b'1')",
            ])
            .arg(&self.0)
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Serves the spool with a daemon inside the group.
    pub fn serve(&self, spool: &mut Spool) {
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"",
                "sh",
            ])
            .arg(&self.0)
            .arg(env!("CARGO_BIN_EXE_pirn"))
            .arg("serve")
            .env("PIRN_LOG", "debug")
            .env("PIRN_SPOOL", spool.path());
        spool.serve_with(command);
    }

    /// The names of the groups inside it.
    fn jobs(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().flatten();
        entries
            .filter(|entry| entry.file_type().unwrap().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        for _ in 0..500 {
            for job in self.jobs() {
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
fn run_escaper(spool: &Spool, timeout: &str) -> i64 {
    let note = spool.beside("escaped");
    let line = format!(
        "echo begun; sleep 0.3; (setsid env -i sh -c 'exec >/dev/null 2>&1 </dev/null; echo $$ > {}; \
         while :; do sleep 600; done' &); sleep 600",
        note.display()
    );
    spool.drop_json(
        "7",
        &json!({"command": line, "timeout": timeout, "grace": "300ms", "tries": 1}),
    );
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
    let escaped = run_escaper(&spool, "2s");
    assert_eq!(spool.wait_record("failed/7")["reason"], "timeout");
    assert!(!is_alive(escaped), "a process was left");
    spool.wait_for("its group to be gone", || group.jobs().is_empty());

    // The control: without a group the process does escape, so that the group is what caught it.
    let plain = Spool::serving(&[]);
    let escaped = run_escaper(&plain, "2s");
    assert_eq!(plain.wait_record("failed/7")["reason"], "timeout");
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
    let escaped = run_escaper(&spool, "1h");
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
fn short_jobs_leave_no_group() {
    let Some(group) = Group::make("many") else {
        return;
    };
    let mut spool = Spool::new();
    group.serve(&mut spool);
    for n in 0..300 {
        spool.drop_file(&format!("n{n}"), "exit 0");
    }
    spool.wait_for("all to end", || spool.ls("complete").len() == 300);
    spool.wait_for("all groups to be gone", || group.jobs().is_empty());
}
