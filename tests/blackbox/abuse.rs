//! Rough handling: logs taken away, directories gone, events lost, descriptors short, hostile jobs.

use crate::spool::Spool;
use crate::tools::{Gate, text};
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
    // The name can be used again.
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
fn a_job_that_steers_itself() {
    let spool = Spool::serving(&[]);
    spool.drop_file("rm", "echo x; rm $PIRN_SPOOL/active/rm; sleep 600");
    spool.drop_file(
        "mv",
        "echo x; mv $PIRN_SPOOL/active/mv $PIRN_SPOOL/failed/; sleep 600",
    );
    assert_eq!(spool.wait_record("failed/mv")["reason"], "cancelled");
    spool.wait_gone("log/rm");
    assert_eq!(
        (spool.processes("rm"), spool.processes("mv")),
        (vec![], vec![])
    );
}

#[test]
fn a_job_that_hides_from_its_session_and_its_mark() {
    let spool = Spool::serving(&[]);
    // A double fork into a session of its own, without our variables, that keeps the log open.
    let hidden = spool.beside("hidden");
    let line = format!(
        "echo begun; setsid env -i sh -c 'echo $$ > {}; exec sleep 600' & sleep 600",
        hidden.display()
    );
    spool.drop_file("7", line);
    spool.wait_for("the hidden one", || {
        fs::read_to_string(&hidden).is_ok_and(|text| text.ends_with('\n'))
    });
    let pid: i64 = fs::read_to_string(&hidden).unwrap().trim().parse().unwrap();
    spool.mv("active/7", "failed");
    spool.wait_record("failed/7");
    assert!(!crate::spool::is_alive(pid), "a process was left");
}

#[test]
fn a_hidden_process_that_was_orphaned_before() {
    let spool = Spool::serving(&[]);
    let hidden = spool.beside("hidden");
    // Its parents end first: only the log's lock, or the subreaper, tells whose it is.
    let line = format!(
        "echo begun; (setsid env -i sh -c 'echo $$ > {}; exec sleep 600' &) ; sleep 600",
        hidden.display()
    );
    spool.drop_file("7", line);
    spool.wait_for("the hidden one", || {
        fs::read_to_string(&hidden).is_ok_and(|text| text.ends_with('\n'))
    });
    let pid: i64 = fs::read_to_string(&hidden).unwrap().trim().parse().unwrap();
    spool.mv("active/7", "failed");
    spool.wait_for("its end", || !crate::spool::is_alive(pid));
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
}

#[test]
fn a_fork_bomb_of_fifty() {
    let spool = Spool::serving(&[]);
    let line = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); (trap '' TERM; setsid sleep 600) & done; echo begun; wait";
    spool.drop_json(
        "7",
        &json!({"command": line, "timeout": "500ms", "grace": "200ms", "tries": 1}),
    );
    assert_eq!(spool.wait_record("failed/7")["reason"], "timeout");
    assert_eq!(spool.processes("7"), [0; 0]);
}

#[test]
fn zombies_are_reaped() {
    let spool = Spool::serving(&[]);
    spool.drop_file(
        "7",
        "for i in 1 2 3 4 5; do (setsid sh -c 'sleep 0.05' &) ; done",
    );
    spool.wait_record("complete/7");
    let daemon = spool.daemon_pid().unwrap();
    spool.wait_for("no children of the daemon", || {
        let tasks = fs::read_dir(format!("/proc/{daemon}/task")).unwrap();
        tasks.flatten().all(|task| {
            fs::read_to_string(task.path().join("children"))
                .unwrap_or_default()
                .trim()
                .is_empty()
        })
    });
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
    // Names that are nobody's jobs fill the queue; what comes after them is lost.
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
    // A waiting job that was withdrawn meanwhile is gone for good, and its name is free.
    spool.drop_file("waiting", "echo new");
    assert_eq!(spool.wait_record("complete/waiting")["output"], "new\n");
    // The config, too.
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
        // A start that lacked something was no try.
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
    // Whatever comes of each, the daemon goes on, and none is lost.
    spool.settle();
    for place in ["complete", "failed", "log", "tmp", "active"] {
        let id = format!("in-{place}");
        spool.wait_for(&format!("{id} somewhere as a file"), || {
            ["pending", "active", "complete", "failed", "bad"]
                .iter()
                .any(|at| spool.path().join(at).join(&id).is_file())
        });
    }
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
fn a_crash_leaves_the_job_running_and_the_next_daemon_takes_it() {
    let mut spool = Spool::serving(&[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.drop_json(
        "7",
        &json!({"command": format!("echo run; {}; echo end; exit 6", gate.wait()), "tries": 1}),
    );
    let note = spool.wait_note("7");
    spool.crash();
    spool.serve(&[]);
    spool.settle();
    assert!(spool.has("active/7") && spool.processes("7") == [note["pid"].as_i64().unwrap()]);
    // Steering works on a job that was adopted.
    gate.open(1);
    let (_, record) = spool.wait_end("7");
    assert_eq!(spool.read("log/7"), "run\nend\n");
    // Its status is known from kernel 6.15 on; before, it was interrupted.
    match text(&record, "reason") {
        "exited" => assert_eq!(record["exit_code"], 6),
        reason => assert_eq!(reason, "interrupted"),
    }
}

#[test]
fn a_job_that_was_adopted_can_be_killed() {
    let mut spool = Spool::serving(&[]);
    spool.drop_file("7", "echo begun; setsid sleep 600 & sleep 600");
    spool.wait_note("7");
    spool.crash();
    spool.serve(&[]);
    spool.mv("active/7", "failed");
    assert_eq!(spool.wait_record("failed/7")["reason"], "cancelled");
    assert_eq!(spool.processes("7"), [0; 0]);
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
