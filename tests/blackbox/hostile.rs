//! Files that cannot be jobs: none is followed, waited for or run; each goes to `bad/` with a reason beside it.

use crate::spool::Spool;
use crate::tools::{sh, text};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;

#[test]
fn what_is_no_regular_file() {
    let spool = Spool::serving(&[]);
    let pending = spool.path().join("pending");
    let secret = spool.beside("secret");
    fs::write(&secret, "echo followed").unwrap();
    std::os::unix::fs::symlink(&secret, pending.join("symlink")).unwrap();
    std::os::unix::fs::symlink("/nowhere", pending.join("dangling")).unwrap();
    sh(&format!("mkfifo {}", pending.join("fifo").display()));
    let _listener = UnixListener::bind(pending.join("socket")).unwrap();
    fs::create_dir_all(pending.join("mail/inner")).unwrap();
    for (name, words) in [
        ("symlink", "symbolic link"),
        ("dangling", "symbolic link"),
        ("fifo", "FIFO"),
        ("socket", "socket"),
        ("inner", "directory"),
    ] {
        let reason = spool.wait_bad(name).to_lowercase();
        assert!(
            reason.contains(&words.to_lowercase()) || (name == "fifo" && reason.contains("pipe")),
            "{name}: {reason}"
        );
        assert!(!pending.join(name).exists());
    }
    // The target of the link is untouched; the link was moved, not its target.
    assert_eq!(fs::read_to_string(&secret).unwrap(), "echo followed");
    assert!(
        fs::symlink_metadata(spool.path().join("bad/symlink"))
            .unwrap()
            .is_symlink()
    );
    spool.settle();
    assert!(!spool.has("log/symlink"));
}

#[test]
fn a_symlink_to_a_directory_is_no_queue() {
    let spool = Spool::serving(&[]);
    let elsewhere = spool.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("1"), "echo from elsewhere").unwrap();
    std::os::unix::fs::symlink(&elsewhere, spool.path().join("pending/link")).unwrap();
    assert!(
        spool.wait_bad("link").contains("symlink")
            || spool.read("bad/link.reason").contains("symbolic")
    );
    spool.settle();
    assert!(elsewhere.join("1").exists() && !spool.has("log/1"));
}

#[test]
fn a_device_is_no_job() {
    let spool = Spool::serving(&[]);
    let made = std::process::Command::new("mknod")
        .arg(spool.path().join("pending/null"))
        .args(["c", "1", "3"])
        .status()
        .unwrap();
    if !made.success() {
        eprintln!("skipped: making a device needs privileges");
        return;
    }
    assert!(spool.wait_bad("null").contains("device"));
}

#[test]
fn a_file_with_a_second_link_is_no_job() {
    let spool = Spool::serving(&[]);
    let mine = spool.beside("mine");
    fs::write(&mine, "echo linked").unwrap();
    fs::hard_link(&mine, spool.path().join("pending/linked")).unwrap();
    assert!(spool.wait_bad("linked").contains("link"));
    assert_eq!(fs::read_to_string(&mine).unwrap(), "echo linked");
    assert!(!spool.has("log/linked"));
}

#[test]
fn a_file_that_is_too_large() {
    let spool = Spool::serving(&[]);
    let job = |bytes: usize| {
        let record = |comment: usize| {
            json!({"command": "echo ran", "comment": "x".repeat(comment)}).to_string()
        };
        record(bytes - record(0).len())
    };
    spool.drop_file("most", job(16 << 20));
    spool.drop_file("more", job((16 << 20) + 1));
    let reason = spool.wait_bad("more");
    assert!(
        reason.contains("max_job_bytes") && reason.contains("16777217"),
        "{reason}"
    );
    assert_eq!(spool.wait_record("complete/most")["output"], "ran\n");
    // The file was moved whole.
    assert_eq!(spool.read("bad/more").len(), (16 << 20) + 1);
}

#[test]
fn a_long_plain_text_runs() {
    let spool = Spool::serving(&[]);
    spool.drop_file("long", format!("echo ran # {}", "x".repeat(200_000)));
    let (_, record) = spool.wait_end("long");
    assert_eq!(record["output"], "ran\n", "{}", record["error"]);
}

#[test]
fn names_that_are_no_ids() {
    let spool = Spool::serving(&[]);
    let pending = spool.path().join("pending");
    let long = "n".repeat(255);
    let names: [&[u8]; 6] = [
        long.as_bytes(),
        b"new\nline",
        b"-rf",
        b"esc\x1b[31m",
        b"latin\xe9",
        b"job~err",
    ];
    for name in names {
        let staged = spool.beside("staged");
        fs::write(&staged, "echo never").unwrap();
        fs::rename(staged, pending.join(OsStr::from_bytes(name))).unwrap();
    }
    spool.wait_for("six in bad/", || spool.ls("bad").len() == 12);
    assert_eq!(spool.ls("pending"), [""; 0]);
    for name in spool.ls("bad") {
        // The names in bad/ can be shown on a terminal and be given to a command.
        assert!(
            name.len() <= 255 && !name.starts_with(['-', '.']) && !name.contains(char::is_control),
            "{name:?}"
        );
        if let Some(job) = name.strip_suffix(".reason") {
            let reason = spool.read(&format!("bad/{name}"));
            assert!(
                reason.contains("name") && spool.has(&format!("bad/{job}")),
                "{reason}"
            );
        }
    }
    assert_eq!(spool.ls("log"), [""; 0]);
}

#[test]
fn the_longest_name_works_in_all_states() {
    let spool = Spool::serving(&[]);
    let id = "n".repeat(128);
    spool.drop_json(&id, &json!({"command": "echo out; exit $((PIRN_ATTEMPT == 1))", "backoff": {"first": "5ms"}, "split": true, "tmp": true}));
    let record = spool.wait_record(&format!("complete/{id}"));
    assert_eq!(
        (&record["attempt"], text(&record, "output")),
        (&json!(2), "out\n")
    );
    spool.drop_file(&"n".repeat(129), "echo never");
    assert!(spool.wait_bad(&"n".repeat(129)).contains("129"));
    // The name is used again: the older run cannot be called NAME~1, and is kept all the same.
    spool.drop_file(&id, "echo second");
    spool.wait_for("the second run", || {
        spool.has(&format!("complete/{id}"))
            && spool.record(&format!("complete/{id}"))["output"] == "second\n"
    });
    let kept = |name: &String| name.starts_with("nnn") && !name.ends_with(".reason");
    assert_eq!(spool.ls("bad").iter().filter(|n| kept(n)).count(), 2);
}

#[test]
fn ordinary_names_that_look_odd() {
    let spool = Spool::serving(&[]);
    for name in [
        "with space",
        "naïve ☕",
        "a'b\"c",
        "$(reboot)",
        "semi;colon",
        "x.json",
        "b.sh",
        "*",
        "~tilde",
        "%41",
        "a=b",
    ] {
        spool.drop_file(name, "printf %s \"$PIRN_ID\"");
        assert_eq!(
            spool.wait_record(&format!("complete/{name}"))["output"],
            name,
            "{name}"
        );
    }
    assert_eq!(spool.ls("bad"), [""; 0]);
}

#[test]
fn bad_things_of_the_same_name_are_all_kept() {
    let spool = Spool::serving(&[]);
    for n in 0..3 {
        spool.drop_file("x", format!("{{ broken {n}"));
        spool.wait_gone("pending/x");
    }
    spool.wait_for("three with reasons", || spool.ls("bad").len() == 6);
    let all: String = spool
        .ls("bad")
        .iter()
        .map(|name| spool.read(&format!("bad/{name}")))
        .collect();
    assert!((0..3).all(|n| all.contains(&format!("broken {n}"))));
}

#[test]
fn a_file_of_somebody_else_is_no_job() {
    let spool = Spool::serving(&[]);
    let staged = spool.beside("staged");
    fs::write(&staged, "echo foreign").unwrap();
    if std::os::unix::fs::chown(&staged, Some(65534), None).is_err() {
        eprintln!("skipped: giving files away needs privileges");
        return;
    }
    fs::rename(&staged, spool.path().join("pending/foreign")).unwrap();
    assert!(spool.wait_bad("foreign").contains("65534"));
    assert!(!spool.has("log/foreign"));
}
