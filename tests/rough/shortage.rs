//! No room, no inodes, no descriptors, no processes: new jobs are refused with a clear error and leave nothing behind,
//! running jobs are recorded, and everything goes on by itself once there is room again.

mod machine;

use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A small file system for the spool alone.
struct Disk {
    at: PathBuf,
}

/// The file systems that run out of something.
const DISKS: [&str; 3] = ["tmpfs", "tmpfs with few inodes", "ext4"];

impl Disk {
    /// Mounts it for the spool; says so if that is not possible.
    fn mount(spool: &Spool, kind: &str) -> Option<Self> {
        let at = spool.path();
        fs::create_dir(&at).unwrap();
        let dir = at.display();
        let image = spool.beside("image").display().to_string();
        let line = match kind {
            "ext4" => format!(
                "truncate -s 16M {image} && mkfs.ext4 -q -m 0 {image} && mount -o loop {image} {dir}"
            ),
            "tmpfs" => format!("mount -t tmpfs -o mode=755,size=6M,nr_inodes=400 none {dir}"),
            _ => format!("mount -t tmpfs -o mode=755,size=32M,nr_inodes=120 none {dir}"),
        };
        let made = Command::new("sh").args(["-c", &line]).output().unwrap();
        if made.status.success() {
            return Some(Self { at });
        }
        let why = String::from_utf8_lossy(&made.stderr).into_owned();
        eprintln!("skipped: no {kind} to be had: {why}");
        None
    }

    /// Uses up all blocks or inodes, to the last; the ballast is in `store/`.
    fn fill(&self, kind: &str) {
        let store = self.at.join("store");
        for n in 0.. {
            let path = store.join(format!("fill-{n}"));
            let done = if kind.contains("inodes") {
                fs::File::create(&path).map(drop)
            } else {
                fill_one(&path)
            };
            match done {
                Ok(()) if n < 3 || kind.contains("inodes") => {}
                Ok(()) => break,
                Err(e) if e.raw_os_error() == Some(28) => break,
                Err(e) => panic!("{path:?}: {e}"),
            }
        }
    }

    /// Makes room again.
    fn empty(&self) {
        for entry in fs::read_dir(self.at.join("store")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

/// Writes until there is no room for a further byte.
fn fill_one(path: &Path) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = fs::File::create(path)?;
    for size in [65536, 4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
    Ok(())
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// A spool on such a file system, with this bound on its free bytes; `None` if that is not possible.
fn small_disk(kind: &str, min_free: u64) -> Option<(Spool, Disk)> {
    let spool = Spool::new();
    let disk = Disk::mount(&spool, kind)?;
    fs::create_dir_all(spool.path().join("store")).unwrap();
    set_min_free(&spool, min_free);
    Some((spool, disk))
}

/// Drops a file from within the spool's file system.
pub fn drop_inside(spool: &Spool, name: &str, content: &str) {
    let staged = spool.path().join("pending/.staged");
    fs::write(&staged, content).unwrap();
    fs::rename(staged, spool.path().join("pending").join(name)).unwrap();
}

fn set_min_free(spool: &Spool, bytes: u64) {
    fs::write(
        spool.path().join("config.json"),
        format!("{{\"min_free\": {bytes}}}"),
    )
    .unwrap();
}

#[test]
fn a_full_disk_accepts_nothing_and_keeps_nothing() {
    for kind in DISKS {
        let spool = Spool::new();
        let Some(disk) = Disk::mount(&spool, kind) else {
            continue;
        };
        // Too small for the default: the rule refuses it.
        let done = spool.pirn(&["add", "true"]);
        if !kind.contains("inodes") {
            assert_eq!(done.code, 75, "{kind}: {}", done.stderr);
            assert!(done.stderr.contains("min_free"), "{kind}: {}", done.stderr);
        }
        // Without the rule, the system refuses it when there is really no room.
        set_min_free(&spool, 0);
        let first = spool.add(&["echo first"]);
        disk.fill(kind);
        for args in [
            &["add", "true"][..],
            &["add", "--id", "x", "true"],
            &["add", "-q", "mail", "true"],
        ] {
            let done = spool.pirn(args);
            assert_eq!(done.code, 75, "{kind} {args:?}: {}", done.stderr);
            assert!(done.stdout.is_empty());
            assert!(
                done.stderr.contains("No space") || done.stderr.contains("inodes are free"),
                "{kind}: {}",
                done.stderr
            );
        }
        let mut left = spool.ls("pending");
        // The directory of an empty queue is no leftover.
        left.retain(|name| name != "mail" || !spool.ls("pending/mail").is_empty());
        assert_eq!(left, [first.as_str()], "{kind}");
        assert_eq!(fs::read_dir(spool.path().join("tmp")).unwrap().count(), 0);
        disk.empty();
        let next = spool.add(&["echo next"]);
        assert_ne!(first, next);
    }
}

#[test]
fn what_runs_on_a_full_disk_is_recorded() {
    for kind in DISKS {
        let Some((mut spool, disk)) = small_disk(kind, 2 << 20) else {
            continue;
        };
        spool.serve(&["--slots", "3"]);
        let mut gate = Gate::new(&spool, "gate");
        let ids = ["a", "b", "c"];
        for id in ids {
            drop_inside(&spool, id, &format!("echo {id}; {}; exit 100", gate.wait()));
            spool.wait_note(id);
            spool.wait_log(id, id);
        }
        drop_inside(&spool, "later", "echo later");
        disk.fill(kind);
        // The daemon looks at most once a second.
        std::thread::sleep(Duration::from_millis(1200));
        gate.open(3);
        for id in ids {
            let record = spool.wait_record(&format!("failed/{id}"));
            assert_eq!(record["exit_code"], 100, "{kind} {record}");
            assert_eq!(record["output"], format!("{id}\n"), "{kind}");
        }
        assert!(
            spool.has("pending/later") && !spool.has("log/later"),
            "{kind}\n{}",
            spool.daemon_log()
        );
        spool.wait_daemon_log("nothing is started");
        assert_eq!(spool.pirn(&["add", "true"]).code, 75, "{kind}");
        disk.empty();
        assert_eq!(spool.wait_record("complete/later")["output"], "later\n");
        spool.add(&["true"]);
    }
}

#[test]
fn without_its_reserve_an_end_waits_for_room() {
    // The control of the test above.
    let Some((mut spool, disk)) = small_disk("tmpfs", 0) else {
        return;
    };
    spool.serve(&[]);
    let mut gate = Gate::new(&spool, "gate");
    drop_inside(&spool, "a", &format!("{}; exit 100", gate.wait()));
    spool.wait_note("a");
    crate::tools::sh(&format!("rm {}/tmp/.reserve.*", spool.path().display()));
    disk.fill("tmpfs");
    gate.open(1);
    spool.wait_daemon_log("recording its end failed");
    assert!(!spool.has("failed/a"));
    disk.empty();
    assert_eq!(spool.wait_record("failed/a")["exit_code"], 100);
}

/// The command that follows an end is accepted before the end is shown: with the reserve, or once there is room.
#[test]
fn what_follows_an_end_on_a_full_disk_is_done_once() {
    for kind in DISKS {
        for reserve in [true, false] {
            let Some((mut spool, disk)) = small_disk(kind, 0) else {
                continue;
            };
            spool.serve(&[]);
            let mut gate = Gate::new(&spool, "gate");
            let note = spool.beside("followed");
            let job = json!({
                "command": format!("{}; exit 100", gate.wait()),
                "on_finish": format!("echo $PIRN_PARENT_ID $PIRN_PARENT_EXIT_CODE >> {}", note.display()),
            });
            drop_inside(&spool, "a", &job.to_string());
            spool.wait_note("a");
            if !reserve {
                crate::tools::sh(&format!("rm {}/tmp/.reserve.*", spool.path().display()));
            }
            disk.fill(kind);
            // The daemon looks at most once a second.
            std::thread::sleep(Duration::from_millis(1200));
            gate.open(1);
            if reserve {
                spool.wait_record("failed/a");
            } else {
                spool.wait_daemon_log("recording its end failed");
                assert!(!spool.has("failed/a"), "{kind}");
            }
            disk.empty();
            assert_eq!(spool.wait_record("failed/a")["exit_code"], 100, "{kind}");
            let followers = || {
                let ended = spool.ls("complete").into_iter();
                ended.filter(|id| id.starts_with("finish-a-")).count()
            };
            spool.wait_for("the command", || followers() > 0);
            assert_eq!(fs::read_to_string(&note).unwrap(), "a 100\n", "{kind}");
            assert_eq!((followers(), spool.ls("active").len()), (1, 0), "{kind}");
        }
    }
}

#[test]
fn the_reserve_is_taken_when_there_is_room_again() {
    let Some((mut spool, disk)) = small_disk("tmpfs", 0) else {
        return;
    };
    // Room for jobs, but not for the reserve.
    let ballast = |mib: u64| {
        let file = fs::File::create(spool.path().join("store/ballast")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![1; (mib as usize) << 20], 0).unwrap();
    };
    ballast(5);
    let half = vec![1; 600 << 10];
    fs::write(spool.path().join("store/half"), half).unwrap();
    let serve = spool.command(["serve"]);
    spool.serve_with(serve);
    drop_inside(&spool, "first", "true");
    // It may start with the reserve or without.
    std::thread::sleep(Duration::from_millis(500));
    disk.empty();
    spool.wait_record("complete/first");
    let kept =
        || fs::metadata(spool.path().join("tmp/.reserve.0")).map_or(0, |meta| meta.blocks() * 512);
    let end = Instant::now() + Duration::from_secs(15);
    for n in 0.. {
        if kept() >= 1 << 20 {
            return;
        }
        assert!(Instant::now() < end, "kept aside: {}", kept());
        std::thread::sleep(Duration::from_millis(600));
        drop_inside(&spool, &format!("more-{n}"), "true");
    }
}

#[test]
fn a_job_that_fills_the_disk_itself() {
    for kind in ["tmpfs", "ext4"] {
        let Some((mut spool, disk)) = small_disk(kind, 0) else {
            continue;
        };
        spool.serve(&["--slots", "1"]);
        let fill = "dd if=/dev/zero of=$PIRN_STORE/fill bs=4K 2>/dev/null; exit 3";
        let record = json!({"command": fill, "tries": 1}).to_string();
        drop_inside(&spool, "store", &record);
        assert_eq!(spool.wait_record("failed/store")["exit_code"], 3, "{kind}");
        disk.empty();
        // The daemon looks at most once a second whether there is room for its reserve again.
        std::thread::sleep(Duration::from_millis(1200));
        // A job fills the disk with its log. It has a second try, for which there is no room at first.
        let line = "[ $PIRN_ATTEMPT = 1 ] || exit 0; yes; exit 4";
        let record = json!({"command": line, "tries": 2, "backoff": {"first": "10ms"}});
        drop_inside(&spool, "log", &record.to_string());
        spool.wait_for("a first try of log", || {
            spool.daemon_log().contains("log: try 1 of 2")
        });
        std::thread::sleep(Duration::from_secs(2));
        fs::File::options()
            .write(true)
            .open(spool.path().join("log/log"))
            .unwrap()
            .set_len(0)
            .unwrap();
        let (state, record) = spool.wait_end("log");
        assert_eq!(
            (state.as_str(), &record["attempt"]),
            ("complete", &json!(2))
        );
        assert_eq!(record["attempts"][0]["exit_code"], 4, "{kind} {record}");
    }
}

/// However many ends cannot be written, retention still runs, and makes the room for them.
#[test]
fn retention_makes_room_for_the_ends_of_many_jobs() {
    const JOBS: usize = 64;
    let mut spool = Spool::new();
    let Some(disk) = Disk::mount(&spool, "tmpfs") else {
        return;
    };
    fs::create_dir_all(spool.path().join("store")).unwrap();
    // On another disk, so that it can be changed when this one is full.
    let config = spool.beside("config.json");
    fs::write(&config, r#"{"min_free": 0}"#).unwrap();
    let path = config.to_str().unwrap().to_owned();
    spool.serve(&["--config", &path, "--slots", "64"]);
    for n in 0..4 {
        drop_inside(&spool, &format!("old-{n}"), "head -c 300000 /dev/zero");
    }
    for n in 0..4 {
        spool.wait_record(&format!("complete/old-{n}"));
    }
    let mut gate = Gate::new(&spool, "gate");
    let ids: Vec<String> = (0..JOBS).map(|n| format!("job-{n}")).collect();
    for id in &ids {
        drop_inside(&spool, id, &format!("{}; exit 100", gate.wait()));
    }
    for id in &ids {
        spool.wait_note(id);
    }
    crate::tools::sh(&format!("rm {}/tmp/.reserve.*", spool.path().display()));
    disk.fill("tmpfs");
    gate.open(JOBS);
    spool.wait_for("every end to be unwritable", || {
        let log = spool.daemon_log();
        let fails = |id: &String| log.contains(&format!("{id}: recording its end failed"));
        ids.iter().all(fails)
    });
    assert_eq!(spool.ls("failed").len(), 0);
    fs::write(&config, r#"{"min_free": 0, "keep_count": 1}"#).unwrap();
    spool.signal("HUP");
    spool.wait_for("retention to make room", || {
        spool.daemon_log().contains("retention: forgot")
    });
    spool.wait_for("every end to be recorded", || {
        let log = spool.daemon_log();
        let is_written = |id: &String| log.contains(&format!("{id}: failed after"));
        spool.ls("active").is_empty() && ids.iter().all(is_written)
    });
    drop_inside(&spool, "next", "true");
    spool.wait_record("complete/next");
}

/// Nothing wakes an idle daemon when the disk fills: it looks when a job is dropped.
#[test]
fn a_job_dropped_on_a_disk_that_has_filled_meanwhile_waits() {
    let Some((mut spool, disk)) = small_disk("tmpfs", 2 << 20) else {
        return;
    };
    spool.serve(&[]);
    drop_inside(&spool, "first", "true");
    spool.wait_record("complete/first");
    fs::write(spool.path().join("store/ballast"), vec![1; 7 << 19]).unwrap();
    // The daemon looks at most once a second.
    std::thread::sleep(Duration::from_millis(1500));
    drop_inside(&spool, "later", "true");
    spool.wait_daemon_log("nothing is started");
    assert!(spool.has("pending/later") && !spool.has("log/later"));
    disk.empty();
    spool.wait_record("complete/later");
}

/// An upgrade needs the note of every running job. Where none can be written it asks again, every few seconds.
#[test]
fn an_upgrade_on_a_full_disk_waits_patiently() {
    let Some((mut spool, disk)) = small_disk("tmpfs", 0) else {
        return;
    };
    spool.serve(&[]);
    // The job fills the disk before its note is due.
    let fill =
        "rm $PIRN_SPOOL/tmp/.reserve.*; dd if=/dev/zero of=$PIRN_STORE/fill bs=4K 2>/dev/null";
    drop_inside(&spool, "a", &format!("{fill}; exec sleep 1000"));
    spool.wait_daemon_log("its note could not be written");
    spool.signal("USR2");
    spool.wait_daemon_log("once what is being started or recorded is");
    std::thread::sleep(Duration::from_secs(3));
    let failed = spool.daemon_log().matches("could not be written").count();
    assert!(failed < 10, "{failed} times");
    disk.empty();
    spool.wait_daemon_log("upgrade: becoming");
    spool.wait_note("a");
}
