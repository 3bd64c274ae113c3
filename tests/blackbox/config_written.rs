//! A `config.json` that is written in place, as `>` does it: half of it is not a mistake of the user.

use crate::spool::{Spool, wait_for};
use crate::tools::ok;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::process::Stdio;

const HALF: &str = "{\"slots\": 3,\n\"queues\": {\"mail\":";
const REST: &str = " {\"slots\": 1}}}\n";

/// Begins to write the settings anew.
fn begin(spool: &Spool) -> File {
    let mut file = File::create(spool.path().join("config.json")).unwrap();
    file.write_all(HALF.as_bytes()).unwrap();
    file
}

#[test]
fn the_daemon_waits_for_the_writer_and_says_nothing() {
    let spool = Spool::serving(&[]);
    // The daemon takes its lock before it reads the settings.
    spool.settle();
    for n in 0..20 {
        let mut file = begin(&spool);
        // It has noticed the change before it judges the next job.
        spool.settle();
        file.write_all(REST.as_bytes()).unwrap();
        drop(file);
        let count = |words| spool.daemon_log().matches(words).count();
        spool.wait_for("the settings to be read", || count("config: read") > 2 * n);
        assert_eq!(count("not used"), 0, "{}", spool.daemon_log());
        assert!(spool.pirn(&["status"]).stdout.contains("queue     mail"));
        spool.rm("config.json");
        spool.wait_for("the settings to be gone", || {
            count("config: read") > 2 * n + 1
        });
    }
}

#[test]
fn what_is_complete_and_broken_is_refused_at_once() {
    let spool = Spool::serving(&[]);
    spool.settle();
    for _ in 0..20 {
        let count = || spool.daemon_log().matches("not used").count();
        let before = count();
        drop(begin(&spool));
        spool.wait_for("the refusal", || count() > before);
        let said = spool.daemon_log();
        assert!(said.contains("config.json: line 2"), "{said}");
        let done = spool.pirn(&["status"]);
        assert!(done.stdout.contains("trouble   config.json is not used"));
        spool.rm("config.json");
        spool.settle();
    }
}

#[test]
fn a_daemon_that_starts_waits_for_the_writer() {
    let mut spool = Spool::made();
    let mut file = begin(&spool);
    let command = spool.command(["serve"]);
    std::thread::scope(|scope| {
        let path = spool.path();
        scope.spawn(move || {
            // The daemon has its lock, so that it now reads the settings.
            wait_for("the lock", || path.join("lock").exists());
            file.write_all(REST.as_bytes()).unwrap();
        });
        spool.serve_with(command);
    });
    spool.drop_file("a", "true");
    spool.wait_record("complete/a");
    assert!(!spool.daemon_log().contains("not used"));
}

#[test]
fn commands_wait_for_the_writer() {
    let spool = Spool::made();
    for args in [
        &["status"][..],
        &["config", "check"],
        &["add", "true"],
        &["pause", "mail"],
        &["ls", "-q", "mail"],
        &["token", "new", "ci", "read"],
    ] {
        let mut file = begin(&spool);
        let child = spool
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Time enough to read the unfinished settings. If the daemon starts to read later, it has nothing to wait for.
        std::thread::sleep(std::time::Duration::from_millis(100));
        file.write_all(REST.as_bytes()).unwrap();
        drop(file);
        let out = child.wait_with_output().unwrap();
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(out.status.success(), "{args:?}: {}: {said}", out.status);
        assert!(!said.contains("config.json: line"), "{args:?}: {said}");
        assert!(!said.contains("trouble"), "{args:?}: {said}");
    }
    ok(&spool, &["ls", "-q", "mail"]);
}

/// A reader asks the kernel for a lease, and the kernel sends it a signal when somebody opens the file for writing.
#[test]
fn a_command_that_reads_is_not_ended_by_who_writes() {
    let spool = Spool::made();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    // From the first look on, the settings are unfinished.
    drop(begin(&spool));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                drop(begin(&spool));
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        let codes = [(); 200].map(|()| spool.pirn(&["config", "check"]).code);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(codes, [78; 200]);
    });
}

/// Settings may be elsewhere, and be readable by others.
#[test]
fn config_set_keeps_a_link_and_the_mode_and_owner() {
    let spool = Spool::made();
    let (link, real) = (spool.path().join("config.json"), spool.beside("real.json"));
    fs::write(&real, "{\"slots\": 2}").unwrap();
    fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        chown(&real, Some(1234), Some(1235)).unwrap();
    }
    symlink(&real, &link).unwrap();
    ok(&spool, &["config", "set", "slots", "3"]);
    assert!(link.is_symlink());
    assert_eq!(spool.record("config.json")["slots"], 3);
    let look = fs::metadata(&real).unwrap();
    assert_eq!(look.mode() & 0o7777, 0o640);
    if is_root {
        assert_eq!((look.uid(), look.gid()), (1234, 1235));
    }
    // A link without a target is not replaced either.
    fs::remove_file(&real).unwrap();
    let done = spool.pirn(&["config", "set", "slots", "4"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("config.json: "), "{}", done.stderr);
    assert!(link.is_symlink() && !real.exists());
}

/// A user could have root replace any file.
#[test]
fn config_set_follows_no_link_of_another_user() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let spool = Spool::made();
    let victim = spool.beside("victim.json");
    fs::write(&victim, "{}").unwrap();
    let link = spool.path().join("config.json");
    symlink(&victim, &link).unwrap();
    lchown(&link, Some(1234), Some(1235)).unwrap();
    let done = spool.pirn(&["config", "set", "slots", "3"]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    let why = "a link of another user";
    assert!(done.stderr.contains(why), "{}", done.stderr);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "{}");
}

/// Anybody who can read the directory can keep it locked.
#[test]
fn config_set_does_not_wait_for_a_lock_without_end() {
    let spool = Spool::made();
    let locked = fs::File::open(spool.path()).unwrap();
    locked.lock_shared().unwrap();
    let done = spool.pirn(&["config", "set", "slots", "3"]);
    assert_eq!(done.code, 75, "{}", done.stderr);
    let why = "keeps the directory of the spool locked";
    assert!(done.stderr.contains(why), "{}", done.stderr);
    drop(locked);
    ok(&spool, &["config", "set", "slots", "3"]);
}

/// The owner of the spool can read the settings, whoever wrote them.
#[test]
fn new_settings_are_the_spools_owners() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let spool = Spool::made();
    chown(spool.path(), Some(1234), Some(1235)).unwrap();
    ok(&spool, &["config", "set", "slots", "3"]);
    let look = fs::metadata(spool.path().join("config.json")).unwrap();
    let is = (look.uid(), look.gid(), look.mode() & 0o7777);
    assert_eq!(is, (1234, 1235, 0o600));
    let hidden = fs::read_dir(spool.path()).unwrap();
    let hidden = hidden.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0);
}
