//! The limits of a control group: which files of it have them, and what holds where several places ask for some.

use super::Resources;

/// One limit as cgroup v2 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLimit {
    /// The field of `resources`.
    pub field: &'static str,
    /// The controller that keeps it.
    pub controller: &'static str,
    /// The files of the group, with their values.
    pub files: Vec<(&'static str, String)>,
}

/// The period that a share of processor time is counted over, in microseconds: the kernel's own choice.
const PERIOD: u64 = 100_000;

impl Resources {
    /// The limits that are set.
    pub fn limits(&self) -> impl Iterator<Item = GroupLimit> {
        let memory = |bytes: u64| {
            // Without half of its processes, a job is of no use.
            let whole = ("memory.oom.group", "1".to_owned());
            vec![whole, ("memory.max", bytes.to_string())]
        };
        let cpu = |millis: u64| {
            let quota = millis * PERIOD / 1000;
            vec![("cpu.max", format!("{quota} {PERIOD}"))]
        };
        let one = |file, value: u64| vec![(file, value.to_string())];
        [
            ("memory", "memory", self.memory.map(memory)),
            (
                "swap",
                "memory",
                self.swap.map(|n| one("memory.swap.max", n)),
            ),
            ("tasks", "pids", self.tasks.map(|n| one("pids.max", n))),
            ("cpu", "cpu", self.cpu_millis.map(cpu)),
            (
                "cpu_weight",
                "cpu",
                self.cpu_weight.map(|n| one("cpu.weight", n.into())),
            ),
            (
                "io_weight",
                "io",
                self.io_weight.map(|n| one("io.weight", n.into())),
            ),
        ]
        .into_iter()
        .filter_map(|(field, controller, files)| {
            files.map(|files| GroupLimit {
                field,
                controller,
                files,
            })
        })
    }

    /// The limits that hold where both sets do: the lower of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            memory: least(self.memory, other.memory),
            swap: least(self.swap, other.swap),
            tasks: least(self.tasks, other.tasks),
            cpu_millis: least(self.cpu_millis, other.cpu_millis),
            cpu_weight: least(self.cpu_weight, other.cpu_weight),
            io_weight: least(self.io_weight, other.io_weight),
            best_effort: self.best_effort && other.best_effort,
        }
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, None) => one,
        (None, other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_group() {
        let resources = Resources {
            memory: Some(512 << 20),
            swap: Some(0),
            tasks: Some(100),
            cpu_millis: Some(1500),
            cpu_weight: Some(50),
            io_weight: Some(60),
            best_effort: false,
        };
        let files = resources.limits().flat_map(|limit| limit.files);
        let files: Vec<String> = files
            .map(|(file, value)| format!("{file} {value}"))
            .collect();
        let expected = [
            "memory.oom.group 1",
            "memory.max 536870912",
            "memory.swap.max 0",
            "pids.max 100",
            "cpu.max 150000 100000",
            "cpu.weight 50",
            "io.weight 60",
        ];
        assert_eq!(files, expected);
        assert_eq!(Resources::default().limits().count(), 0);
    }
}
