//! The place that jobs are started from: who we are, where the spool is, what they inherit.

use super::Options;
use crate::core::id::JobId;
use crate::os::cgroup::{Cgroup, Delegated};
use crate::os::user::{self, Account};
use crate::os::{procfs, spawn};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

/// Facts about this process that every job's start needs.
#[derive(Debug)]
pub struct Home {
    /// The user that jobs run as.
    pub account: Account,
    /// Where programs are looked for when the job does not say.
    pub path: String,
    /// Variables that describe the place rather than the session: LANG, LC_*, TZ.
    pub locale: Vec<(String, String)>,
    /// The umask that a job gets unless it says otherwise: the one we were started with.
    pub umask: u32,
    /// Which boot this is.
    pub boot: String,
    /// The spool's path as the jobs see it.
    pub spool: String,
    /// Where jobs get control groups of their own.
    pub cgroups: Option<Delegated>,
}

impl Home {
    /// The facts about this process, which was started with this umask.
    pub fn of_this_process(options: &Options, umask: u32) -> io::Result<Self> {
        let locale = std::env::vars()
            .filter(|(key, _)| key == "LANG" || key == "TZ" || key.starts_with("LC_"))
            .collect();
        let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
        let spool = fs::canonicalize(&options.spool)?;
        let mut account = user::account();
        if !Path::new(&account.home).is_dir() {
            // As cron(8) does: service users often have a home that is not there.
            "/".clone_into(&mut account.home);
        }
        let prefix = format!("pirn.{:x}.", fs::metadata(&spool)?.ino());
        Ok(Self {
            account,
            path: path.unwrap_or_else(|| spawn::PATH.to_owned()),
            locale,
            umask,
            boot: procfs::boot_id(),
            cgroups: Delegated::find(prefix, options.cgroup.is_some()),
            spool: spawn::path_text(&spool),
        })
    }

    /// The controllers whose limits the control group of a job can have.
    pub fn controllers(&self) -> &[&'static str] {
        self.cgroups.as_ref().map_or(&[], Delegated::controllers)
    }

    /// The control group of a job, where it can have one.
    pub fn group(&self, id: &JobId) -> Option<Cgroup> {
        self.cgroups
            .as_ref()
            .map(|groups| groups.group(id.as_str()))
    }

    /// The control group of a job that an earlier daemon may have started.
    pub fn group_of_earlier(&self, id: &JobId) -> Option<Cgroup> {
        self.cgroups
            .as_ref()
            .map(|groups| groups.group_of_earlier(id.as_str()))
    }
}
