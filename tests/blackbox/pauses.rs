//! Pauses are files: `.paused` in `pending/` or in a queue's directory.

use crate::spool::Spool;
use crate::tools::ok;
use serde_json::json;
use std::fs::{self, File};
use std::process::Command;

fn touch(spool: &Spool, name: &str) {
    File::create(spool.path().join(name)).unwrap();
}

/// Waits until the daemon has logged this `times` times.
fn wait_logged(spool: &Spool, text: &str, times: usize) {
    spool.wait_for(&format!("{text:?} {times} times"), || {
        spool.daemon_log().matches(text).count() == times
    });
}

/// A change of the settings must not start paused or held jobs.
#[test]
fn new_settings_start_nothing_that_is_paused_or_held() {
    let spool = Spool::serving(&[]);
    spool.drop_file("first", "true");
    spool.wait_record("complete/first");
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    ok(&spool, &["pause", "mail"]);
    ok(&spool, &["pause"]);
    let paused = spool.add(&["-q", "mail", "true"]);
    let held = spool.add(&["true"]);
    ok(&spool, &["hold", &held]);
    assert!(!spool.has("config.json"));
    spool.config(r#"{"slots": 4}"#);
    wait_logged(&spool, "config: read", 1);
    ok(&spool, &["resume"]);
    spool.settle();
    assert!(spool.has(&format!("pending/mail/{paused}")));
    assert!(spool.has(&format!("held/{held}")));
    ok(&spool, &["resume", "mail"]);
    spool.wait_record(&format!("complete/{paused}"));
    ok(&spool, &["release", &held]);
    spool.wait_record(&format!("complete/{held}"));
}

#[test]
fn touch_and_rm_pause_and_resume_at_once() {
    let spool = Spool::serving(&[]);
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    for round in 0..20 {
        touch(&spool, "pending/mail/.paused");
        let id = format!("{round}");
        spool.drop_file(&format!("mail/{id}"), "true");
        // The other queue is served; by then the daemon has seen both.
        spool.settle();
        assert!(spool.has(&format!("pending/mail/{id}")));
        spool.rm("pending/mail/.paused");
        spool.wait_record(&format!("complete/{id}"));
    }
    touch(&spool, "pending/.paused");
    wait_logged(&spool, "pending: paused", 1);
    spool.drop_file("a", "true");
    spool.drop_file("mail/b", "true");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(spool.has("pending/a") && spool.has("pending/mail/b"));
    spool.rm("pending/.paused");
    spool.wait_record("complete/a");
    spool.wait_record("complete/b");
}

#[test]
fn pauses_are_seen_at_the_start_and_with_a_new_queue() {
    let mut spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    spool.add(&["true"]);
    touch(&spool, "pending/mail/.paused");
    spool.serve(&[]);
    spool.wait_record("complete/2");
    spool.settle();
    assert!(spool.has("pending/mail/1"));
    // A queue that is moved in with its pause and its jobs.
    let made = spool.beside("web");
    fs::create_dir(&made).unwrap();
    fs::write(made.join("w"), "true").unwrap();
    File::create(made.join(".paused")).unwrap();
    fs::rename(&made, spool.path().join("pending/web")).unwrap();
    spool.settle();
    assert!(spool.has("pending/web/w"));
    // A pause goes with its directory.
    spool.mv("pending/mail/1", "pending");
    fs::remove_file(spool.path().join("pending/mail/.paused")).unwrap();
    spool.wait_record("complete/1");
    spool.rm("pending/web/.paused");
    spool.wait_record("complete/w");
    spool.stop();
    // All queues are paused while no daemon runs.
    touch(&spool, "pending/.paused");
    spool.drop_file("late", "true");
    spool.serve(&[]);
    wait_logged(&spool, "pending: paused", 1);
    assert!(spool.has("pending/late"));
    ok(&spool, &["resume"]);
    spool.wait_record("complete/late");
}

#[test]
fn resume_names_the_setting_that_still_pauses() {
    let spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    spool.config(
        r#"{"paused": true, "queues": {"mail": {"paused": true}, "default": {"paused": true}}}"#,
    );
    for (args, setting) in [
        (&["resume"][..], "the setting paused"),
        (&["resume", "mail"], "the setting queues.mail.paused"),
        (&["resume", "default"], "the setting queues.default.paused"),
    ] {
        let done = spool.pirn(args);
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(done.stderr.contains(setting), "{}", done.stderr);
    }
    spool.config("{}");
    ok(&spool, &["pause"]);
    let done = spool.pirn(&["resume", "mail"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("pending/.paused"), "{}", done.stderr);
    ok(&spool, &["resume"]);
    ok(&spool, &["resume", "mail"]);
    let done = spool.pirn(&["pause", "default"]);
    assert_eq!(done.code, 2);
    assert!(
        done.stderr.contains("queues.default.paused"),
        "{}",
        done.stderr
    );
    assert!(!spool.has("pending/.paused"));
}

#[test]
fn pauses_are_shown() {
    let spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    touch(&spool, "pending/mail/.paused");
    let status = || -> serde_json::Value {
        serde_json::from_str(&spool.pirn(&["status", "--json"]).stdout).unwrap()
    };
    let mail = json!({"name": "mail", "waiting": 1, "used": 0, "slots": null, "paused": true});
    assert!(status()["queues"].as_array().unwrap().contains(&mail));
    assert_eq!(status()["paused"], false);
    touch(&spool, "pending/.paused");
    assert_eq!(status()["paused"], true);
    assert!(
        spool
            .pirn(&["status"])
            .stdout
            .contains("paused    all queues")
    );
}

/// An older daemon does not know these pauses and holds, and would start the jobs.
#[test]
fn nothing_is_paused_or_held_under_an_older_daemon() {
    let spool = Spool::new();
    spool.add(&["-q", "mail", "true"]);
    let lock = spool.path().join("lock");
    fs::write(&lock, "4711\n").unwrap();
    let mut older = Command::new("flock")
        .arg(&lock)
        .args(["sh", "-c", "echo locked; exec sleep 60"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut word = [0; 6];
    std::io::Read::read_exact(older.stdout.as_mut().unwrap(), &mut word).unwrap();
    for args in [&["pause"][..], &["pause", "mail"], &["hold", "1"]] {
        let done = spool.pirn(args);
        assert_eq!(done.code, 75, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains("SIGUSR2"), "{}", done.stderr);
    }
    older.kill().unwrap();
    older.wait().unwrap();
    assert!(spool.has("pending/mail/1") && !spool.has("pending/.paused"));
    let pauses = fs::read_dir(spool.path().join("pending/mail")).unwrap();
    assert_eq!(pauses.count(), 1);
}

#[test]
fn config_set_changes_one_value() {
    let spool = Spool::new();
    spool.add(&["true"]);
    spool.config("{\"slots\":   4,\n \"queues\": {\"mail\": {\"slots\": 1}}}");
    ok(&spool, &["config", "set", "queues.mail.slots", "2"]);
    ok(&spool, &["config", "set", "keep", "90d"]);
    ok(&spool, &["config", "set", "queues.\"a.b\".paused", "true"]);
    assert_eq!(
        spool.record("config.json"),
        json!({"slots": 4, "keep": "90d", "queues": {"mail": {"slots": 2}, "a.b": {"paused": true}}})
    );
    ok(&spool, &["config", "set", "queues.mail.slots", "null"]);
    ok(&spool, &["config", "set", "slots", "null"]);
    ok(&spool, &["config", "set", "keep", "null"]);
    let kept = json!({"keep": null, "queues": {"mail": {}, "a.b": {"paused": true}}});
    assert_eq!(spool.record("config.json"), kept);
    for (key, value, code) in [
        ("slots", "many", 78),
        ("slot", "1", 78),
        ("queues..slots", "1", 2),
    ] {
        let done = spool.pirn(&["config", "set", key, value]);
        assert_eq!(done.code, code, "{key} {value}: {}", done.stderr);
    }
    assert_eq!(spool.record("config.json"), kept);
}

/// Each command reads the settings, changes one and writes them: no change may be lost.
#[test]
fn settings_that_are_changed_at_once_are_all_changed() {
    let spool = Spool::new();
    spool.add(&["true"]);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let spool = &spool;
            scope.spawn(move || {
                ok(
                    spool,
                    &["config", "set", &format!("queues.q{n}.slots"), "1"],
                );
                ok(
                    spool,
                    &["config", "set", &format!("queues.q{n}.paused"), "true"],
                );
            });
        }
    });
    let queues = spool.record("config.json")["queues"].clone();
    for n in 0..8 {
        assert_eq!(queues[format!("q{n}")], json!({"slots": 1, "paused": true}));
    }
}

/// 1,000 rounds of hold and release while newer files of the name are dropped: each file runs, or a newer one replaced
/// it while it waited.
#[test]
fn hold_and_release_lose_nothing() {
    let spool = Spool::serving(&["--slots", "4"]);
    fs::create_dir(spool.path().join("pending/mail")).unwrap();
    let ran = spool.beside("ran");
    for round in 0..1000 {
        spool.drop_file("mail/a", format!("echo {round} >> {}", ran.display()));
        let verb = if round % 2 == 0 { "hold" } else { "release" };
        let mut steer = spool.command([verb, "a"]);
        let mut steer = steer.stderr(std::process::Stdio::null()).spawn().unwrap();
        steer.wait().unwrap();
        if round % 2 == 0 {
            // A job that was held in time must not block the next round.
            spool.finish(
                spool
                    .command(["release", "a"])
                    .stdin(std::process::Stdio::null()),
            );
        }
        spool.wait_for(&format!("{round}"), || {
            let ran = fs::read_to_string(&ran).unwrap_or_default();
            ran.lines().any(|line| line == round.to_string())
        });
    }
    assert_eq!(spool.ls("held"), [""; 0]);
    assert_eq!(spool.ls("bad"), [""; 0]);
}

/// If the settings cannot be read, it is unknown whether one of them pauses, or names a queue.
#[test]
fn broken_settings_are_no_settings_that_pause_nothing() {
    let spool = Spool::new();
    spool.add(&["true"]);
    ok(&spool, &["pause"]);
    spool.config("{\"paused\": true,,}");
    let done = spool.pirn(&["resume"]);
    assert_eq!(done.code, 78, "{}", done.stderr);
    assert!(
        done.stderr.contains("config.json: line 1"),
        "{}",
        done.stderr
    );
    assert!(!spool.has("pending/.paused"));
    let done = spool.pirn(&["pause", "web"]);
    assert_eq!(done.code, 66, "{}", done.stderr);
    assert!(
        done.stderr.contains("config.json: line 1"),
        "{}",
        done.stderr
    );
}

/// A directory entry of any type with this name pauses. If `resume` cannot remove it, its message names it.
#[test]
fn a_pause_need_not_be_a_file() {
    let spool = Spool::serving(&[]);
    let pause = spool.path().join("pending/.paused");
    std::os::unix::fs::symlink("nowhere", &pause).unwrap();
    wait_logged(&spool, "pending: paused", 1);
    ok(&spool, &["pause"]);
    ok(&spool, &["resume"]);
    wait_logged(&spool, "pending: resumed", 1);
    fs::create_dir(&pause).unwrap();
    wait_logged(&spool, "pending: paused", 2);
    let done = spool.pirn(&["resume"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("pending/.paused: "), "{}", done.stderr);
    fs::remove_dir(&pause).unwrap();
    wait_logged(&spool, "pending: resumed", 2);
}
