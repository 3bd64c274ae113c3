//! Reading `sandbox` and `resources`. Unknown keys are errors, also in a record: a misspelt restriction must not be ignored.

use super::{LISTS, Network, PathRule, Ports, Resources, Sandbox, Sandboxed, Syscalls, list};
use crate::core::json::{self, Field, JsonError, Object, expected};
use crate::core::quote::quoted;
use serde_json::value::RawValue;

/// The keys of `sandbox`.
const FIELDS: [&str; 10] = [
    "system",
    "ro",
    "rof",
    "rw",
    "rwf",
    "network",
    "syscalls",
    "namespaces",
    "private_tmp",
    "best_effort",
];
const PORT_FIELDS: [&str; 3] = ["connect", "bind", "udp"];
const RESOURCE_FIELDS: [&str; 7] = [
    "memory",
    "swap",
    "tasks",
    "cpu",
    "cpu_weight",
    "io_weight",
    "best_effort",
];

/// The beginnings of paths that are not absolute.
const PLACES: [&str; 2] = ["$PIRN_TMP", "$PIRN_STORE"];

/// Most processes that Linux can have.
pub const MOST_TASKS: u64 = 1 << 22;

/// The least share of a processor that the kernel keeps to, and more processors than there are, both in thousandths.
const LEAST_CPU: f64 = 10.0;
const MOST_CPU: f64 = 1e7;

impl Sandbox {
    /// Reads the value of `sandbox`.
    pub fn read(field: Field<'_, '_>) -> Result<Self, JsonError> {
        let object = field.child()?;
        let mut sandbox = Self::default();
        let mut has_list = false;
        for field in object.fields() {
            let mut lists = LISTS.into_iter();
            let found = lists.find(|(access, kind)| list(*access, *kind) == field.key);
            match (field.key, found) {
                (key, _) if field.is_null() && FIELDS.contains(&key) => {}
                (_, Some((access, kind))) => {
                    let paths = field.read(paths)?;
                    let rule = |path| PathRule { path, access, kind };
                    sandbox.paths.extend(paths.into_iter().map(rule));
                    has_list = true;
                }
                ("system", None) => sandbox.system = field.read(json::boolean)?,
                ("network", None) => sandbox.network = network(field)?,
                ("syscalls", None) => sandbox.syscalls = field.read(syscalls)?,
                ("namespaces", None) => sandbox.namespaces = field.read(json::boolean)?,
                ("private_tmp", None) => field.read(private_tmp)?,
                ("best_effort", None) => sandbox.best_effort = field.read(json::boolean)?,
                (_, None) => return Err(field.unknown(&FIELDS)),
            }
        }
        match has_list && !sandbox.has_file_rules() {
            true => Err(field.error(
                "its lists of paths are empty; name a path, or leave them out to permit all files"
                    .to_owned(),
            )),
            false => Ok(sandbox),
        }
    }
}

impl Resources {
    /// Reads the value of `resources`.
    pub fn read(field: Field<'_, '_>) -> Result<Self, JsonError> {
        let object = field.child()?;
        let mut resources = Self::default();
        for field in object.fields() {
            match field.key {
                key if field.is_null() && RESOURCE_FIELDS.contains(&key) => {}
                "memory" => resources.memory = Some(field.read(memory)?),
                "swap" => resources.swap = Some(field.read(json::size)?),
                "tasks" => resources.tasks = Some(field.integer(1..=MOST_TASKS.cast_signed())?),
                "cpu" => resources.cpu_millis = Some(field.read(|raw| cpu(json::number(raw)?))?),
                "cpu_weight" => resources.cpu_weight = Some(field.integer(1..=10_000)?),
                "io_weight" => resources.io_weight = Some(field.integer(1..=10_000)?),
                "best_effort" => resources.best_effort = field.read(json::boolean)?,
                _ => return Err(field.unknown(&RESOURCE_FIELDS)),
            }
        }
        Ok(resources)
    }
}

impl Sandboxed {
    /// Reads the value of `sandboxed`.
    pub fn read(field: Field<'_, '_>) -> Result<Self, JsonError> {
        let object = field.child()?;
        let mut sandboxed = Self::default();
        for field in object.fields() {
            match field.key {
                "landlock" => sandboxed.landlock = field.integer(0..=255)?,
                "layers" => sandboxed.layers = field.integer(0..=i64::from(u32::MAX))?,
                "seccomp" => sandboxed.seccomp = field.read(json::boolean)?,
                "groups" => sandboxed.groups = field.read(json::strings)?,
                "missing" => sandboxed.missing = field.read(json::strings)?,
                _ => {}
            }
        }
        Ok(sandboxed)
    }
}

/// Errors: a rule cannot be about this path.
pub fn check_path(path: &str) -> Result<(), String> {
    let after_place = PLACES.iter().find_map(|place| path.strip_prefix(place));
    let is_whole = match after_place {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => path.starts_with('/'),
    };
    if path.contains('\0') {
        Err(format!("{} contains a NUL character", quoted(path)))
    } else if is_whole {
        Ok(())
    } else {
        Err(format!(
            "expected a path that begins with /, $PIRN_TMP or $PIRN_STORE, got {}",
            quoted(path)
        ))
    }
}

/// Reads a number of processors, such as `1.5`. Gives thousandths.
pub fn parse_cpu(text: &str) -> Result<u64, String> {
    let number = text.parse::<f64>();
    cpu(number.map_err(|_| format!("expected a number of processors, got {}", quoted(text)))?)
}

fn cpu(processors: f64) -> Result<u64, String> {
    let millis = (processors * 1000.0).round();
    match (LEAST_CPU..=MOST_CPU).contains(&millis) {
        true => Ok(millis as u64),
        false => Err(format!(
            "expected a number of processors from 0.01 to 10000, got {processors}"
        )),
    }
}

fn paths(raw: &RawValue) -> Result<Vec<String>, String> {
    let list = json::strings(raw).map_err(|_| expected("a list of paths", raw))?;
    match list.iter().find_map(|path| check_path(path).err()) {
        Some(why) => Err(why),
        None => Ok(list),
    }
}

fn network(field: Field<'_, '_>) -> Result<Network, JsonError> {
    match field.raw.get() {
        "\"all\"" => Ok(Network::All),
        "\"unix\"" => Ok(Network::Unix),
        "\"none\"" => Ok(Network::None),
        text if text.starts_with('{') => ports(&field.child()?).map(Network::Ports),
        _ => {
            let wanted = "\"all\", \"unix\", \"none\", or an object with connect, bind and udp";
            Err(field.error(expected(wanted, field.raw)))
        }
    }
}

fn ports(object: &Object<'_>) -> Result<Ports, JsonError> {
    let mut ports = Ports::default();
    for field in object.fields() {
        match field.key {
            key if field.is_null() && PORT_FIELDS.contains(&key) => {}
            "connect" => ports.connect = port_list(field)?,
            "bind" => ports.bind = port_list(field)?,
            "udp" => ports.udp = field.read(json::boolean)?,
            _ => return Err(field.unknown(&PORT_FIELDS)),
        }
    }
    Ok(ports)
}

fn port_list(field: Field<'_, '_>) -> Result<Vec<u16>, JsonError> {
    let entries = field.entries("a list of ports")?;
    entries.map(|entry| entry.integer(1..=65_535)).collect()
}

fn syscalls(raw: &RawValue) -> Result<Syscalls, String> {
    match raw.get() {
        "\"basic\"" => Ok(Syscalls::Basic),
        "\"all\"" => Ok(Syscalls::All),
        _ => Err(expected("\"basic\" or \"all\"", raw)),
    }
}

fn private_tmp(raw: &RawValue) -> Result<(), String> {
    match json::boolean(raw)? {
        false => Ok(()),
        true => Err("this version of pirn does not support it yet".to_owned()),
    }
}

fn memory(raw: &RawValue) -> Result<u64, String> {
    check_memory(json::size(raw)?)
}

/// Errors: a job cannot run with this limit.
pub fn check_memory(bytes: u64) -> Result<u64, String> {
    match bytes {
        0 => Err("expected a size above 0; a process cannot do without memory".to_owned()),
        bytes => Ok(bytes),
    }
}
