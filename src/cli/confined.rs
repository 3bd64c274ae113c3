//! `pirn serve` confines itself to what it needs, if its options name files for jobs.

use crate::core::hex::hex;
use crate::core::sandbox::{Access, PathKind, PathRule, Sandbox, Syscalls};
use crate::daemon::Options;
use crate::http::wire::listen::Address;
use crate::os::cgroup::Delegated;
use crate::os::confine::{self, Ability, ConfineError, Confinement, Layer, OwnFiles};
use crate::os::fault::Fault;
use crate::os::spawn::{self, path_text};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Names the options that this process, or an earlier image of it, has confined itself for. Layers can be stacked 16
/// times only.
const CONFINED: &str = "PIRN_CONFINED";

/// The beginning of messages, as that of a field.
const NAME: &str = "serve";

/// Confines this process, which has one thread. The spool and the control group are there.
///
/// The files of this layer are what the daemon needs, and what its jobs may have: they cannot get out of it. Signals are
/// not confined, since the next daemon, which has a layer of its own, could not end the jobs of this one.
pub fn confine(options: &Options, addresses: &[Address]) -> Result<(), ConfineError> {
    let Some(sandbox) = &options.sandbox else {
        return Ok(());
    };
    let of_jobs = Layer {
        name: NAME,
        sandbox,
        is_scoped: true,
    };
    confine::missing(&[of_jobs], Ability::get())?;
    if !sandbox.has_file_rules() {
        return Ok(());
    }
    let name = hex(&Sha256::digest(sandbox.to_json().to_string().as_bytes()));
    let is_done = std::env::var(CONFINED).is_ok_and(|done| done == name);
    if is_done && !Fault::StackedLayers.is_on() {
        return Ok(());
    }
    let sandbox = Sandbox {
        system: true,
        paths: [own_paths(options, addresses), sandbox.paths.clone()].concat(),
        best_effort: sandbox.best_effort,
        syscalls: Syscalls::All,
        ..Sandbox::default()
    };
    let layer = Layer {
        name: NAME,
        sandbox: &sandbox,
        is_scoped: Fault::ScopedDaemon.is_on(),
    };
    Confinement::prepare(&[layer], &OwnFiles::default())?.confine_self()?;
    spawn::keep_variable(CONFINED, name);
    Ok(())
}

/// The files that the daemon needs beside those of the system. Those that are missing are left out.
fn own_paths(options: &Options, addresses: &[Address]) -> Vec<PathRule> {
    let parent = |path: &Path| {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new(".")).to_owned()
    };
    // Files are replaced by others of the same name: by an upgrade, by an editor.
    let read = [std::env::current_exe().ok(), options.config.clone()];
    let read = read
        .into_iter()
        .flatten()
        .map(|path| (parent(&path), Access::Read));
    let groups = Delegated::find(String::new(), options.cgroup.is_some());
    let manager = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
    let sockets = addresses.iter().filter_map(|address| match address {
        Address::Unix(path) => Some(parent(path)),
        Address::Tcp(_) | Address::Passed(_) => None,
    });
    let write = [
        Some(options.spool.clone()),
        groups.map(|groups| groups.unit().to_owned()),
        manager,
    ];
    let write = write
        .into_iter()
        .flatten()
        .chain(sockets)
        .map(|path| (path, Access::Write));
    let there = read.chain(write).filter(|(path, _)| path.exists());
    let rule = |(path, access): (PathBuf, Access)| PathRule {
        path: path_text(&path),
        access,
        kind: PathKind::Any,
    };
    there.map(rule).collect()
}
