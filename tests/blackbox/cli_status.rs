//! `pirn status` while a daemon is starting.

use crate::spool::Spool;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs a shell line with our `pirn` in its path; gives its output.
fn shell(spool: &Spool, line: &str) -> String {
    let pirn = spool.command([""]).get_program().to_owned();
    let path = std::env::var("PATH").unwrap();
    let dir = Path::new(&pirn).parent().unwrap().display();
    let out = Command::new("bash")
        .args(["-c", line])
        .env("PATH", format!("{dir}:{path}"))
        .env("PIRN_SPOOL", spool.path())
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn a_daemon_that_is_just_starting_is_there() {
    for n in 0..30 {
        let spool = match n % 3 {
            0 => Spool::new(),
            1 => Spool::made(),
            _ => {
                let spool = Spool::new();
                fs::create_dir(spool.path()).unwrap();
                spool
            }
        };
        let said = shell(&spool, "pirn serve 2>&- & pirn status; kill $!; wait $!");
        assert!(said.contains("daemon    process "), "{n}: {said}");
    }
}

#[test]
fn a_daemon_that_is_slow_to_start_is_there() {
    let spool = Spool::made();
    let said = shell(
        &spool,
        "(sleep 0.3; exec pirn serve) 2>&- & pirn status --json; kill $!; wait $!",
    );
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(status["daemon"].is_i64(), "{said}");
}

#[test]
fn where_no_daemon_comes_it_says_so() {
    let spool = Spool::made();
    let done = spool.pirn(&["status"]);
    assert_eq!(done.code, 0);
    assert!(done.stdout.contains("daemon    none"), "{}", done.stdout);
}
