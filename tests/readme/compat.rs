//! The front ends in `contrib/compat`: the same calls, in the same order, with them and with the tools that they stand
//! for, as far as these are installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tools::install;

/// A call, and its exit code and standard output.
type Call = (&'static str, Code, &'static str);

#[derive(Clone, Copy, Debug)]
enum Code {
    Is(i32),
    /// Not zero: with the tools it is 255 in most cases.
    Fails,
}
use Code::{Fails, Is};

/// Calls that task-spooler answers in the same way. Its ids begin with 0, so it has had a job before.
const TS: &[Call] = &[
    ("ts echo hello", Is(0), "1\n"),
    ("ts -w", Is(0), ""),
    ("ts -w 1", Is(0), ""),
    ("ts sh -c 'echo out; exit 3'", Is(0), "2\n"),
    ("ts -w", Is(3), ""),
    ("ts -s", Is(0), "finished\n"),
    ("ts -c", Is(3), "out\n"),
    ("ts -c 1", Is(0), "hello\n"),
    ("ts -t 2", Is(3), "out\n"),
    ("cat \"$(ts -o 1)\"", Is(0), "hello\n"),
    ("ts -i 1 | grep -q 'echo.*hello'", Is(0), ""),
    ("ts -L label sleep 600", Is(0), "3\n"),
    (
        "until [ \"$(ts -s)\" = running ]; do sleep 0.05; done",
        Is(0),
        "",
    ),
    ("ts | grep -c 'label.*sleep 600'", Is(0), "1\n"),
    // At first, task-spooler does not know it and says 0.
    (
        "until [ \"$(ts -p)\" -gt 0 ]; do sleep 0.05; done",
        Is(0),
        "",
    ),
    ("ts echo four", Is(0), "4\n"),
    ("ts -s 4", Is(0), "queued\n"),
    ("ts echo five", Is(0), "5\n"),
    ("ts -u", Is(0), ""),
    ("ts -r 4", Is(0), ""),
    ("ts -k", Is(0), ""),
    ("ts -w 3", Fails, ""),
    ("ts -w 5", Is(0), ""),
    ("ts -c", Is(0), "five\n"),
    ("ts -d echo six", Is(0), "6\n"),
    ("ts -w", Is(0), ""),
    ("ts sh -c 'exit 5'", Is(0), "7\n"),
    ("ts -d echo never", Is(0), "8\n"),
    ("ts -w", Fails, ""),
    ("ts -s", Is(0), "skipped\n"),
    ("ts -D 6 echo nine", Is(0), "9\n"),
    ("ts -w", Is(0), ""),
    ("ts -D 7 echo ten", Is(0), "10\n"),
    ("ts -w", Fails, ""),
    ("ts -S", Is(0), "1\n"),
    ("ts -S 0", Fails, ""),
    ("ts -S 2", Is(0), ""),
    ("ts -S", Is(0), "2\n"),
    ("ts -N 2 echo eleven", Is(0), "11\n"),
    ("ts -w", Is(0), ""),
    ("ts -f sh -c 'exit 4'", Is(4), "12\n"),
    ("ts -nf sh -c 'echo shown; exit 5'", Is(5), "shown\n"),
    ("ts -n echo dropped", Is(0), ""),
    ("ts -B echo fifteen", Is(0), "15\n"),
    ("ts -w", Is(0), ""),
    ("ts -C", Is(0), ""),
    ("ts -s 15", Fails, ""),
    ("ts -r 99", Fails, ""),
    ("ts -w 99", Fails, ""),
    ("ts -c 99", Fails, ""),
    ("ts -K", Is(0), ""),
];

/// Calls that only the front end answers like this.
const OUR_TS: &[Call] = &[
    ("ts", Is(0), ""),
    ("ts -w", Is(1), ""),
    ("ts -c", Is(1), ""),
    (
        "ts -Z 2>&1",
        Is(2),
        "ts: there is no option -Z; ts -h lists them\n",
    ),
    (
        "ts -U 1-2 2>&1",
        Is(2),
        "ts: -U: pirn does not swap jobs; ts -u ID puts one first\n",
    ),
    ("ts -N 2>&1", Is(2), "ts: -N needs a value\n"),
    (
        "ts -V",
        Is(0),
        concat!("pirn ", env!("CARGO_PKG_VERSION"), "\n"),
    ),
    ("TS_ONFINISH='echo ended' ts sh -c 'exit 3'", Is(0), "1\n"),
    (
        "until grep -hs ended ours.pirn/log/finish-1-*; do sleep 0.05; done | cut -d ' ' -f 1-3",
        Is(0),
        "ended 1 3\n",
    ),
    // Debian's task-spooler loses such a job.
    ("ts -E sh -c 'echo out; echo err >&2'", Is(0), "2\n"),
    ("ts -w 2", Is(0), ""),
    ("cat \"$(ts -o 2)\"* | sort", Is(0), "err\nout\n"),
];

const NQ: &[Call] = &[
    ("nq 2>&1 | head -c 6", Is(0), "usage:"),
    ("nq -t", Is(0), ""),
    ("nq -w", Is(0), ""),
    ("nq echo hello > first", Is(0), ""),
    ("nq sh -c 'exit 3'", Is(0), "ID\n"),
    ("nq -w", Is(0), ""),
    ("nq -t", Is(0), ""),
    ("nq -q true", Is(0), ""),
    (
        "nq sh -c 'until [ -e go ]; do sleep 0.05; done; echo went' > second",
        Is(0),
        "",
    ),
    ("nq -t", Is(1), ""),
    ("nq -t \"$(cat second)\"", Is(1), ""),
    ("nq -t \"$(cat first)\"", Is(0), ""),
    ("touch go; nq -w \"$(cat second)\"", Is(0), ""),
    ("nq -t \"$(cat second)\"", Is(0), ""),
    // A job that is not known is over.
    ("nq -t 999", Is(0), ""),
    ("nq -w 999", Is(0), ""),
    ("fq \"$(cat first)\" | grep -x hello", Is(0), "hello\n"),
    ("fq -a | grep -xE 'hello|went'", Is(0), "hello\nwent\n"),
    ("nq -c echo cleaned > third; nq -w", Is(0), ""),
    (
        "until ! fq -a | grep -qx cleaned; do sleep 0.05; done",
        Is(0),
        "",
    ),
    ("nq -z", Fails, ""),
];

/// The fq of nq at times ends before the job that it follows, or never, when the job ends as it looks for it.
const OUR_NQ: &[Call] = &[
    (
        "nq sh -c 'until [ -e on ]; do sleep 0.05; done; echo followed' > fourth; fq > seen & \
         until grep -qs '==>' seen; do sleep 0.05; done; touch on; wait; grep -x followed seen",
        Is(0),
        "followed\n",
    ),
    (
        "nq sh -c 'until [ -e off ]; do sleep 0.05; done' > fifth; fq -q > list & \
         until grep -qs 'e off' list; do sleep 0.05; done; touch off; wait",
        Is(0),
        "",
    ),
    (
        "nq -z 2>&1",
        Is(2),
        "nq: there is no option -z; nq -h lists them\n",
    ),
    ("nq -h | head -c 6", Is(0), "usage:"),
];

/// A directory with programs under the names that the calls use, and for the queues.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(programs: &[(&str, PathBuf)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        for (name, program) in programs {
            symlink(program, dir.path().join("bin").join(name)).unwrap();
        }
        Self { dir }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env("PATH", format!("{}/bin:{path}", self.dir.path().display()))
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.dir.path())
            .env_remove("PIRN_SPOOL")
            .env("TS_SOCKET", self.dir.path().join("ours"))
            .env_remove("NQDIR")
            .stdin(Stdio::null());
        command
    }

    fn answers(&self, calls: &[Call]) {
        for (line, code, expected) in calls {
            let mut shell = self.command("timeout");
            let output = shell.args(["60", "sh", "-c", line]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let got = output.status.code().unwrap();
            let right = match code {
                Is(code) => got == *code,
                Fails => got != 0 && got != 124,
            };
            assert!(right, "{line}: expected {code:?}, got {got}: {output:?}");
            match *expected {
                "ID\n" => assert_eq!(said.lines().count(), 1, "{line}"),
                expected => assert_eq!(said, expected, "{line}"),
            }
        }
    }
}

/// Ends the daemons of the queues.
impl Drop for Place {
    fn drop(&mut self) {
        for end in [
            "pirn -S ours.pirn stop --now",
            "pirn -S .nq stop --now",
            "ts -K",
        ] {
            let _ = self.command("sh").args(["-c", end]).output();
        }
    }
}

/// The front end under these names, and pirn.
fn ours(script: &str, names: &[&'static str]) -> Place {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib/compat")
        .join(script);
    let mut programs = vec![("pirn", PathBuf::from(env!("CARGO_BIN_EXE_pirn")))];
    programs.extend(names.iter().map(|name| (*name, script.clone())));
    Place::new(&programs)
}

#[test]
fn ts_answers_as_task_spooler_does() {
    ours("ts", &["ts"]).answers(TS);

    if !install(&["tsp"], &["task-spooler"]) {
        eprintln!("skipped: task-spooler is not installed: its answers");
        return;
    }
    let place = Place::new(&[("ts", PathBuf::from("/usr/bin/tsp"))]);
    place.answers(&[("ts true", Is(0), "0\n"), ("ts -w", Is(0), "")]);
    place.answers(TS);
}

#[test]
fn ts_says_what_it_cannot_do() {
    ours("ts", &["ts"]).answers(OUR_TS);
}

#[test]
fn nq_answers_as_nq_does() {
    let place = ours("nq", &["nq", "fq"]);
    place.answers(NQ);
    place.answers(OUR_NQ);

    if !install(&["nq", "fq"], &["nq"]) {
        eprintln!("skipped: nq is not installed: its answers");
        return;
    }
    let place = Place::new(&[]);
    place.answers(NQ);
}

#[test]
fn the_front_ends_are_plain_shell() {
    for name in ["ts", "nq"] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("contrib/compat")
            .join(name);
        match Command::new("shellcheck").arg(&script).output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(_) => eprintln!("skipped: shellcheck is not installed"),
        }
    }
}
