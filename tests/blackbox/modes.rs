//! A daemon does not serve a spool into which others can put files, since they would run as its user.

use crate::spool::Spool;
use crate::tools::sh;

/// A spool of mode 0755 with these changes, as arguments of chmod(1).
fn spool(changes: &[(&str, &str)]) -> Spool {
    let spool = Spool::made();
    spool.make_queue("mail");
    let path = spool.path().display().to_string();
    sh(&format!("chmod -R u=rwX,go=rX '{path}'"));
    for (mode, dir) in changes {
        sh(&format!("chmod {mode} '{path}/{dir}'"));
    }
    spool
}

fn serve(spool: &Spool, args: &[&str]) -> (i32, String) {
    spool.drop_file("a", "true");
    let done = spool.pirn(&[&["serve", "--drain"], args].concat());
    (done.code, done.stderr)
}

/// True if root's group has no other members here, which is the default.
fn has_private_group() -> bool {
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    groups
        .lines()
        .any(|line| line == "root:x:0:" || line == "root:x:0:root")
}

#[test]
fn what_others_can_write_to_is_refused() {
    for (mode, dir) in [
        ("o+w", "pending"),
        ("1777", "pending"),
        ("o+w", "pending/mail"),
        ("0757", "."),
        ("o+w", "active"),
        ("o+w", "failed"),
        ("o+w", "scripts"),
        ("o=wx", "tmp"),
        ("o=w", "held"),
        ("o+w", "log"),
        ("o+w", "bad"),
    ] {
        let spool = spool(&[(mode, dir)]);
        let (code, said) = serve(&spool, &[]);
        assert_eq!(code, 78, "{mode} {dir}: {said}");
        let path = spool.path().join(dir).display().to_string();
        assert!(
            said.contains(path.trim_end_matches("/.")) && said.contains("others can put files"),
            "{mode} {dir}: {said}"
        );
        assert!(said.contains("--lax-modes"), "{said}");
        assert_eq!(spool.ls("pending"), ["a", "mail"]);

        let (code, said) = serve(&spool, &["--lax-modes"]);
        assert_eq!(code, 0, "{mode} {dir}: {said}");
        spool.wait_record("complete/a");
    }
}

#[test]
fn what_others_cannot_reach_is_refused_too() {
    for dir in ["pending", "pending/mail"] {
        let spool = spool(&[("0700", "."), ("0777", dir)]);
        let (code, said) = serve(&spool, &[]);
        assert_eq!(code, 78, "{dir}: {said}");
        assert!(said.contains("chmod go-w"), "{said}");
    }
}

#[test]
fn the_store_is_the_jobs_own() {
    for changes in [&[][..], &[("0777", "store")]] {
        let spool = spool(changes);
        let (code, said) = serve(&spool, &[]);
        assert_eq!(code, 0, "{changes:?}: {said}");
        spool.wait_record("complete/a");
    }
}

#[test]
fn a_link_in_place_of_a_directory_is_refused() {
    for dir in ["pending", "active", "log"] {
        let spool = Spool::made();
        let (here, there) = (spool.path().join(dir), spool.beside("elsewhere"));
        std::fs::rename(&here, &there).unwrap();
        std::os::unix::fs::symlink(&there, &here).unwrap();
        for args in [&["serve", "--drain"][..], &["serve", "--lax-modes"]] {
            let done = spool.pirn(args);
            assert_eq!(done.code, 78, "{dir}: {}", done.stderr);
            let what = format!("{dir}/: it is no directory, and a link to one is not followed");
            assert!(done.stderr.contains(&what), "{}", done.stderr);
        }
    }
}

#[test]
fn a_group_is_others_unless_it_is_the_users_own() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let open = spool(&[("g+w", "pending")]);
    let path = open.path().display().to_string();
    if has_private_group() {
        let (code, said) = serve(&open, &[]);
        assert_eq!(code, 0, "{said}");
    }
    sh(&format!("chgrp -R 1 '{path}'"));
    let (code, said) = serve(&open, &[]);
    assert_eq!(code, 78, "{said}");
}

#[test]
fn another_owner_is_others() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let open = spool(&[]);
    let path = open.path().display().to_string();
    sh(&format!("chown 65534 '{path}/pending/mail'"));
    let (code, said) = serve(&open, &[]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("pending/mail: others"), "{said}");
    assert!(
        said.contains(&format!("; chown 0 {path}/pending/mail, or")),
        "{said}"
    );
    sh(&format!("chown 65534 '{path}'"));
    let (code, said) = serve(&open, &[]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains(&format!("; chown 0 {path}, or")), "{said}");
}

#[test]
fn a_spool_that_pirn_makes_is_served_under_any_umask() {
    let spool = Spool::new();
    let pirn = spool.command([""]).get_program().display().to_string();
    let line = format!(
        "umask 000; '{pirn}' -S '{0}' add -q mail true && '{pirn}' serve --drain '{0}'",
        spool.path().display()
    );
    let done = spool.finish(std::process::Command::new("bash").args(["-c", &line]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    spool.wait_record("complete/1");
}

#[test]
fn a_daemon_that_runs_is_not_ended_by_a_change_of_modes() {
    let mut daemon = spool(&[]);
    daemon.serve(&[]);
    sh(&format!("chmod 777 '{}/pending'", daemon.path().display()));
    let pid = daemon.daemon_pid();
    daemon.signal("USR2");
    daemon.wait_daemon_log("upgrade: becoming");
    daemon.drop_file("b", "true");
    daemon.wait_record("complete/b");
    assert!(pid.is_some());
    daemon.stop();
    let (code, _) = serve(&daemon, &[]);
    assert_eq!(code, 78);
}
