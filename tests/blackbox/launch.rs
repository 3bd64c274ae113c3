//! `pirn launch`: what a confined command can do, and how one that cannot be confined is refused.

use crate::spool::Spool;
use std::process::Stdio;

/// True if this kernel has Landlock and filters of system calls; else says that the test is skipped.
pub fn can_confine() -> bool {
    let spool = Spool::new();
    let done = spool.pirn(&["launch", "--network", "none", "true"]);
    if done.code != 0 {
        println!("skipped: {}", done.stderr);
    }
    done.code == 0
}

/// Runs `pirn launch` with these faults.
fn launch(spool: &Spool, faults: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = spool.command([&["launch"], args].concat());
    let done = spool.finish(command.env("PIRN_FAULTS", faults).stdin(Stdio::null()));
    (done.code, done.stdout, done.stderr)
}

#[test]
fn the_line_of_filed() {
    if !can_confine() {
        return;
    }
    let spool = Spool::new();
    let line = ["--", "sh", "-c", "echo 'hello world'"];
    let libraries = [
        ["-rof", "/usr/bin/echo"],
        ["-ro", "/lib"],
        ["-ro", "/lib64"],
    ]
    .concat();
    let done = launch(&spool, "", &[&libraries[..], &line].concat());
    assert_eq!(done, (0, "hello world\n".to_owned(), String::new()));
    let done = launch(&spool, "", &[&libraries[..2], &line].concat());
    let hint = "Permission denied (its loader or libraries may be outside ro)\n";
    assert!(done.0 == 126 && done.2.ends_with(hint), "{done:?}");
}

#[test]
fn words_after_the_command_are_its_own() {
    let spool = Spool::new();
    let done = launch(
        &spool,
        "",
        &["--syscalls=all", "echo", "-ro", "--", "-rw=x"],
    );
    assert_eq!(
        (done.0, done.1.as_str()),
        (0, "-ro -- -rw=x\n"),
        "{}",
        done.2
    );
}

/// Older kernels: the sentence is exact and nothing is run, or with --best-effort it is.
#[test]
fn what_a_kernel_lacks() {
    if !can_confine() {
        return;
    }
    let spool = Spool::new();
    let trace = spool.beside("trace");
    let touch = ["touch", trace.to_str().unwrap()];
    for (faults, options, sentence) in [
        (
            "landlock=0",
            "",
            "sandbox needs Landlock ABI 1 (Linux 5.13); this kernel has none",
        ),
        (
            "landlock=0",
            "--rw=/",
            "sandbox.rw needs Landlock ABI 3 (Linux 6.2); this kernel has none",
        ),
        (
            "landlock=2",
            "--rw=/",
            "sandbox.rw needs Landlock ABI 3 (Linux 6.2); this kernel has 2",
        ),
        (
            "landlock=2",
            "--rw=/ --system",
            "sandbox.system needs Landlock ABI 3 (Linux 6.2); this kernel has 2",
        ),
        (
            "landlock=3",
            "--network=connect=443",
            "sandbox.network.connect needs Landlock ABI 4 (Linux 6.7); this kernel has 3",
        ),
        (
            "landlock=1",
            "--network=bind=80",
            "sandbox.network.bind needs Landlock ABI 4 (Linux 6.7); this kernel has 1",
        ),
        (
            "no-seccomp",
            "--network=unix",
            "sandbox.network needs seccomp filters; this kernel has none",
        ),
        (
            "no-seccomp",
            "",
            "sandbox.syscalls needs seccomp filters; this kernel has none",
        ),
    ] {
        let options: Vec<&str> = options.split_whitespace().collect();
        let done = launch(&spool, faults, &[&options[..], &touch].concat());
        assert_eq!(
            done,
            (125, String::new(), format!("pirn: {sentence}\n")),
            "{faults}"
        );
        assert!(!trace.exists(), "{faults} {options:?}: it was run");
        let done = launch(
            &spool,
            faults,
            &[&["--best-effort"], &options[..], &touch].concat(),
        );
        assert_eq!(
            done,
            (0, String::new(), String::new()),
            "{faults} {options:?}"
        );
        std::fs::remove_file(&trace).unwrap();
    }
    for version in 0..=11 {
        let faults = format!("landlock={version}");
        let args = ["--rw=/", "--network=connect=443", touch[0], touch[1]];
        let done = launch(&spool, &faults, &args);
        let is_run = trace.exists();
        assert_eq!(
            (done.0 == 0, is_run),
            (version >= 4, version >= 4),
            "{version}: {done:?}"
        );
        let _ = std::fs::remove_file(&trace);
    }
}

#[test]
fn paths_that_are_not_as_listed() {
    if !can_confine() {
        return;
    }
    let spool = Spool::new();
    let missing = spool.beside("missing");
    let (missing, dir) = (
        missing.display().to_string(),
        spool.path().display().to_string(),
    );
    for (option, path, why) in [
        ("ro", &missing, "No such file or directory"),
        ("rw", &missing, "No such file or directory"),
        ("rof", &dir, "is a directory"),
        ("rwf", &dir, "is a directory"),
    ] {
        spool.make();
        let done = launch(&spool, "", &[&format!("-{option}"), path, "true"]);
        let sentence = format!("pirn: sandbox.{option}: {path}: {why}\n");
        assert_eq!(done, (125, String::new(), sentence));
    }
    let done = launch(&spool, "", &["no-such-program"]);
    assert_eq!(done.0, 127, "{}", done.2);
}

#[test]
fn the_status_of_a_confined_process() {
    if !can_confine() {
        return;
    }
    let spool = Spool::new();
    let show = "grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd)' /proc/self/status";
    let done = launch(&spool, "", &["--system", "sh", "-c", show]);
    assert_eq!(done.0, 0, "{done:?}");
    let is_root = nix::unistd::geteuid().is_root();
    let lines = match is_root {
        true => {
            "CapEff:\t00000000000004fb\nCapBnd:\t00000000000004fb\nNoNewPrivs:\t1\nSeccomp:\t2\n"
        }
        false => "NoNewPrivs:\t1\nSeccomp:\t2\n",
    };
    for line in lines.lines() {
        assert!(
            done.1.lines().any(|found| found == line),
            "{line}: {}",
            done.1
        );
    }
}
