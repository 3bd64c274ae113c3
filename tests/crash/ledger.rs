//! The jobs' own account of their runs, kept outside of the spool: a line for each start and each end, and a lock for
//! each job that shows when it runs twice at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program of the jobs. Its children inherit file descriptor 9, so that this lock says "some process of this job
/// lives" independently of pirn's own.
const JOB: &str = r#"#!/bin/sh
L=${0%/*}
exec 9>>"$L/lock.$PIRN_ID"
flock -n 9 || echo "twice $PIRN_ID $PIRN_ATTEMPT $$" >>"$L/ledger"
echo "start $PIRN_ID $PIRN_ATTEMPT $$" >>"$L/ledger"
case $1 in
ok) ;;
fail) exit 1 ;;
second) [ "$PIRN_ATTEMPT" -ge 2 ] || exit 1 ;;
nap) sleep "$2" ;;
gate) until [ -e "$L/$2" ]; do sleep 0.02; done ;;
quiet) exec >/dev/null 2>&1; until [ -e "$L/$2" ]; do sleep 0.02; done ;;
behind) sh -c 'echo "child $PIRN_ID $$" >>"$0/ledger"; exec sleep 300' "$L" & sleep "$2" ;;
esac
echo "end $PIRN_ID $PIRN_ATTEMPT $$" >>"$L/ledger"
exit "${3:-0}"
"#;

/// A directory with the account in it.
#[derive(Debug, Clone)]
pub struct Ledger {
    dir: PathBuf,
}

/// A line of the account.
#[derive(Debug, Clone)]
pub struct Line {
    pub word: String,
    pub id: String,
    pub rest: Vec<i64>,
}

impl Ledger {
    /// An empty account.
    pub fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let job = dir.join("job");
        let text = dir.join("text");
        fs::write(&text, JOB).unwrap();
        // A process that another test starts may have what this one writes open until its exec: no program then.
        let mut install = Command::new("install");
        install.args(["-m", "755"]).args([&text, &job]);
        assert!(install.status().unwrap().success());
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The program for jobs.
    pub fn job(&self) -> String {
        self.dir.join("job").display().to_string()
    }

    /// Opens the gate at which jobs wait.
    pub fn open_gate(&self, name: &str) {
        fs::write(self.dir.join(name), "").unwrap();
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(self.dir.join("ledger")).unwrap_or_default();
        let line = |text: &str| {
            let mut words = text.split(' ').map(str::to_owned);
            Some(Line {
                word: words.next()?,
                id: words.next()?,
                rest: words.filter_map(|word| word.parse().ok()).collect(),
            })
        };
        text.lines().filter_map(line).collect()
    }

    /// The lines that begin with this word, counted by job.
    pub fn count(&self, word: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for line in self.lines().into_iter().filter(|line| line.word == word) {
            *counts.entry(line.id).or_insert(0) += 1;
        }
        counts
    }

    /// The number of starts of a job.
    pub fn starts(&self, id: &str) -> u64 {
        self.count("start").get(id).copied().unwrap_or(0)
    }

    /// The process in the last line with this word for this job.
    pub fn pid(&self, word: &str, id: &str) -> Option<i64> {
        let lines = self.lines();
        let line = lines
            .iter()
            .rfind(|line| line.word == word && line.id == id)?;
        line.rest.last().copied()
    }
}
