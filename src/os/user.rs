//! Users, groups, the terminal, and the directory of the spool by default.

use nix::unistd::{User, initgroups, setresgid, setresuid};
use std::ffi::CString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// An account of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Login name; the number when the account has none.
    pub name: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            name: user.name,
            home: user.dir.to_string_lossy().into_owned(),
            shell: user.shell.to_string_lossy().into_owned(),
        }
    }
}

/// Reads the account of this process from the user database. A user who is not in it gets default values.
pub fn account() -> Account {
    let uid = nix::unistd::geteuid();
    match User::from_uid(uid) {
        Ok(Some(user)) => user.into(),
        Ok(None) | Err(_) => Account {
            uid: uid.as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            name: uid.to_string(),
            home: "/".to_owned(),
            shell: "/bin/sh".to_owned(),
        },
    }
}

/// The account with this name, if there is one.
pub fn account_of(name: &str) -> io::Result<Option<Account>> {
    Ok(User::from_name(name)?.map(Account::from))
}

/// The name of this user; the number if the user database has none.
pub fn name_of(uid: u32) -> String {
    match User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => uid.to_string(),
    }
}

/// Makes this process one of the account, with all its groups, for good. To be called before there are other threads.
pub fn become_user(account: &Account) -> io::Result<()> {
    let (uid, gid) = (account.uid.into(), account.gid.into());
    let name = CString::new(account.name.as_str()).map_err(io::Error::other)?;
    initgroups(&name, gid)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    let root = 0.into();
    match setresuid(root, root, root) {
        Err(_) => Ok(()),
        Ok(()) => Err(io::Error::other("it could become root again")),
    }
}

/// True for the superuser.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Our effective user id.
pub fn uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The user, unless it is the one that the kernel names instead of those that have no number in our user namespace
/// (user_namespaces(7)).
pub fn known(uid: u32) -> Option<u32> {
    static OVERFLOW: OnceLock<u32> = OnceLock::new();
    let overflow = OVERFLOW.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/overflowuid");
        let number = text.ok().and_then(|text| text.trim().parse().ok());
        number.unwrap_or(65534)
    });
    (uid != *overflow).then_some(uid)
}

/// True for a group of this user alone, as many systems make one for each user: it has the user's name, and no other
/// member.
pub fn is_private_group(gid: u32) -> bool {
    let group = nix::unistd::Group::from_gid(gid.into());
    group.ok().flatten().is_some_and(|group| {
        let name = account().name;
        group.name == name && group.mem.iter().all(|member| *member == name)
    })
}

/// The spool if none is named.
#[derive(Debug)]
pub struct DefaultSpool {
    /// `$PIRN_SPOOL`; else the one that root has made for the user, if there is one; else the user's own.
    pub path: PathBuf,
    /// The user's own spool, if the one that root has made stands in its place.
    pub old: Option<PathBuf>,
}

/// Finds the spool by default.
pub fn default_spool() -> DefaultSpool {
    let own = || spools().join("pirn");
    match (set("PIRN_SPOOL"), user_spool()) {
        (Some(path), _) => DefaultSpool { path, old: None },
        (None, Some(path)) => DefaultSpool {
            path,
            old: Some(own()),
        },
        (None, None) => DefaultSpool {
            path: own(),
            old: None,
        },
    }
}

/// The directory in which root makes the spools of users: `$PIRN_USER_SPOOLS`, else `/var/spool/pirn-users`.
pub fn user_spools() -> PathBuf {
    set("PIRN_USER_SPOOLS").unwrap_or_else(|| "/var/spool/pirn-users".into())
}

/// The spool that root has made for this user. The name is that of the account, since anybody can set `$USER`.
fn user_spool() -> Option<PathBuf> {
    let dir = user_spools();
    // Looking a user up takes longer than this.
    if is_root() || !dir.is_dir() {
        return None;
    }
    let path = dir.join(account().name);
    let is_ours = |about: Metadata| about.is_dir() && about.uid() == uid();
    path.symlink_metadata().is_ok_and(is_ours).then_some(path)
}

/// The directory of the spools of qdone's workers that no daemon serves: `$PIRN_QDONE_SPOOLS`, else `pirn-qdone` beside
/// the user's own spool.
pub fn qdone_spools() -> PathBuf {
    set("PIRN_QDONE_SPOOLS").unwrap_or_else(|| spools().join("pirn-qdone"))
}

/// The directory of the user's spools.
fn spools() -> PathBuf {
    if is_root() {
        return PathBuf::from("/var/spool");
    }
    let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || {
        set("HOME")
            .unwrap_or_else(|| PathBuf::from(account().home))
            .join(".local/state")
    };
    state.unwrap_or_else(home)
}

fn set(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
