//! Printing `sandbox` and `resources`, as `read` reads them.

use super::{LISTS, Network, Ports, Resources, Sandbox, Sandboxed, Syscalls, list};
use serde_json::{Map, Value, json};

impl Sandbox {
    /// The value of `sandbox`: the fields that differ from those of an empty one.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        put(&mut out, "system", self.system, !self.system);
        for (access, kind) in LISTS {
            let key = list(access, kind);
            let listed = self.paths.iter().filter(|rule| rule.list() == key);
            let paths = listed.map(|rule| &rule.path);
            let paths: Vec<&String> = paths.collect();
            put(&mut out, key, &paths, paths.is_empty());
        }
        match &self.network {
            Network::All => {}
            Network::Unix => put(&mut out, "network", "unix", false),
            Network::None => put(&mut out, "network", "none", false),
            Network::Ports(ports) => put(&mut out, "network", ports.to_json(), false),
        }
        put(
            &mut out,
            "syscalls",
            "all",
            self.syscalls == Syscalls::Basic,
        );
        put(&mut out, "namespaces", true, !self.namespaces);
        put(&mut out, "best_effort", true, !self.best_effort);
        Value::Object(out)
    }
}

impl Ports {
    fn to_json(&self) -> Value {
        let mut out = Map::new();
        put(&mut out, "connect", &self.connect, self.connect.is_empty());
        put(&mut out, "bind", &self.bind, self.bind.is_empty());
        put(&mut out, "udp", true, !self.udp);
        Value::Object(out)
    }
}

impl Resources {
    /// The value of `resources`.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        put(&mut out, "memory", self.memory, self.memory.is_none());
        put(&mut out, "swap", self.swap, self.swap.is_none());
        put(&mut out, "tasks", self.tasks, self.tasks.is_none());
        let cpu = self.cpu_millis.map(|millis| millis as f64 / 1000.0);
        put(&mut out, "cpu", cpu, cpu.is_none());
        let (cpu, io) = (self.cpu_weight, self.io_weight);
        put(&mut out, "cpu_weight", cpu, cpu.is_none());
        put(&mut out, "io_weight", io, io.is_none());
        put(&mut out, "best_effort", true, !self.best_effort);
        Value::Object(out)
    }
}

impl Sandboxed {
    /// The value of `sandboxed`.
    pub fn to_json(&self) -> Value {
        json!({
            "landlock": self.landlock,
            "layers": self.layers,
            "seccomp": self.seccomp,
            "groups": self.groups,
            "missing": self.missing,
        })
    }
}

fn put(out: &mut Map<String, Value>, key: &str, value: impl serde::Serialize, is_absent: bool) {
    if !is_absent {
        out.insert(key.to_owned(), json!(value));
    }
}
