//! The session of filed, command by command, and the promise that `run` needs no daemon.

use crate::spool::Spool;
use std::process::Command;

fn sh(spool: &Spool, script: &str) {
    let script = script.replace("/tmp/filed-jobs", spool.path().to_str().unwrap());
    assert!(
        Command::new("sh")
            .args(["-c", &script])
            .status()
            .unwrap()
            .success(),
        "{script}"
    );
}

#[test]
fn the_session_of_filed() {
    let spool = Spool::serving(&[]);
    sh(
        &spool,
        r#"printf "echo 'hello world'" > /tmp/filed-jobs/pending/1"#,
    );
    spool.wait_record("complete/1");
    assert_eq!(spool.read("log/1"), "hello world\n");

    sh(
        &spool,
        r#"printf "ech this-will-fail" > /tmp/filed-jobs/pending/2"#,
    );
    let record = spool.wait_record("failed/2");
    assert_eq!(record["exit_code"], 127);
    assert_eq!(record["attempts"].as_array().unwrap().len(), 3);

    sh(
        &spool,
        "mv /tmp/filed-jobs/failed/2 /tmp/filed-jobs/pending",
    );
    spool.wait_gone("failed/2");
    let record = spool.wait_record("failed/2");
    assert_eq!(
        (&record["attempt"], &record["exit_code"]),
        (&3.into(), &127.into())
    );

    sh(&spool, "rm /tmp/filed-jobs/failed/2");
    spool.wait_gone("log/2");
    assert_eq!(spool.ls("failed"), [""; 0]);
}

#[test]
fn run_needs_no_daemon() {
    let spool = Spool::new();
    let done = spool.pirn(&["run", "echo hello from job $PIRN_ID; exit 7"]);
    assert_eq!((done.code, done.stdout.as_str()), (7, "hello from job 1\n"));
    assert_eq!(spool.record("failed/1")["exit_code"], 7);
}
