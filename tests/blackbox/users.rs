//! Spools that root makes for users: `pirn users`, `pirn --user`, and the spool by default.

use crate::spool::{Done, Spool};
use crate::tools::sh;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::Command;

/// Accounts that every system has.
const ALICE: &str = "daemon";
const BOB: &str = "games";

/// A directory for the spools of users.
struct Users {
    /// A spool for its helpers alone.
    spool: Spool,
}

impl Users {
    /// `None` without root and those accounts.
    fn new() -> Option<Self> {
        let is_there = |name: &&str| {
            let id = Command::new("id").args(["-u", name]).output();
            id.is_ok_and(|id| id.status.success())
        };
        if !nix::unistd::geteuid().is_root() || ![ALICE, BOB].iter().all(is_there) {
            eprintln!("skipped: needs root, and the users {ALICE} and {BOB}");
            return None;
        }
        let spool = Spool::new();
        fs::set_permissions(spool.beside("."), fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { spool })
    }

    fn dir(&self) -> PathBuf {
        self.spool.beside("users")
    }

    fn of(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// A pirn command of root's.
    fn pirn(&self, words: &[&str]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pirn"));
        command.args(words).env("PIRN_USER_SPOOLS", self.dir());
        self.spool.finish(&mut command)
    }

    fn ok(&self, words: &[&str]) -> String {
        let done = self.pirn(words);
        assert_eq!(done.code, 0, "{words:?}: {}", done.stderr);
        done.stdout
    }

    fn add(&self, name: &str) {
        let path = self.ok(&["users", "add", name]);
        assert_eq!(path, format!("{}\n", self.of(name).display()));
    }

    /// A command of a user.
    fn as_user(&self, name: &str, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", name, "--regid", name, "--init-groups", program])
            .env_remove("PIRN_SPOOL")
            .env("PIRN_USER_SPOOLS", self.dir())
            .env(
                "XDG_STATE_HOME",
                self.spool.beside(&format!("state-{name}")),
            )
            .current_dir("/");
        command
    }

    fn pirn_of(&self, name: &str, words: &[&str]) -> Done {
        let mut command = self.as_user(name, env!("CARGO_BIN_EXE_pirn"));
        self.spool.finish(command.args(words))
    }

    /// True if the user can do this in a shell.
    fn can(&self, name: &str, line: &str) -> bool {
        let mut command = self.as_user(name, "sh");
        self.spool.finish(command.args(["-c", line])).code == 0
    }
}

fn id_of(name: &str) -> u32 {
    let id = Command::new("id").args(["-u", name]).output().unwrap();
    String::from_utf8(id.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

fn mode_and_owner(path: &std::path::Path) -> (u32, u32) {
    let about = fs::symlink_metadata(path).unwrap();
    (about.mode() & 0o7777, about.uid())
}

#[test]
fn root_makes_lists_and_takes_away_spools() {
    let Some(users) = Users::new() else { return };
    assert_eq!(users.ok(&["users", "ls"]), "");
    users.add(ALICE);
    assert_eq!(mode_and_owner(&users.dir()), (0o711, 0));
    for made in [users.of(ALICE), users.of(ALICE).join("pending")] {
        assert_eq!(mode_and_owner(&made), (0o700, id_of(ALICE)));
    }
    users.add(ALICE);
    users.add(BOB);
    users.ok(&["--user", ALICE, "add", "true"]);
    users.ok(&["--user", ALICE, "add", "-q", "mail", "true"]);
    users.ok(&["--user", ALICE, "hold", "1"]);
    // Root reads no file of the user's.
    sh(&format!(
        "mkfifo '{}'",
        users.of(ALICE).join("pending/fifo").display()
    ));
    let listed = |first: &str, n: u32| {
        format!("{ALICE}  {first}  {n} waiting\n{BOB}   not served  0 waiting\n")
    };
    assert_eq!(users.ok(&["users", "ls"]), listed("not served", 3));
    fs::remove_file(users.of(ALICE).join("pending/fifo")).unwrap();

    let mut daemon = users.as_user(ALICE, env!("CARGO_BIN_EXE_pirn"));
    let mut daemon = users
        .spool
        .spawn_logged(daemon.args(["serve", "--slots", "0"]));
    users.spool.wait_for("the daemon to be listed", || {
        users.ok(&["users", "ls"]) == listed("served    ", 2)
    });
    let refused = users.pirn(&["users", "remove", ALICE]);
    assert_eq!(refused.code, 75, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("its daemon runs"),
        "{}",
        refused.stderr
    );
    sh(&format!("kill -TERM {}", daemon.id()));
    assert!(daemon.wait().unwrap().success());

    for kept in [".daemon.removed", ".daemon.removed~1"] {
        let path = users.ok(&["users", "remove", ALICE]);
        assert_eq!(path, format!("{}\n", users.of(kept).display()));
        assert_eq!(users.pirn(&["users", "remove", ALICE]).code, 66);
        users.add(ALICE);
    }
    assert!(users.of(".daemon.removed/held/1").exists());
    assert_eq!(users.pirn(&["users", "remove", ".daemon.removed"]).code, 66);
    assert_eq!(users.pirn(&["users", "remove", "../users"]).code, 66);
}

#[test]
fn who_can_have_no_spool() {
    let Some(users) = Users::new() else { return };
    for (name, code) in [("root", 1), ("nobody", 1), ("no-such-user", 66), ("", 66)] {
        for words in [&["users", "add", name][..], &["--user", name, "ls"]] {
            // Root is root already.
            if words == ["--user", "root", "ls"] {
                continue;
            }
            let done = users.pirn(words);
            assert_eq!(done.code, code, "{words:?}: {}", done.stderr);
        }
    }
    assert!(!users.dir().exists());
    for words in [
        &["users", "ls"][..],
        &["users", "add", ALICE],
        &["--user", BOB, "ls"],
    ] {
        let done = users.pirn_of(ALICE, words);
        assert_eq!(done.code, 1, "{words:?}: {}", done.stderr);
        assert!(done.stderr.contains("only root can"), "{}", done.stderr);
    }
}

#[test]
fn root_gives_away_nothing_but_a_directory_of_its_own() {
    let Some(users) = Users::new() else { return };
    users.add(BOB);
    let elsewhere = users.spool.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, users.of(ALICE)).unwrap();
    assert_eq!(users.pirn(&["users", "add", ALICE]).code, 1);
    assert_eq!(mode_and_owner(&elsewhere).1, 0);
    fs::remove_file(users.of(ALICE)).unwrap();
    fs::create_dir(users.of(ALICE)).unwrap();
    chown(users.of(ALICE), Some(id_of(BOB)), None).unwrap();
    let done = users.pirn(&["users", "add", ALICE]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("belongs to the user"),
        "{}",
        done.stderr
    );
    assert_eq!(mode_and_owner(&users.of(ALICE)).1, id_of(BOB));
    fs::set_permissions(users.dir(), fs::Permissions::from_mode(0o1777)).unwrap();
    let done = users.pirn(&["users", "add", ALICE]);
    assert_eq!(done.code, 1);
    assert!(
        done.stderr.contains("others can change it"),
        "{}",
        done.stderr
    );
}

#[test]
fn root_becomes_the_user_wholly() {
    let Some(users) = Users::new() else { return };
    users.add(ALICE);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pirn"));
    let line = "id -u; id -ru; id -G; umask; pwd; env";
    command
        .args(["--user", ALICE, "run", line])
        .env("PIRN_USER_SPOOLS", users.dir())
        .env("PIRN_SPOOL", "/nowhere")
        .env("SECRET", "of root")
        .env("LD_PRELOAD", "")
        .env("LC_TIME", "C")
        .env("HOME", "/root");
    let done = users.spool.finish(&mut command);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let uid = id_of(ALICE).to_string();
    let lines: Vec<&str> = done.stdout.lines().collect();
    let groups = Command::new("id").args(["-G", ALICE]).output().unwrap();
    assert_eq!(&lines[..2], [&uid, &uid]);
    assert_eq!(lines[2], String::from_utf8(groups.stdout).unwrap().trim());
    assert_eq!(lines[3], "0077");
    assert_eq!(lines[4], "/usr/sbin");
    for wanted in [
        "HOME=/usr/sbin",
        "USER=daemon",
        "LOGNAME=daemon",
        "LC_TIME=C",
    ] {
        assert!(lines.contains(&wanted), "{wanted}: {}", done.stdout);
    }
    for gone in ["SECRET", "LD_PRELOAD", "SUDO", "CARGO", "/nowhere", "/root"] {
        assert!(!done.stdout.contains(gone), "{gone}: {}", done.stdout);
    }
    assert!(users.of(ALICE).join("complete/1").exists());
    // The options behind it stay, and a user may name itself.
    let other = users.spool.beside("state-daemon");
    assert_eq!(
        users
            .pirn_of(ALICE, &["--user", ALICE, "ls", "--ids"])
            .stdout,
        "1\n"
    );
    let done = users.pirn(&["--user=daemon", "-S", other.to_str().unwrap(), "ls"]);
    assert_eq!(done.code, 66, "{}", done.stderr);
}

#[test]
fn the_spool_that_root_has_made_is_the_users_default() {
    let Some(users) = Users::new() else { return };
    let state = users.spool.beside("state-daemon");
    fs::create_dir(&state).unwrap();
    chown(&state, Some(id_of(ALICE)), None).unwrap();
    let add = |words: &[&str]| {
        let done = users.pirn_of(ALICE, &[&["add"], words].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.stderr
    };
    let old = state.join("pirn");
    assert!(!add(&["true"]).contains("your spool is now"));
    assert!(old.join("pending/1").exists());

    users.add(ALICE);
    let said = add(&["--id", "new", "true"]);
    let wanted = format!(
        "pirn: your spool is now {}; jobs that have not ended are left in {}: 1; pirn serve --drain {2} runs them\n",
        users.of(ALICE).display(),
        old.display(),
        old.display()
    );
    assert!(said.starts_with(&wanted), "{said}");
    assert!(users.of(ALICE).join("pending/new").exists());
    // Nothing is said to those who name a spool.
    for named in [
        &["-S", old.to_str().unwrap(), "ls"][..],
        &["serve", "--drain", old.to_str().unwrap()],
    ] {
        let done = users.pirn_of(ALICE, named);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(
            !done.stderr.contains("your spool is now"),
            "{}",
            done.stderr
        );
    }
    assert!(old.join("complete/1").exists());
    assert_eq!(add(&["--id", "newer", "true"]).lines().count(), 1);

    // The account counts, not the environment; and the spool must be the user's.
    let mut command = users.as_user(BOB, env!("CARGO_BIN_EXE_pirn"));
    let done = users.spool.finish(command.arg("ls").env("USER", ALICE));
    assert!(done.stderr.contains("state-games/pirn"), "{}", done.stderr);
    users.add(BOB);
    chown(users.of(BOB), Some(0), None).unwrap();
    let done = users.pirn_of(BOB, &["ls"]);
    assert!(done.stderr.contains("state-games/pirn"), "{}", done.stderr);
}

/// The ways in which a user can put a file that is another's, or in another's name, into a directory that both can
/// write to.
#[test]
fn a_user_cannot_act_in_the_name_of_another() {
    let Some(users) = Users::new() else { return };
    let shared = users.spool.beside("shared");
    let between = users.spool.beside("between");
    for (dir, mode) in [(&shared, 0o1733), (&between, 0o777)] {
        fs::create_dir(dir).unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
    }
    chown(&between, Some(id_of(BOB)), None).unwrap();
    users.add(ALICE);
    users.add(BOB);
    assert_eq!(
        users.pirn_of(ALICE, &["add", "--id", "own", "true"]).code,
        0
    );
    let alices = users.of(ALICE).join("pending");
    let (shared, between) = (shared.display(), between.display());
    let make = |file: &str, mode: &str| {
        let line = format!("echo true > {between}/{file}; chmod {mode} {between}/{file}");
        assert!(users.can(ALICE, &line));
    };
    let bob = |line: String| users.can(BOB, &line);
    for (to, works) in [
        (shared.to_string(), true),
        (alices.display().to_string(), false),
    ] {
        make("renamed", "600");
        assert_eq!(
            bob(format!("mv {between}/renamed {to}/renamed")),
            works,
            "{to}"
        );
        make("linked", "666");
        assert_eq!(
            bob(format!(
                "ln {between}/linked {to}/linked && rm -f {between}/linked"
            )),
            works,
            "{to}"
        );
        assert_eq!(bob(format!("mkdir {to}/squat")), works, "{to}");
        for name in ["renamed", "linked"].iter().filter(|_| works) {
            let about = fs::metadata(format!("{to}/{name}")).unwrap();
            assert_eq!((about.uid(), about.nlink()), (id_of(ALICE), 1), "{name}");
        }
    }
    let alices = users.of(ALICE);
    let alices = alices.display();
    for line in [
        format!("echo '{{\"pid\": 1}}' > {alices}/active/own"),
        format!("mv {alices}/pending/own {alices}/failed/"),
        format!("cat {alices}/pending/own"),
        format!("ls {alices}"),
        format!("ls {}", users.dir().display()),
        format!("mkdir {}/squat", users.dir().display()),
        format!("mv {alices} {between}/"),
    ] {
        assert!(!bob(line.clone()), "{line}");
    }
    assert!(users.of(ALICE).join("pending/own").exists());

    // Alice opens hers to bob, by mistake, and the daemon does not serve it.
    for change in [
        format!("chmod 777 {alices}/pending"),
        format!(
            "chmod 700 {alices}/pending; mv {alices}/pending {between}/p; ln -s {between}/p {alices}/pending"
        ),
    ] {
        assert!(users.can(ALICE, &change));
        let done = users.pirn_of(ALICE, &["serve", "--drain"]);
        assert_eq!(done.code, 78, "{change}: {}", done.stderr);
    }
}
