//! Rough handling: removed logs and directories, lost events, too few descriptors, hostile jobs.

use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::json;
use std::fs;
use std::process::Command;

#[test]
fn a_log_removed_while_the_job_runs() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("7", format!("echo before; {}; echo after", gate.wait()));
    spool.wait_note("7");
    spool.rm("log/7");
    gate.open(1);
    assert_eq!(spool.wait_record("complete/7")["exit_code"], 0);
    // The name is free again.
    spool.drop_file("7", "echo again");
    spool.wait_for("the second run", || {
        spool.has("complete/7") && spool.record("complete/7")["output"] == "again\n"
    });
}

#[test]
fn a_log_truncated_by_its_job() {
    let spool = Spool::serving(&[]);
    spool.drop_file("7", "seq 1000; : > $PIRN_SPOOL/log/7; echo kept");
    let record = spool.wait_record("complete/7");
    assert_eq!(
        (&record["output"], &record["log_bytes"]),
        (&json!("kept\n"), &json!(5))
    );
    spool.drop_json("8", &json!({"command": "seq 1000; [ $PIRN_ATTEMPT = 1 ] || : > $PIRN_SPOOL/log/8; echo end; exit $((PIRN_ATTEMPT == 1))", "backoff": {"first": "5ms"}}));
    let record = spool.wait_record("complete/8");
    assert_eq!(
        (&record["output"], spool.read("log/8").as_str()),
        (&json!("end\n"), "end\n")
    );
}

#[test]
fn a_record_edited_while_the_job_runs_is_not_believed() {
    let spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_file("7", gate.wait());
    spool.wait_note("7");
    fs::write(spool.path().join("active/7"), "{ this is not json").unwrap();
    gate.open(1);
    let record = spool.wait_record("complete/7");
    assert_eq!(
        (&record["exit_code"], &record["command"]),
        (&json!(0), &json!(gate.wait()))
    );
}

#[test]
fn events_lost_to_an_overflow() {
    let spool = Spool::serving(&[]);
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    spool.drop_json(
        "waiting",
        &json!({"command": "echo never", "not_before": "2199-01-01T00:00:00Z"}),
    );
    spool.drop_file("first", "true");
    spool.wait_record("complete/first");
    spool.signal("STOP");
    // Events of a hidden file fill the event queue, so that later events are lost.
    let junk = spool.path().join("pending/.junk");
    for _ in 0..limit {
        fs::write(&junk, "").unwrap();
        fs::remove_file(&junk).unwrap();
    }
    spool.drop_file("lost", "echo found");
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    spool.drop_file("mail/inner", "echo found");
    spool.rm("pending/waiting");
    spool.mv("complete/first", "pending");
    spool.config(r#"{"defaults": {"tries": 1}}"#);
    spool.signal("CONT");
    assert_eq!(spool.wait_record("complete/lost")["output"], "found\n");
    assert_eq!(spool.wait_record("complete/inner")["output"], "found\n");
    spool.wait_record("complete/first");
    // A job that was removed while it waited does not come back, and its name is free.
    spool.drop_file("waiting", "echo new");
    assert_eq!(spool.wait_record("complete/waiting")["output"], "new\n");
    // The config was replaced as well.
    spool.drop_file("once", "false");
    assert_eq!(spool.wait_end("once").1["attempt"], 1);
}

#[test]
fn a_running_job_removed_while_events_are_lost() {
    let spool = Spool::serving(&[]);
    for id in ["6", "7"] {
        spool.drop_file(id, "echo begun; exec sleep 600");
        spool.wait_log(id, "begun");
    }
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    spool.signal("STOP");
    let junk = spool.path().join("pending/.junk");
    for _ in 0..limit {
        fs::write(&junk, "").unwrap();
        fs::remove_file(&junk).unwrap();
    }
    spool.rm("active/6");
    spool.mv("active/7", "failed");
    spool.signal("CONT");
    spool.wait_no_process("6");
    spool.wait_no_process("7");
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
}

#[test]
fn few_descriptors() {
    let mut spool = Spool::new();
    let daemon = spool.command([""]).get_program().display().to_string();
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            &format!("ulimit -n 40; exec {daemon} serve --slots 30"),
        ])
        .env("PIRN_SPOOL", spool.path());
    spool.serve_with(command);
    for n in 0..100 {
        spool.drop_json(
            &n.to_string(),
            &json!({"command": "sleep 0.02; echo $PIRN_ID", "stdin": "x", "split": true}),
        );
    }
    for n in 0..100 {
        let record = spool.wait_record(&format!("complete/{n}"));
        // A start that failed for lack of resources does not count as a try.
        assert_eq!(
            (&record["attempt"], &record["output"]),
            (&json!(1), &json!(format!("{n}\n")))
        );
    }
}

#[test]
fn a_name_that_is_a_directory_in_the_way() {
    let spool = Spool::serving(&[]);
    for place in ["complete", "failed", "log", "tmp", "active"] {
        let id = format!("in-{place}");
        fs::create_dir(spool.path().join(place).join(&id)).unwrap();
        spool.drop_json(&id, &json!({"command": "true", "tmp": true, "tries": 1}));
    }
    // The files in the way are moved aside, and all jobs run.
    for place in ["complete", "failed", "log", "tmp", "active"] {
        spool.wait_record(&format!("complete/in-{place}"));
    }
    spool.wait_bad("in-log");
    spool.wait_bad("in-active");
}

#[test]
fn symlinks_set_as_traps_in_the_spool() {
    let spool = Spool::serving(&[]);
    let outside = spool.beside("outside");
    fs::write(&outside, "precious").unwrap();
    fs::create_dir(spool.beside("dir")).unwrap();
    fs::write(spool.beside("dir/file"), "precious").unwrap();
    for (place, target) in [
        ("log/1", &outside),
        ("tmp/1", &spool.beside("dir")),
        ("tmp/.1", &outside),
    ] {
        std::os::unix::fs::symlink(target, spool.path().join(place)).unwrap();
    }
    spool.drop_json("1", &json!({"command": "echo written", "tmp": true, "files": {"file": "overwritten"}, "tries": 1}));
    spool.settle();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
    assert_eq!(
        fs::read_to_string(spool.beside("dir/file")).unwrap(),
        "precious"
    );
}

#[test]
fn two_spools_with_the_same_ids_do_not_meet() {
    let (one, two) = (Spool::serving(&[]), Spool::serving(&[]));
    for spool in [&one, &two] {
        spool.drop_file("7", "echo begun; exec sleep 600");
        spool.wait_log("7", "begun");
    }
    one.mv("active/7", "failed");
    one.wait_record("failed/7");
    assert!(two.has("active/7") && two.processes("7").len() == 1);
    let mut gate = Gate::new(&two, "gate");
    two.drop_file(
        "inner",
        format!(
            "PIRN_SPOOL={} {} add --id inner true; {}",
            one.path().display(),
            two.command([""]).get_program().display(),
            gate.wait()
        ),
    );
    assert_eq!(one.wait_record("complete/inner")["exit_code"], 0);
    gate.open(1);
    two.wait_record("complete/inner");
}

#[test]
fn a_daemon_started_from_a_directory_that_is_gone() {
    let mut spool = Spool::new();
    let gone = spool.beside("gone");
    let daemon = spool.command([""]).get_program().display().to_string();
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            &format!(
                "mkdir {0}; cd {0}; rmdir {0}; exec {daemon} serve",
                gone.display()
            ),
        ])
        .env("PIRN_SPOOL", spool.path());
    spool.serve_with(command);
    spool.drop_file("1", "echo fine");
    assert_eq!(spool.wait_record("complete/1")["output"], "fine\n");
}
