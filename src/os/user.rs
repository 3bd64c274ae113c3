//! Users, groups, the terminal, and the directory of the spool by default.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The account of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Login name; the number when the account has none.
    pub name: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// Reads the account from the user database. A user who is not in it gets default values.
pub fn account() -> Account {
    let uid = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => Account {
            uid: uid.as_raw(),
            name: user.name,
            home: user.dir.to_string_lossy().into_owned(),
            shell: user.shell.to_string_lossy().into_owned(),
        },
        Ok(None) | Err(_) => Account {
            uid: uid.as_raw(),
            name: uid.to_string(),
            home: "/".to_owned(),
            shell: "/bin/sh".to_owned(),
        },
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

/// The number of the user with this name; `None` if there is no such user on this machine.
pub fn number_of(name: &str) -> io::Result<Option<u32>> {
    let user = nix::unistd::User::from_name(name)?;
    Ok(user.map(|user| user.uid.as_raw()))
}

/// Columns of the terminal on stdout; 80 if it has no size.
pub fn terminal_width() -> usize {
    // SAFETY: all-zero is a valid winsize; TIOCGWINSZ fills one.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: as above; the pointer is to a live winsize.
    let done = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if done == 0 && size.ws_col > 0 {
        usize::from(size.ws_col)
    } else {
        80
    }
}

/// The spool if none is named: `$PIRN_SPOOL`, else `/var/spool/pirn` for root, else
/// `$XDG_STATE_HOME/pirn`, else `~/.local/state/pirn`.
pub fn default_spool() -> PathBuf {
    set("PIRN_SPOOL").unwrap_or_else(|| spools().join("pirn"))
}

/// The directory of the spools of qdone's workers that no daemon serves: `$PIRN_QDONE_SPOOLS`, else `pirn-qdone` beside
/// the default spool.
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
