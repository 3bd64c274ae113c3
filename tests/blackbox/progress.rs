//! The progress that running jobs tell of: the file that PIRN_PROGRESS names.

use crate::spool::Spool;
use crate::tools::{Gate, text};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// The progress of a job that runs, as `show` and `ls` agree on it.
fn progress(spool: &Spool, id: &str) -> Value {
    let shown: Value = serde_json::from_str(&spool.pirn(&["show", "--json", id]).stdout).unwrap();
    let listed: Value =
        serde_json::from_str(&spool.pirn(&["ls", "active", "--json"]).stdout).unwrap();
    let own = |job: &&Value| job["id"] == id;
    let listed = listed.as_array().unwrap().iter().find(own).unwrap();
    assert_eq!(shown["progress"], listed["progress"], "{shown}");
    shown["progress"].clone()
}

/// A job that runs these lines of shell, and then waits until the gate is opened. It writes to `test` beside the spool.
fn runs(spool: &Spool, id: &str, lines: &str, fields: &Value) -> Gate {
    fs::create_dir_all(spool.beside("test")).unwrap();
    let gate = Gate::new(spool, &format!("test/gate-{}", id.len()));
    let ready = spool.beside(&format!("test/ready-{}", id.len()));
    let command = format!("{lines}\n: > '{}'\n{}", ready.display(), gate.wait());
    let mut record = json!({"command": command, "tries": 1});
    let fields = fields.as_object().unwrap().clone();
    record.as_object_mut().unwrap().extend(fields);
    spool.drop_json(id, &record);
    spool.wait_for("the job to be ready", || ready.exists());
    fs::remove_file(ready).unwrap();
    gate
}

/// All names in `tmp/`, also hidden ones, without the room that is kept for records.
fn left(spool: &Spool) -> Vec<String> {
    let names = fs::read_dir(spool.path().join("tmp")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| !name.starts_with(".reserve."))
        .collect()
}

#[test]
fn a_running_job_says_how_far_it_is() {
    let spool = Spool::serving(&[]);
    for (fields, id) in [(json!({}), "plain"), (json!({"tmp": true}), "scratch")] {
        let write = "echo 0.1 > $PIRN_PROGRESS; echo '42% half of it' >> $PIRN_PROGRESS; printf 0.9 >> $PIRN_PROGRESS";
        let mut gate = runs(&spool, id, write, &fields);
        let told = json!({"done": 0.42, "text": "half of it"});
        assert_eq!(progress(&spool, id), told, "{id}");
        let listed = spool.pirn(&["ls"]).stdout;
        assert!(listed.contains(" 42% "), "{listed}");
        let shown = spool.pirn(&["show", id]).stdout;
        assert!(shown.contains("42% half of it"), "{shown}");
        let status = spool.pirn(&["status"]).stdout;
        assert!(
            status.contains(&format!("\nprogress  {id}: 42% half of it\n")),
            "{status}"
        );
        let status: Value =
            serde_json::from_str(&spool.pirn(&["status", "--json"]).stdout).unwrap();
        assert_eq!(
            status["progress"],
            json!([{"id": id, "done": 0.42, "text": "half of it"}])
        );
        gate.open(1);
        spool.wait_record(&format!("complete/{id}"));
        assert_eq!(left(&spool), [""; 0], "{id}");
        let record = spool.record(&format!("complete/{id}"));
        assert_eq!(record.get("progress"), None);
    }
    // A record that was shown can be dropped again, and what it says is not believed.
    let dropped = json!({"command": "true", "progress": {"done": 1, "text": "all"}});
    assert_eq!(spool.run_json("again", &dropped).1.get("progress"), None);
}

#[test]
fn a_job_in_a_sandbox_writes_it_to_its_scratch_directory() {
    let spool = Spool::serving(&[]);
    let sandbox =
        json!({"system": true, "best_effort": true, "rw": [spool.beside("test").to_str()]});
    let write =
        "echo 1 > $PIRN_PROGRESS.new && mv $PIRN_PROGRESS.new $PIRN_PROGRESS; echo $PIRN_PROGRESS";
    let mut gate = runs(&spool, "1", write, &json!({"sandbox": sandbox}));
    let path = spool.path().join("tmp/1/.progress");
    assert_eq!(spool.read("log/1"), format!("{}\n", path.display()));
    assert_eq!(progress(&spool, "1"), json!({"done": 1.0, "text": ""}));
    gate.open(1);
    spool.wait_record("complete/1");
    assert_eq!(left(&spool), [""; 0]);
}

#[test]
fn no_try_shows_the_progress_of_an_earlier_one() {
    let mut spool = Spool::serving(&[]);
    let lines = "[ $PIRN_ATTEMPT = 1 ] && echo 0.5 > $PIRN_PROGRESS && exit 1";
    let fields = json!({"tries": 2, "backoff": {"first": "1ms"}});
    let mut gate = runs(&spool, "1", lines, &fields);
    assert_eq!(progress(&spool, "1"), Value::Null);
    gate.open(1);
    spool.wait_record("complete/1");
    // Killed with its daemon, it is tried again.
    let lines = "[ $PIRN_ATTEMPT = 2 ] || echo 0.5 > $PIRN_PROGRESS";
    let mut gate = runs(&spool, "22", lines, &json!({}));
    assert_eq!(progress(&spool, "22")["done"], 0.5);
    let pid = spool.wait_note("22")["pid"].clone();
    spool.crash();
    crate::tools::sh(&format!("kill -KILL -- -{pid}"));
    spool.wait_no_process("22");
    spool.serve(&[]);
    spool.wait_for("the second try", || {
        spool.has("active/22") && spool.record("active/22")["attempt"] == 2
    });
    assert_eq!(progress(&spool, "22"), Value::Null);
    gate.open(1);
    spool.wait_record("complete/22");
    assert_eq!(left(&spool), [""; 0]);
}

#[test]
fn a_daemon_that_adopts_a_job_shows_its_progress() {
    let mut spool = Spool::serving(&[]);
    let mut gate = runs(&spool, "1", "echo 0.25 > $PIRN_PROGRESS", &json!({}));
    spool.wait_note("1");
    // The note was exchanged with the job's file, which is removed only after a sync.
    spool.wait_for("that file to go", || left(&spool) == [".-progress.1"]);
    spool.crash();
    assert_eq!(progress(&spool, "1")["done"], 0.25);
    // Of a job that is gone, and of one that is to come.
    for id in ["gone", "2"] {
        let path = spool.path().join(format!("tmp/.-progress.{id}"));
        fs::write(path, "0.5\n").unwrap();
    }
    spool.serve(&[]);
    assert_eq!(progress(&spool, "1")["done"], 0.25);
    assert_eq!(left(&spool), [".-progress.1"]);
    gate.open(1);
    spool.wait_record("complete/1");
    assert_eq!(left(&spool), [""; 0]);
}

#[test]
fn names_of_ids_do_not_collide() {
    let spool = Spool::serving(&["--slots", "3"]);
    let long = "ü".repeat(64);
    for id in [".progress.1", "-progress.1"] {
        let done = spool.pirn(&["add", "--id", id, "true"]);
        assert_ne!(done.code, 0, "{id} is no id");
    }
    let mut gates = Vec::new();
    for (n, id) in ["progress.1", "~progress.12", long.as_str()]
        .into_iter()
        .enumerate()
    {
        let write = format!("echo 0.{n} > $PIRN_PROGRESS");
        gates.push(runs(&spool, id, &write, &json!({})));
    }
    for (n, id) in ["progress.1", "~progress.12", long.as_str()]
        .into_iter()
        .enumerate()
    {
        let told: f64 = format!("0.{n}").parse().unwrap();
        assert_eq!(progress(&spool, id)["done"], told, "{id}");
    }
    for gate in &mut gates {
        gate.open(1);
    }
    spool.wait_record(&format!("complete/{long}"));
}

#[test]
fn no_file_fools_or_blocks_those_who_look() {
    let spool = Spool::serving(&[]);
    let elsewhere = spool.beside("elsewhere");
    fs::write(&elsewhere, "0.5 not his\n").unwrap();
    let mut gate = runs(&spool, "1", "echo $PIRN_PROGRESS", &json!({}));
    let path = PathBuf::from(spool.read("log/1").trim());
    let none = |what: &str, make: &str| {
        let line = format!("p='{}'; rm -rf $p; {make}", path.display());
        crate::tools::sh(&line);
        assert_eq!(progress(&spool, "1"), Value::Null, "{what}");
    };
    none("a link", &format!("ln -s '{}' $p", elsewhere.display()));
    none("a pipe", "mkfifo $p");
    none("a directory", "mkdir -p $p/a && echo 1 > $p/a/b");
    none("no number", "echo nan > $p");
    none("a number without end", "echo 1e999 > $p");
    none("below 0", "echo -0.5 > $p");
    none("above 100 %", "echo 101% > $p");
    none("a line of 10 GB", "truncate -s 10G $p; echo >> $p");
    none("no line", "printf 0.5 > $p");
    none("nothing", ": > $p");
    let told = |make: &str| {
        let line = format!("p='{}'; rm -rf $p; {make}", path.display());
        crate::tools::sh(&line);
        progress(&spool, "1")
    };
    assert_eq!(
        told("truncate -s 10G $p; printf '\\n0.5\\n' >> $p")["done"],
        0.5
    );
    let escapes = told("printf '1 \\033[2J\\377\\n' > $p");
    assert_eq!(text(&escapes, "text"), "?[2J\u{fffd}");
    let long = told("printf '1 %09999d\\n' 0 > $p; printf '1 %0999d\\n' 0 >> $p");
    assert_eq!(text(&long, "text"), format!("{}…", "0".repeat(100)));
    // A directory in its place goes, too.
    none("a directory", "mkdir -p $p/a && echo 1 > $p/a/b");
    gate.open(1);
    spool.wait_record("complete/1");
    assert_eq!(left(&spool), [""; 0]);
}
