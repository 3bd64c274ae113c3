//! Jobs with a sandbox: what they can open, what the settings enforce, and what becomes of those that the kernel cannot
//! hold.

use crate::spool::Spool;
use crate::tools::{sh, text};
use serde_json::{Value, json};
use std::fs;

/// True if this kernel can enforce all that is tested here.
fn can_confine() -> bool {
    let held = held(&Spool::serving(&[]), &json!({}));
    let is_new = held["landlock"].as_u64() >= Some(6) && held["seccomp"] == true;
    if !is_new {
        eprintln!("skipped: needs Landlock ABI 6 and seccomp, got {held}");
    }
    is_new
}

/// The record's `sandboxed` of a job with this sandbox on this machine.
fn held(spool: &Spool, sandbox: &Value) -> Value {
    let mut sandbox = sandbox.clone();
    sandbox["best_effort"] = json!(true);
    let job = json!({"command": "true", "sandbox": sandbox});
    spool.run_json("held", &job).1["sandboxed"].clone()
}

/// A daemon that leaves steps out, or pretends an older kernel.
fn serving_with(faults: &str) -> Spool {
    let mut spool = Spool::made();
    let mut command = spool.command(["serve"]);
    command.env("PIRN_FAULTS", faults);
    spool.serve_with(command);
    spool
}

/// A job that runs lines of shell, with the system and these further fields of its sandbox.
fn shell(lines: &str, further: &Value) -> Value {
    let mut sandbox = json!({"system": true});
    for (key, value) in further.as_object().unwrap() {
        sandbox[key] = value.clone();
    }
    json!({"command": lines, "cwd": "/", "sandbox": sandbox, "tries": 1})
}

/// Makes `in`, `out` and `else` beside the spool, each with a file. Gives their paths.
fn directories(spool: &Spool) -> [String; 3] {
    ["in", "out", "else"].map(|name| {
        let dir = spool.beside(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a"), "text\n").unwrap();
        dir.to_str().unwrap().to_owned()
    })
}

fn assert_not_started(spool: &Spool, id: &str, error: &str) {
    let (place, record) = spool.wait_end(id);
    assert_eq!(place, "failed", "{record}");
    assert_eq!(text(&record, "reason"), "not_started", "{record}");
    assert_eq!(record["exit_code"], 126, "{record}");
    assert_eq!(text(&record, "error"), error);
    spool.wait_for("no scratch", || spool.scratch().is_empty());
}

/// A line for each action: which of them succeeded.
const ACTIONS: &str = r#"
try() { name=$1; shift; (eval "$@") 2>/dev/null && echo "$name"; }
try in-read cat $in/a ">/dev/null"
try in-write echo x ">$in/a"
try in-make echo x ">$in/new"
try in-remove rm $in/a
try out-write echo x ">$out/a"
try out-truncate : ">$out/a"
try out-make mkdir $out/d
try out-move mv $out/a $out/d/a
try out-link ln -s $else/a $out/link
try out-through-link cat $out/link
try out-remove rm $out/d/a
try else-read cat $else/a
try else-truncate : ">$else/a"
try else-make echo x ">$else/new"
try else-root cat /proc/self/root$else/a
try else-rename mv $in/a $else/b
true
"#;

fn actions(spool: &Spool) -> Vec<String> {
    let [within, out, other] = directories(spool);
    let mut job = shell(ACTIONS, &json!({"ro": [within], "rw": [out]}));
    job["env"] = json!({"in": within, "out": out, "else": other});
    let (place, record) = spool.run_json("files", &job);
    assert_eq!(place, "complete", "{record}");
    let log = spool.read("log/files");
    let lines = log.lines().filter(|line| line.contains('-'));
    lines.map(str::to_owned).collect()
}

#[test]
fn only_listed_files_can_be_opened() {
    if !can_confine() {
        return;
    }
    let permitted = [
        "in-read",
        "out-write",
        "out-truncate",
        "out-make",
        "out-move",
        "out-link",
        "out-remove",
    ];
    assert_eq!(actions(&Spool::serving(&[])), permitted);
    // The control: without Landlock all of it succeeds.
    let all = actions(&serving_with("no-landlock"));
    for name in ["else-read", "else-make", "in-write", "out-through-link"] {
        assert!(all.iter().any(|line| line == name), "{name}: {all:?}");
    }
}

/// Opens its outputs anew, and the devices.
const OUTPUTS: &str =
    "echo out > /dev/stdout && echo err > /dev/stderr && echo gone > /dev/null && echo end";

#[test]
fn logs_and_plain_devices_can_be_opened() {
    if !can_confine() {
        return;
    }
    let spool = Spool::serving(&[]);
    for split in [false, true] {
        let mut job = shell(OUTPUTS, &json!({}));
        job["split"] = json!(split);
        let (place, record) = spool.run_json(&format!("log-{split}"), &job);
        assert_eq!(place, "complete", "{record}");
        assert!(spool.read(&format!("log/log-{split}")).contains("end"));
    }
    assert_eq!(spool.read("log/log-true~err"), "err\n");
    let (place, _) = serving_with("no-log-rule").run_json("7", &shell(OUTPUTS, &json!({})));
    assert_eq!(place, "failed", "the control: without the rule for the log");
}

#[test]
fn its_own_program_and_scratch_directory_can_be_used() {
    if !can_confine() {
        return;
    }
    let spool = Spool::serving(&[]);
    let script = spool.path().join("scripts/tool");
    fs::write(&script, "#!/bin/sh\necho tool $1\n").unwrap();
    sh(&format!("chmod 755 {}", script.display()));
    let of = |work: Value| {
        let mut job = shell("", &json!({}));
        job.as_object_mut().unwrap().remove("command");
        job.as_object_mut()
            .unwrap()
            .extend(work.as_object().unwrap().clone());
        job
    };
    let long = format!("#{}\necho long", "x".repeat(120_000));
    for (id, work, output) in [
        ("tool", json!({"script": "tool", "args": ["a"]}), "tool a\n"),
        (
            "copy",
            json!({"command": "#!/bin/sh -e\necho copy"}),
            "copy\n",
        ),
        ("long", json!({"command": long}), "long\n"),
        ("argv", json!({"command": ["echo", "argv"]}), "argv\n"),
    ] {
        let (place, record) = spool.run_json(id, &of(work));
        assert_eq!(
            (place.as_str(), spool.read(&format!("log/{id}")).as_str()),
            ("complete", output),
            "{record}"
        );
    }
    let lines = r#"test "$TMPDIR" = "$PIRN_TMP" && echo x > $PIRN_TMP/x && mktemp && echo done > $PIRN_OUT"#;
    let (place, record) = spool.run_json("tmp", &shell(lines, &json!({})));
    assert_eq!(
        (place.as_str(), text(&record, "result")),
        ("complete", "done\n"),
        "{record}"
    );
    let mut job = shell(r#"test "$TMPDIR" = /own"#, &json!({}));
    job["env"] = json!({"TMPDIR": "/own"});
    assert_eq!(spool.run_json("own", &job).0, "complete");
    let stored = shell("echo x > $PIRN_STORE/x", &json!({"rw": ["$PIRN_STORE"]}));
    assert_eq!(spool.run_json("store", &stored).0, "complete");
    let elsewhere = shell("echo x > $PIRN_STORE/y", &json!({"rw": ["$PIRN_TMP"]}));
    assert_eq!(spool.run_json("not-store", &elsewhere).0, "failed");
    assert_eq!(spool.scratch(), [""; 0]);
}

#[test]
fn the_record_says_what_held_it() {
    if !can_confine() {
        return;
    }
    let spool = Spool::serving(&[]);
    let (_, record) = spool.run_json(
        "1",
        &shell(
            "grep -e NoNewPrivs -e ^Seccomp: /proc/self/status",
            &json!({"network": "none"}),
        ),
    );
    assert_eq!(spool.read("log/1"), "NoNewPrivs:\t1\nSeccomp:\t2\n");
    let held = &record["sandboxed"];
    assert_eq!(
        (&held["layers"], &held["seccomp"], &held["missing"]),
        (&json!(1), &json!(true), &json!([])),
        "{held}"
    );
    assert_eq!(held["groups"], json!([]));
    let (_, plain) = spool.run_json("2", &json!({"command": "true"}));
    assert_eq!(plain["sandboxed"], Value::Null);
    // A further try has it too, and the job keeps its sandbox.
    let mut job = shell("test $PIRN_ATTEMPT = 2 && ! cat /root/.profile", &json!({}));
    job["tries"] = json!(2);
    job["backoff"] = json!({"first": "1ms"});
    let (place, record) = spool.run_json("3", &job);
    assert_eq!(
        (place.as_str(), &record["sandbox"]),
        ("complete", &json!({"system": true})),
        "{record}"
    );
    assert_eq!(record["sandboxed"]["layers"], 1);
    spool.pirn(&["retry", "3"]);
    spool.wait_for("the retry", || {
        spool.has("complete/3") && spool.record("complete/3")["started_at"] != record["started_at"]
    });
    assert_eq!(spool.record("complete/3")["sandboxed"]["layers"], 1);
}

/// Kernels that are older than they say: the parts of a sandbox that each cannot enforce, and the sentence.
#[test]
fn a_kernel_that_cannot_enforce_it_starts_nothing() {
    if !can_confine() {
        return;
    }
    let files = (
        json!({"ro": ["/usr"], "network": "none"}),
        "files",
        "sandbox.ro needs Landlock ABI 3 (Linux 6.2)",
    );
    let connect = (
        json!({"network": {"connect": [443]}}),
        "network.connect",
        "sandbox.network.connect needs Landlock ABI 4 (Linux 6.7)",
    );
    let bind = (
        json!({"network": {"bind": [80]}}),
        "network.bind",
        "sandbox.network.bind needs Landlock ABI 4 (Linux 6.7)",
    );
    let trace = (
        json!({"network": "none"}),
        "trace",
        "sandbox needs Landlock ABI 1 (Linux 5.13)",
    );
    for version in 0..=11 {
        let spool = serving_with(&format!("landlock={version}"));
        let mark = spool.beside("mark");
        for (n, ((sandbox, part, needs), least)) in
            [(&files, 3), (&connect, 4), (&bind, 4), (&trace, 1)]
                .into_iter()
                .enumerate()
        {
            let command = format!("touch {}", mark.display());
            let job = json!({"command": command, "sandbox": sandbox, "tries": 1});
            if version < least {
                let has = if version == 0 {
                    "none".to_owned()
                } else {
                    version.to_string()
                };
                let id = format!("needed-{n}");
                spool.drop_json(&id, &job);
                assert_not_started(&spool, &id, &format!("{needs}; this kernel has {has}"));
                assert!(!mark.exists(), "{part} with {version}: it ran");
            }
            let held = held(&spool, sandbox);
            let missing = held["missing"].as_array().unwrap();
            assert_eq!(held["landlock"], version);
            assert_eq!(
                missing.contains(&json!(part)),
                version < least,
                "{part} with {version}: {held}"
            );
            assert_eq!(missing.contains(&json!("signals")), version < 6, "{held}");
            spool.pirn(&["rm", "held"]);
        }
    }
    let spool = serving_with("no-seccomp");
    spool.drop_json(
        "1",
        &json!({"command": "true", "sandbox": {"network": "unix"}}),
    );
    assert_not_started(
        &spool,
        "1",
        "sandbox.network needs seccomp filters; this kernel has none",
    );
    let held = held(&spool, &json!({"network": "unix"}));
    assert_eq!(
        (&held["seccomp"], &held["missing"][0]),
        (&json!(false), &json!("network")),
        "{held}"
    );
}

#[test]
fn what_is_missing_is_named() {
    if !can_confine() {
        return;
    }
    let spool = Spool::serving(&[]);
    let mark = spool.beside("mark");
    let touch = format!("touch {}", mark.display());
    spool.drop_json("path", &shell(&touch, &json!({"ro": ["/no/such"]})));
    assert_not_started(
        &spool,
        "path",
        "sandbox.ro: /no/such: No such file or directory",
    );
    spool.drop_json("file", &shell(&touch, &json!({"rof": ["/usr"]})));
    assert_not_started(&spool, "file", "sandbox.rof: /usr: is a directory");
    let echo = json!({"command": ["/usr/bin/env", "true"], "sandbox": {"rof": ["/usr/bin/env"]}, "tries": 1});
    spool.drop_json("loader", &echo);
    let error = "cannot execute /usr/bin/env: Permission denied (its loader or libraries may be outside sandbox.ro)";
    assert_not_started(&spool, "loader", error);
    spool.drop_json(
        "program",
        &json!({"command": ["/no/program"], "sandbox": {"system": true}, "tries": 1}),
    );
    assert_eq!(spool.wait_end("program").1["exit_code"], 127);
    assert!(!mark.exists());
}

#[test]
fn limits_that_no_group_can_have_are_refused() {
    let spool = Spool::serving(&[]);
    let mark = spool.beside("mark");
    let mut job = json!({"command": format!("touch {}", mark.display()), "resources": {"memory": "512M", "cpu": 1.5}});
    let (place, record) = spool.run_json("1", &job);
    if place == "complete" {
        return eprintln!("skipped: this daemon has controllers");
    }
    let error = text(&record, "error");
    assert!(
        error.starts_with("resources.memory needs the controller memory of cgroup v2; pirn has "),
        "{error}"
    );
    assert_eq!(
        (text(&record, "reason"), &record["exit_code"]),
        ("not_started", &json!(126))
    );
    assert!(!mark.exists());
    job["resources"]["best_effort"] = json!(true);
    let (place, record) = spool.run_json("2", &job);
    assert_eq!(place, "complete");
    let held = &record["sandboxed"];
    assert_eq!(
        held["missing"],
        json!(["resources.memory", "resources.cpu"]),
        "{held}"
    );
    assert_eq!((&held["groups"], &held["layers"]), (&json!([]), &json!(0)));
}

#[test]
fn a_job_does_not_get_out_of_what_is_enforced() {
    if !can_confine() {
        return;
    }
    let mut spool = Spool::made();
    let [within, out, _] = directories(&spool);
    let ro = json!({"system": true, "ro": [within, out]});
    spool.config(
        &json!({
            "defaults": {"sandbox": {"network": "none"}},
            "queues": {"closed": {"sandbox": ro}},
        })
        .to_string(),
    );
    spool.make_queue("closed");
    spool.serve(&[]);
    let touch = format!("cat {within}/a && echo x > {out}/a");
    let mut job = shell(
        &touch,
        &json!({"rw": [out.clone()], "ro": [within.clone()]}),
    );
    assert_eq!(
        spool.run_json("open", &job).0,
        "complete",
        "the control: it may do so in another queue"
    );
    job["queue"] = json!("closed");
    let (place, record) = spool.run_json("closed/in", &job);
    assert_eq!(
        (place.as_str(), &record["sandboxed"]["layers"]),
        ("failed", &json!(2)),
        "{record}"
    );
    assert_eq!(spool.read("log/in").lines().next(), Some("text"));
    // Its own object replaces the default one, with the network that this does not permit.
    let socket = "python3 -c 'import socket; socket.socket()'";
    assert_eq!(
        spool
            .run_json("by-default", &json!({"command": socket, "tries": 1}))
            .0,
        "failed"
    );
    assert_eq!(
        spool
            .run_json("replaced", &json!({"command": socket, "sandbox": {}}))
            .0,
        "complete"
    );
    // A command at the end of the job stays in what is enforced for the job's queue.
    for (id, queue, end) in [("a", "closed", "failed"), ("b", "free", "complete")] {
        let write = format!("echo x > {out}/{id}");
        let job = json!({"command": "true", "queue": queue, "on_finish": write});
        let file = if queue == "closed" {
            format!("closed/{id}")
        } else {
            id.to_owned()
        };
        spool.drop_json(&file, &job);
        let is_there = |dir: &str| {
            spool
                .ls(dir)
                .iter()
                .any(|name| name.starts_with(&format!("finish-{id}-")))
        };
        spool.wait_for("the command", || is_there("failed") || is_there("complete"));
        assert!(is_there(end), "{id}");
    }
}

#[test]
fn settings_that_cannot_be_enforced_are_not_used() {
    if !can_confine() {
        return;
    }
    let mut spool = Spool::made();
    spool.config(r#"{"sandbox": {"network": {"connect": [443]}}}"#);
    let mut command = spool.command(["serve"]);
    command.env("PIRN_FAULTS", "landlock=3");
    let done = spool.finish(&mut command);
    assert_eq!(done.code, 78, "{}", done.stderr);
    let why = "sandbox.network.connect needs Landlock ABI 4 (Linux 6.7); this kernel has 3";
    assert!(done.stderr.contains(why), "{}", done.stderr);
    spool.config(r#"{"slots": 1}"#);
    let mut command = spool.command(["serve"]);
    command.env("PIRN_FAULTS", "landlock=3");
    spool.serve_with(command);
    // It has the lock before it reads the settings.
    spool.settle();
    spool.config(
        r#"{"slots": 0, "queues": {"main": {"sandbox": {"network": {"connect": [443]}}}}}"#,
    );
    spool.wait_daemon_log("queues.main.sandbox.network.connect needs Landlock ABI 4");
    assert_eq!(
        spool.run_json("1", &json!({"command": "true"})).0,
        "complete",
        "the old settings hold"
    );
}

#[test]
fn a_misspelt_restriction_is_not_ignored() {
    let spool = Spool::serving(&[]);
    for (name, job, words) in [
        (
            "key",
            json!({"command": "true", "sandbox": {"netwrok": "none"}}),
            "sandbox.netwrok: unknown field; did you mean \"network\"?",
        ),
        (
            "path",
            json!({"command": "true", "sandbox": {"ro": ["srv"]}}),
            "sandbox.ro: expected a path that begins with /",
        ),
        (
            "port",
            json!({"command": "true", "sandbox": {"network": {"bind": [0]}}}),
            "sandbox.network.bind: expected a whole number from 1 to 65535",
        ),
        (
            "url",
            json!({"url": "http://[::1]/", "sandbox": {}}),
            "sandbox, resources: go with a command or script",
        ),
        (
            "limit",
            json!({"command": "true", "resources": {"memory": "much"}}),
            "resources.memory: expected a size",
        ),
    ] {
        spool.drop_json(name, &job);
        let reason = spool.wait_bad(name);
        assert!(reason.contains(words), "{name}: {reason}");
    }
}

#[test]
fn options_of_add_and_run() {
    let spool = Spool::made();
    let id = spool.add(&[
        "-ro",
        "in",
        "-rwf=/out/a",
        "--system",
        "--network",
        "connect=443,udp",
        "--namespaces",
        "--memory",
        "512M",
        "--swap",
        "0",
        "--tasks",
        "9",
        "--cpu",
        "1.5",
        "--cpu-weight",
        "50",
        "--io-weight",
        "60",
        "true",
        "-ro",
    ]);
    let record = spool.record(&format!("pending/{id}"));
    let here = std::env::current_dir().unwrap().join("in");
    let expected = json!({
        "system": true, "ro": [here], "rwf": ["/out/a"], "network": {"connect": [443], "udp": true}, "namespaces": true,
    });
    assert_eq!(record["sandbox"], expected);
    let expected = json!({
        "memory": 512 << 20, "swap": 0, "tasks": 9, "cpu": 1.5, "cpu_weight": 50, "io_weight": 60,
    });
    assert_eq!(record["resources"], expected);
    assert_eq!(record["command"], json!(["true", "-ro"]));
    assert!(spool.pirn(&["show", &id]).stdout.contains("sandbox"));
    let limited = spool.add(&["--tasks", "9", "--best-effort", "true"]);
    let record = spool.record(&format!("pending/{limited}"));
    assert_eq!(
        (&record["sandbox"], &record["resources"]["best_effort"]),
        (&Value::Null, &json!(true))
    );
    let sandboxed = spool.add(&["--best-effort", "true"]);
    assert_eq!(
        spool.record(&format!("pending/{sandboxed}"))["sandbox"],
        json!({"best_effort": true})
    );
    for wrong in [
        ["--memory", "0"],
        ["--cpu", "0"],
        ["--tasks", "0"],
        ["--network", "tcp"],
    ] {
        assert_eq!(
            spool.pirn(&["add", wrong[0], wrong[1], "true"]).code,
            2,
            "{wrong:?}"
        );
    }
    let done = spool.pirn(&["status", "--json"]);
    let status: Value = serde_json::from_str(&done.stdout).unwrap();
    let groups = status["sandbox"]["groups"].as_array().map(Vec::len);
    assert_eq!(groups, Some(0), "{status}");
    assert!(
        spool.pirn(&["status"]).stdout.contains("\nsandbox   "),
        "{status}"
    );
}

#[test]
fn run_confines_its_job() {
    if !can_confine() {
        return;
    }
    let spool = Spool::made();
    let [within, _, other] = directories(&spool);
    let lines = format!("cat {within}/a; cat {other}/a");
    let done = spool.pirn(&["run", "--system", "-ro", &within, &lines]);
    assert_eq!(
        (done.code, done.stdout.lines().next()),
        (1, Some("text")),
        "{}",
        done.stderr
    );
}

#[test]
fn the_next_daemon_knows_what_holds_a_job() {
    if !can_confine() {
        return;
    }
    let mut spool = Spool::serving(&[]);
    let go = spool.beside("go");
    let lines = format!("until [ -e {} ]; do sleep 0.02; done", go.display());
    spool.drop_json(
        "1",
        &json!({"command": lines, "sandbox": {"network": "none"}}),
    );
    spool.wait_note("1");
    spool.crash();
    spool.serve(&[]);
    fs::write(go, "").unwrap();
    let (_, record) = spool.wait_end("1");
    assert_eq!(record["sandboxed"]["layers"], 1, "{record}");
    spool.wait_for("no scratch", || spool.scratch().is_empty());
}
