//! The forms of a pending file, and the queues in which it may wait (DESIGN section 3).

use crate::spool::Spool;
use crate::tools::{Gate, sh, text};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn plain_text_is_a_shell_command() {
    let spool = Spool::serving(&[]);
    spool.drop_file("two-lines", "x=3\necho $((x * 2)) | tr 6 7\n");
    assert_eq!(spool.wait_record("complete/two-lines")["output"], "7\n");
    spool.drop_file("no-newline", "printf done");
    assert_eq!(spool.wait_record("complete/no-newline")["output"], "done");
    // A leading space keeps a { from being read as JSON.
    spool.drop_file("group", " { echo grouped; }");
    let record = spool.wait_record("complete/group");
    assert_eq!(record["output"], "grouped\n");
    assert_eq!(record["command"], " { echo grouped; }");
}

#[test]
fn plain_text_runs_under_sh() {
    let spool = Spool::serving(&[]);
    spool.drop_file("who", "tr '\\0' ' ' < /proc/$$/cmdline; exit 0");
    let record = spool.wait_record("complete/who");
    assert!(text(&record, "output").starts_with("sh -c "), "{record}");
}

#[test]
fn a_script_runs_through_its_own_interpreter() {
    let spool = Spool::serving(&[]);
    spool.drop_file(
        "py",
        "#!/usr/bin/env python3\nimport sys\nprint(sum(range(5)), len(sys.argv))\n",
    );
    spool.drop_file("awk", "#!/usr/bin/awk -f\nBEGIN { print \"from awk\" }\n");
    spool.drop_file("spaced", "#! /bin/sh -eu\necho before; false; echo after\n");
    assert_eq!(spool.wait_record("complete/py")["output"], "10 1\n");
    assert_eq!(spool.wait_record("complete/awk")["output"], "from awk\n");
    // The argument -e has its effect: the script ends at the first failure.
    let (state, record) = spool.wait_end("spaced");
    assert_eq!(
        (state.as_str(), &record["exit_code"]),
        ("failed", &json!(1))
    );
    assert!(!spool.read("log/spaced").contains("after"));
}

#[test]
fn a_script_keeps_its_text_and_leaves_no_copy() {
    let spool = Spool::serving(&[]);
    let script = "#!/bin/bash\necho ${BASH_VERSION:+bash} $#\n";
    spool.drop_file("s.sh", script);
    let record = spool.wait_record("complete/s.sh");
    assert_eq!(
        (&record["output"], &record["command"]),
        (&json!("bash 0\n"), &json!(script))
    );
    assert_eq!(spool.scratch(), [""; 0]);
}

#[test]
fn a_script_runs_from_a_private_copy() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file(
        "s",
        format!(
            "#!/bin/bash\nstat -c %a \"$0\"; echo \"$0\"\n{}\n",
            gate.wait()
        ),
    );
    spool.wait_log("s", "/");
    let log = spool.read("log/s");
    let (mode, path) = log.trim().split_once('\n').unwrap();
    assert!(
        !path.contains("/active/") && !path.contains("/pending/"),
        "{path}"
    );
    assert_eq!(u32::from_str_radix(mode, 8).unwrap() & 0o077, 0, "private");
    gate.open(1);
    spool.wait_record("complete/s");
}

#[test]
fn a_missing_interpreter_is_said_and_not_tried_again() {
    let spool = Spool::serving(&[]);
    spool.drop_file("s", "#!/no/such/interpreter -x\necho never\n");
    let record = spool.wait_record("failed/s");
    assert_eq!(
        (&record["reason"], &record["exit_code"]),
        (&json!("not_started"), &json!(127))
    );
    assert!(text(&record, "error").contains("/no/such/interpreter"));
    assert_eq!(record["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(spool.scratch(), [""; 0]);
    assert!(!spool.has("log/s"));
}

#[test]
fn windows_line_ends_are_said_for_what_they_are() {
    let spool = Spool::serving(&[]);
    spool.drop_file("s", "#!/bin/sh\r\necho hi\r\n");
    let (_, record) = spool.wait_end("s");
    // Either it runs, or the record says which program could not be started.
    assert!(
        record["output"].as_str().is_some_and(|o| o.contains("hi"))
            || text(&record, "error").contains("/bin/sh"),
        "{record}"
    );
}

#[test]
fn queues_are_directories() {
    let spool = Spool::serving(&[]);
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    spool.drop_file("mail/1", "echo $PIRN_QUEUE");
    let record = spool.wait_record("complete/1");
    assert_eq!(
        (&record["output"], &record["queue"]),
        (&json!("mail\n"), &json!("mail"))
    );
}

#[test]
fn a_queue_is_filled_in_the_moment_it_is_made() {
    let spool = Spool::serving(&[]);
    // mkdir and a drop without a pause; then a directory with jobs is moved in.
    for n in 0..20 {
        fs::create_dir(spool.path().join(format!("pending/q{n}"))).unwrap();
        spool.drop_file(&format!("q{n}/job{n}"), "echo $PIRN_QUEUE");
    }
    let made = spool.beside("made");
    fs::create_dir(&made).unwrap();
    fs::write(made.join("inside"), "echo $PIRN_QUEUE").unwrap();
    fs::rename(&made, spool.path().join("pending/moved")).unwrap();
    for n in 0..20 {
        let record = spool.wait_record(&format!("complete/job{n}"));
        assert_eq!(record["output"], format!("q{n}\n"));
    }
    assert_eq!(spool.wait_record("complete/inside")["output"], "moved\n");
}

#[test]
fn queues_that_were_there_before_the_daemon() {
    let mut spool = Spool::new();
    sh(&format!("mkdir -p {}/pending/old", spool.path().display()));
    spool.drop_file("old/1", "echo $PIRN_QUEUE");
    spool.drop_file("2", "echo $PIRN_QUEUE");
    spool.serve(&[]);
    assert_eq!(spool.wait_record("complete/1")["output"], "old\n");
    assert_eq!(spool.wait_record("complete/2")["output"], "default\n");
    spool.drop_file("old/3", "echo $PIRN_QUEUE");
    assert_eq!(spool.wait_record("complete/3")["output"], "old\n");
}

#[test]
fn a_queue_removed_and_made_again_works() {
    let spool = Spool::serving(&[]);
    let queue = spool.path().join("pending/mail");
    for n in 0..10 {
        fs::create_dir(&queue).unwrap();
        let id = format!("job{n}");
        spool.drop_file(&format!("mail/{id}"), "echo $PIRN_QUEUE");
        assert_eq!(
            spool.wait_record(&format!("complete/{id}"))["output"],
            "mail\n"
        );
        fs::remove_dir(&queue).unwrap();
    }
}

#[test]
fn a_queue_renamed_with_its_jobs() {
    let spool = Spool::serving(&["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("blocker", gate.wait());
    spool.wait_note("blocker");
    fs::create_dir(spool.path().join("pending/a")).unwrap();
    spool.drop_file("a/1", "echo $PIRN_QUEUE");
    spool.drop_file("a/2", "echo $PIRN_QUEUE");
    fs::rename(
        spool.path().join("pending/a"),
        spool.path().join("pending/b"),
    )
    .unwrap();
    gate.open(1);
    assert_eq!(spool.wait_record("complete/1")["output"], "b\n");
    assert_eq!(spool.wait_record("complete/2")["output"], "b\n");
    spool.drop_file("b/3", "echo $PIRN_QUEUE");
    assert_eq!(spool.wait_record("complete/3")["output"], "b\n");
}

#[test]
fn a_queue_removed_while_its_job_runs() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    let queue = spool.path().join("pending/mail");
    fs::create_dir(&queue).unwrap();
    let job = json!({"command": format!("{}; [ $PIRN_ATTEMPT = 2 ]", gate.wait()), "backoff": {"first": "5ms"}});
    spool.drop_json("mail/1", &job);
    spool.wait_note("1");
    fs::remove_dir(&queue).unwrap();
    gate.open(2);
    // The queue is made again, because the next try waits in it.
    let record = spool.wait_record("complete/1");
    assert_eq!(
        (&record["attempt"], &record["queue"]),
        (&json!(2), &json!("mail"))
    );
}

#[test]
fn the_queue_field_routes_a_drop() {
    let spool = Spool::serving(&[]);
    spool.drop_json(
        "1",
        &json!({"command": "echo $PIRN_QUEUE", "queue": "mail"}),
    );
    spool.drop_json(
        "2",
        &json!({"command": "echo $PIRN_QUEUE", "queue": "default"}),
    );
    assert_eq!(spool.wait_record("complete/1")["output"], "mail\n");
    assert_eq!(spool.wait_record("complete/2")["output"], "default\n");
    assert!(spool.path().join("pending/mail").is_dir());
    // For a file in a queue's directory, the directory decides, not the record.
    spool.drop_json(
        "mail/3",
        &json!({"command": "echo $PIRN_QUEUE", "queue": "web"}),
    );
    let record = spool.wait_record("complete/3");
    assert_eq!(
        (&record["output"], &record["queue"]),
        (&json!("mail\n"), &json!("mail"))
    );
}

#[test]
fn a_routed_job_waits_where_it_says() {
    let spool = Spool::serving(&["--only", "default"]);
    spool.drop_json("1", &json!({"command": "true", "queue": "mail"}));
    spool.wait_file("pending/mail/1");
    assert!(!spool.has("pending/1"));
}

#[test]
fn the_spool_is_private() {
    let spool = Spool::serving(&[]);
    for dir in [
        "", "pending", "active", "complete", "failed", "bad", "log", "tmp", "store", "scripts",
    ] {
        let mode = fs::metadata(spool.path().join(dir))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700, "{dir:?} is {mode:o}");
    }
}

#[test]
fn a_job_named_like_its_queue() {
    let spool = Spool::serving(&[]);
    // pending/ cannot have a file and a directory of the same name: the reason says so, and no other job is stuck.
    spool.drop_json("mail", &json!({"command": "echo never", "queue": "mail"}));
    assert!(spool.wait_bad("mail").contains("queue"));
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    spool.drop_file("mail/mail", "echo $PIRN_ID in $PIRN_QUEUE");
    assert_eq!(
        spool.wait_record("complete/mail")["output"],
        "mail in mail\n"
    );
}

#[test]
fn a_queue_made_with_the_name_of_a_running_job() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    let job = json!({"command": format!("{}; [ $PIRN_ATTEMPT = 2 ]", gate.wait()), "backoff": {"first": "5ms"}});
    spool.drop_json("mail", &job);
    spool.wait_note("mail");
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    gate.open(2);
    // The next try has no place to wait: the record of the job is kept, and a newer job is not affected.
    let (state, record) = spool.wait_end("mail");
    if state == "failed" {
        assert_eq!(record["attempts"].as_array().unwrap().len(), 1);
        assert!(text(&record, "error").contains("pending/"), "{record}");
    } else {
        assert_eq!(record["attempt"], 2);
    }
}
