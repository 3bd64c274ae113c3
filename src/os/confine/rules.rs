//! Landlock rulesets (landlock(7)), one for each layer.

use super::ability::Ability;
use super::layer::{ConfineError, Layer, OwnFiles};
use crate::core::sandbox::{Access as Wish, Network, PathKind, PathRule};
use crate::os::fault::Fault;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};
use nix::errno::Errno;
use std::error::Error;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

type FsRights = BitFlags<AccessFs>;

/// The directories that `system` lets a job read and execute; those that are missing are left out. The last three are
/// where /etc/resolv.conf may lead.
const SYSTEM: [&str; 16] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
];

const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

const READ: FsRights = make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir});
const WRITE: FsRights = make_bitflags!(AccessFs::{
    Execute | ReadFile | ReadDir | WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSym
    | MakeFifo | MakeSock | Refer | IoctlDev | ResolveUnix
});
/// Of a file.
const PROGRAM: FsRights = make_bitflags!(AccessFs::{Execute | ReadFile});
const LOG: FsRights = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
const DEVICE: FsRights = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate | IoctlDev});

/// Makes the ruleset of a layer.
pub fn ruleset(
    layer: &Layer<'_>,
    own: &OwnFiles<'_>,
    ability: Ability,
) -> Result<OwnedFd, ConfineError> {
    let mut rules = Rules::begin(layer, ability).map_err(failed)?;
    if layer.sandbox.has_file_rules() {
        rules.permit_files(layer, own)?;
    }
    if let (true, Network::Ports(ports)) = (ability.landlock >= 4, &layer.sandbox.network) {
        let connect = ports
            .connect
            .iter()
            .map(|port| NetPort::new(*port, AccessNet::ConnectTcp));
        let bind = ports
            .bind
            .iter()
            .map(|port| NetPort::new(*port, AccessNet::BindTcp));
        for rule in connect.chain(bind) {
            (&mut rules.made).add_rule(rule).map_err(failed)?;
        }
    }
    let made: Option<OwnedFd> = rules.made.into();
    made.ok_or_else(|| ConfineError::Call("landlock_create_ruleset", Errno::ENOSYS.into()))
}

struct Rules {
    made: RulesetCreated,
    /// The rights that the kernel knows.
    known: FsRights,
    known_of_files: FsRights,
}

impl Rules {
    fn begin(layer: &Layer<'_>, ability: Ability) -> Result<Self, RulesetError> {
        let version = ABI::from(i32::from(ability.landlock.min(Ability::real().landlock)));
        let mut known = AccessFs::from_all(version);
        if Fault::NoTruncateRight.is_on() {
            known.remove(AccessFs::Truncate);
        }
        // A domain that handles nothing cannot be made, and devices are made by no job.
        let handled = match layer.sandbox.has_file_rules() {
            true => known,
            false => AccessFs::MakeChar | AccessFs::MakeBlock,
        };
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(handled)?;
        let net = AccessNet::from_all(version) & (AccessNet::BindTcp | AccessNet::ConnectTcp);
        if matches!(layer.sandbox.network, Network::Ports(_)) && !net.is_empty() {
            ruleset = ruleset.handle_access(net)?;
        }
        let scopes = Scope::from_all(version);
        if layer.is_scoped && !scopes.is_empty() {
            ruleset = ruleset.scope(scopes)?;
        }
        let known_of_files = AccessFs::from_file(version) & known;
        let made = ruleset
            .create()?
            .set_compatibility(CompatLevel::HardRequirement);
        Ok(Self {
            made,
            known,
            known_of_files,
        })
    }

    fn permit_files(&mut self, layer: &Layer<'_>, own: &OwnFiles<'_>) -> Result<(), ConfineError> {
        let system = SYSTEM
            .iter()
            .filter(|_| layer.sandbox.system)
            .map(|path| (*path, READ));
        for (path, rights) in system.chain(DEVICES.iter().map(|path| (*path, DEVICE))) {
            match open(Path::new(path)) {
                Ok(file) => self.permit(&file, rights)?,
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {}
                Err(e) => return Err(not_opened(path, e)),
            }
        }
        for rule in &layer.sandbox.paths {
            self.permit_listed(layer.name, rule, own)?;
        }
        for path in &own.programs {
            let file = open_own(path)?;
            // A job may have put a link there meanwhile: it does not get a file to read, or a directory, by that.
            if is_executable(&file).map_err(|e| ConfineError::Call("fstat", e))? {
                self.permit(&file, PROGRAM)?;
            }
        }
        let copy = own.copy.map(|path| (path, PROGRAM));
        for (path, rights) in copy
            .into_iter()
            .chain(own.scratch.map(|path| (path, WRITE)))
        {
            self.permit(&open_own(path)?, rights)?;
        }
        for log in own.logs.iter().filter(|_| !Fault::NoLogRule.is_on()) {
            self.permit(log, LOG)?;
        }
        Ok(())
    }

    /// Permits what the sandbox names. An error begins with the field.
    fn permit_listed(
        &mut self,
        layer: &str,
        rule: &PathRule,
        own: &OwnFiles<'_>,
    ) -> Result<(), ConfineError> {
        let path = &rule.path;
        let list = rule.list();
        let impossible =
            |why: &str| ConfineError::Impossible(format!("{layer}.{list}: {path}: {why}"));
        let resolved =
            resolve(path, own).ok_or_else(|| impossible("there is no such directory here"))?;
        let file = open(&resolved).map_err(|e| match is_about_path(e) {
            true => impossible(e.desc()),
            false => ConfineError::Call("open", e.into()),
        })?;
        let is_dir = file
            .metadata()
            .map_err(|e| ConfineError::Call("fstat", e))?
            .is_dir();
        if is_dir && rule.kind == PathKind::File {
            return Err(impossible("is a directory"));
        }
        match rule.access {
            Wish::Read => self.permit(&file, READ),
            Wish::Write => self.permit(&file, WRITE),
        }
    }

    fn permit(&mut self, file: &impl AsFd, rights: FsRights) -> Result<(), ConfineError> {
        let stat =
            nix::sys::stat::fstat(file).map_err(|e| ConfineError::Call("fstat", e.into()))?;
        let known = match stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            true => self.known,
            false => self.known_of_files,
        };
        let rule = PathBeneath::new(file, rights & known);
        match (&mut self.made).add_rule(rule).map_err(failed) {
            // A file without a name, such as one in memory: Landlock lets it be opened anyway.
            Err(ConfineError::Call(_, e)) if e.raw_os_error() == Some(libc::EBADFD) => Ok(()),
            Ok(_) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// The path that a rule means: `None` if it names a directory that this job does not have.
fn resolve(path: &str, own: &OwnFiles<'_>) -> Option<PathBuf> {
    let places = [("$PIRN_TMP", own.scratch), ("$PIRN_STORE", own.store)];
    for (name, place) in places {
        match path.strip_prefix(name) {
            Some("") => return place.map(Path::to_path_buf),
            Some(rest) if rest.starts_with('/') => {
                return place.map(|place| place.join(rest.trim_start_matches('/')));
            }
            Some(_) | None => {}
        }
    }
    Some(PathBuf::from(path))
}

fn open(path: &Path) -> Result<File, Errno> {
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path);
    opened.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
}

fn open_own(path: &Path) -> Result<File, ConfineError> {
    open(path).map_err(|e| not_opened(&path.display().to_string(), e))
}

/// False for what nobody can execute.
fn is_executable(file: &File) -> io::Result<bool> {
    let about = file.metadata()?;
    Ok(about.is_file() && about.mode() & 0o111 != 0)
}

fn is_about_path(e: Errno) -> bool {
    matches!(
        e,
        Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP | Errno::ENAMETOOLONG
    )
}

/// A file of the system, of pirn or of the job was not opened.
fn not_opened(path: &str, e: Errno) -> ConfineError {
    match is_about_path(e) {
        true => ConfineError::Impossible(format!("{path}: {}", e.desc())),
        false => ConfineError::Call("open", e.into()),
    }
}

/// The error of the system call in an error of the crate.
fn failed(e: RulesetError) -> ConfineError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&e);
    while let Some(error) = cause {
        if let Some(code) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return ConfineError::Call("landlock", io::Error::from_raw_os_error(code));
        }
        cause = error.source();
    }
    ConfineError::Call("landlock", io::Error::other(e))
}
