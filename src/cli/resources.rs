//! The options that limit all processes of a job together.

use crate::core::sandbox::{MOST_TASKS, Resources, check_memory, parse_cpu};
use crate::core::units::parse_size;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits of all its processes together (cgroup v2)")]
pub struct ResourceArgs {
    /// End it when it needs more memory
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u64>,
    /// Swap that it may use
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    swap: Option<u64>,
    /// Processes and threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_TASKS))]
    tasks: Option<u64>,
    /// Processors; `1.5` is one and a half
    #[arg(long, value_name = "N", value_parser = parse_cpu)]
    cpu: Option<u64>,
    /// Its share of the processors where others want them too, from 1 to 10000; 100 is usual
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    cpu_weight: Option<u16>,
    /// Its share of the disks where others want them too, from 1 to 10000; 100 is usual
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    io_weight: Option<u16>,
}

impl ResourceArgs {
    /// The limits that the options ask for, if any does.
    pub fn resources(self, best_effort: bool) -> Option<Resources> {
        let resources = Resources {
            memory: self.memory,
            swap: self.swap,
            tasks: self.tasks,
            cpu_millis: self.cpu,
            cpu_weight: self.cpu_weight,
            io_weight: self.io_weight,
            best_effort,
        };
        let is_asked = resources.limits().next().is_some();
        is_asked.then_some(resources)
    }
}

fn parse_memory(text: &str) -> Result<u64, String> {
    check_memory(parse_size(text)?)
}
