//! The options that say what a command, a job or the daemon may reach.

use super::exit::{FAILURE, Failure, USAGE};
use crate::core::sandbox::{
    Access, Network, PathKind, PathRule, Ports, Sandbox, Syscalls, check_path,
};
use crate::os::spawn::path_text;
use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Sandbox")]
pub struct SandboxArgs {
    /// Let it read and execute PATH and all below it; also as -ro (repeat)
    ///
    /// With any of --ro, --rof, --rw, --rwf and --system, nothing else can be opened.
    #[arg(long, value_name = "PATH")]
    ro: Vec<String>,
    /// As --ro, for a file: it is a mistake if PATH is a directory; also as -rof (repeat)
    #[arg(long, value_name = "PATH")]
    rof: Vec<String>,
    /// As --ro, and let it change PATH and all below it; also as -rw (repeat)
    ///
    /// It may make, rename and remove what is below PATH.
    #[arg(long, value_name = "PATH")]
    rw: Vec<String>,
    /// As --rw, for a file; also as -rwf (repeat)
    #[arg(long, value_name = "PATH")]
    rwf: Vec<String>,
    /// Let it read and execute the directories of the system: `/usr`, `/etc` and so on
    #[arg(long)]
    system: bool,
    /// The sockets that it may make: `none`, `unix`, `all`, or ports, as `connect=443,bind=80,udp` [default: all]
    ///
    /// A list permits Unix sockets, TCP to and from these ports, and UDP if it is named.
    #[arg(long, value_name = "WHICH", value_parser = parse_network)]
    network: Option<Network>,
    /// System calls: `basic`, which are none that change the system, or `all` [default: basic]
    #[arg(long, value_name = "WHICH", value_parser = parse_syscalls)]
    syscalls: Option<Syscalls>,
    /// Let it make namespaces, as browsers, bwrap and podman do
    #[arg(long)]
    namespaces: bool,
    /// Leave out the parts that this machine cannot enforce
    ///
    /// Without it, they are a reason not to run.
    #[arg(long)]
    pub best_effort: bool,
}

impl SandboxArgs {
    /// The sandbox that the options ask for, if any does. Paths may be relative to the working directory, which need not
    /// be there otherwise.
    pub fn sandbox(self) -> Result<Option<Sandbox>, Failure> {
        let is_asked = self.is_asked();
        let sandbox = Sandbox {
            system: self.system,
            paths: self.rules().map(absolute).collect::<Result<_, _>>()?,
            network: self.network.unwrap_or_default(),
            syscalls: self.syscalls.unwrap_or_default(),
            namespaces: self.namespaces,
            best_effort: self.best_effort,
        };
        Ok((is_asked || sandbox.best_effort).then_some(sandbox))
    }

    /// The paths as they were given.
    fn rules(&self) -> impl Iterator<Item = PathRule> {
        let lists = [
            (&self.ro, Access::Read, PathKind::Any),
            (&self.rof, Access::Read, PathKind::File),
            (&self.rw, Access::Write, PathKind::Any),
            (&self.rwf, Access::Write, PathKind::File),
        ];
        lists.into_iter().flat_map(|(paths, access, kind)| {
            let rule = move |path| PathRule { path, access, kind };
            paths.iter().cloned().map(rule)
        })
    }

    /// The first path that depends on the working directory.
    pub fn relative_path(&self) -> Option<PathRule> {
        self.rules().find(|rule| check_path(&rule.path).is_err())
    }

    /// True if an option other than `--best-effort` is there: that one may be meant for limits.
    pub fn is_asked(&self) -> bool {
        self.system
            || self.network.is_some()
            || self.syscalls.is_some()
            || self.namespaces
            || self.rules().next().is_some()
    }
}

fn absolute(rule: PathRule) -> Result<PathRule, Failure> {
    let path = match check_path(&rule.path) {
        Ok(()) => rule.path,
        Err(_) if rule.path.is_empty() || rule.path.starts_with('$') => {
            let what = format!(
                "--{}: expected a path, or one that begins with $PIRN_TMP or $PIRN_STORE, got {:?}",
                rule.list(),
                rule.path
            );
            return Err(Failure::new(USAGE, what));
        }
        Err(_) => {
            let whole = std::path::absolute(&rule.path).map_err(|e| {
                let what = format!("--{} {}: {e}", rule.list(), rule.path);
                Failure::new(FAILURE, what)
            })?;
            path_text(&whole)
        }
    };
    Ok(PathRule { path, ..rule })
}

fn parse_network(text: &str) -> Result<Network, String> {
    let mut ports = Ports::default();
    for word in text.split(',') {
        let port = |port: &str| match port.parse::<u16>() {
            Ok(0) | Err(_) => Err(format!("expected a port, 1 to 65535, got {port:?}")),
            Ok(port) => Ok(port),
        };
        match (word, word.split_once('=')) {
            ("none", None) if word == text => return Ok(Network::None),
            ("unix", None) if word == text => return Ok(Network::Unix),
            ("all", None) if word == text => return Ok(Network::All),
            ("udp", None) => ports.udp = true,
            (_, Some(("connect", number))) => ports.connect.push(port(number)?),
            (_, Some(("bind", number))) => ports.bind.push(port(number)?),
            (_, _) => {
                return Err(format!(
                    "expected none, unix, all, or a list of connect=PORT, bind=PORT and udp, got {word:?}"
                ));
            }
        }
    }
    Ok(Network::Ports(ports))
}

fn parse_syscalls(text: &str) -> Result<Syscalls, String> {
    match text {
        "basic" => Ok(Syscalls::Basic),
        "all" => Ok(Syscalls::All),
        _ => Err(format!("expected basic or all, got {text:?}")),
    }
}

/// The options that may be written with one dash, as filed has them.
const SHORT: [&[u8]; 4] = [b"-ro", b"-rof", b"-rw", b"-rwf"];

/// The words of a command line, with `-ro` and the like written as `--ro`. The words of a command to run stay as they
/// are.
pub fn with_long_flags(words: Vec<OsString>, parser: fn() -> Command) -> Vec<OsString> {
    match words.iter().any(|word| is_short(word)) {
        true => rewritten(words, &parser()),
        false => words,
    }
}

fn is_short(word: &OsStr) -> bool {
    let name = word.as_bytes().split(|byte| *byte == b'=').next();
    name.is_some_and(|name| SHORT.contains(&name))
}

/// The same with a parser that is there already.
pub fn rewritten(words: Vec<OsString>, parser: &Command) -> Vec<OsString> {
    let mut out = Vec::with_capacity(words.len());
    let mut rest = words.into_iter();
    out.extend(rest.next());
    let mut command: Option<&Command> = None;
    while let Some(mut word) = rest.next() {
        let takers = command.into_iter().chain([parser]);
        let takers = takers.flat_map(Command::get_arguments);
        let takers: Vec<&Arg> = takers
            .filter(|arg| arg.get_action().takes_values())
            .collect();
        if is_short(&word) && takers.iter().any(|arg| arg.get_long() == Some("ro")) {
            word = [OsStr::new("-"), &word].into_iter().collect();
        }
        let has_value = has_value(&word, &takers);
        let is_option = word.as_bytes().starts_with(b"-");
        let ends = match command {
            _ if word == "--" => true,
            _ if is_option => false,
            None => {
                command = parser.find_subcommand(&word);
                command.is_none()
            }
            // These words are a command to run.
            Some(command) => command.get_positionals().any(Arg::is_trailing_var_arg_set),
        };
        out.push(word);
        if ends {
            break;
        }
        if has_value {
            out.extend(rest.next());
        }
    }
    out.extend(rest);
    out
}

/// True if the next word is the value of this one.
fn has_value(word: &OsStr, takers: &[&Arg]) -> bool {
    let text = word.to_string_lossy();
    match (text.strip_prefix("--"), text.strip_prefix('-')) {
        (Some(long), _) => takers.iter().any(|arg| arg.get_long() == Some(long)),
        // Of several short options in one word, the first that takes a value has the rest of the word, if any.
        (None, Some(shorts)) => {
            let takes = |letter: char| takers.iter().any(|arg| arg.get_short() == Some(letter));
            shorts.find(takes).is_some_and(|at| at + 1 == shorts.len())
        }
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn rewritten(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        let words = with_long_flags(words, crate::cli::Cli::command);
        words.join(OsStr::new(" ")).to_string_lossy().into_owned()
    }

    #[test]
    fn single_dashes_become_double_ones() {
        for (line, expected) in [
            (
                "pirn launch -ro /a -rof=/b --rw /c -rwf /d x",
                "pirn launch --ro /a --rof=/b --rw /c --rwf /d x",
            ),
            (
                "pirn -S /s launch -ro -rw x -ro",
                "pirn -S /s launch --ro -rw x -ro",
            ),
            ("pirn launch -- -ro /a", "pirn launch -- -ro /a"),
            (
                "pirn launch --network none -ro /a ls -rw",
                "pirn launch --network none --ro /a ls -rw",
            ),
            ("pirn launch ls -ro", "pirn launch ls -ro"),
            ("pirn launch --system ls -ro", "pirn launch --system ls -ro"),
            (
                "pirn serve /s -ro /a --slots 2 -rw /b",
                "pirn serve /s --ro /a --slots 2 --rw /b",
            ),
            // The commands that have no such options take them as two short ones.
            ("pirn ls -ro", "pirn ls -ro"),
            ("-ro", "-ro"),
        ] {
            assert_eq!(rewritten(line), expected, "{line}");
        }
    }

    #[test]
    fn networks() {
        let ports = |connect: &[u16], bind: &[u16], udp| {
            Ok(Network::Ports(Ports {
                connect: connect.to_vec(),
                bind: bind.to_vec(),
                udp,
            }))
        };
        assert_eq!(parse_network("none"), Ok(Network::None));
        assert_eq!(parse_network("udp"), ports(&[], &[], true));
        assert_eq!(
            parse_network("connect=443,bind=80,connect=1,udp"),
            ports(&[443, 1], &[80], true)
        );
        for wrong in [
            "",
            "none,udp",
            "connect",
            "connect=",
            "connect=0",
            "bind=65536",
            "tcp",
        ] {
            assert!(parse_network(wrong).is_err(), "{wrong}");
        }
    }
}
