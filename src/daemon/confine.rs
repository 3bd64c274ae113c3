//! The sandbox of a job, and the limits of its control group.

use super::Options;
use super::home::Home;
use super::start::{NotLaunched, Setup};
use crate::core::config::Config;
use crate::core::config::bounds::Level;
use crate::core::record::Work;
use crate::core::sandbox::{GroupLimit, Resources, Sandbox, Sandboxed};
use crate::os::cgroup::Cgroup;
use crate::os::confine::{self, Ability, ConfineError, Confinement, Layer, OwnFiles};
use crate::os::spawn;

/// All that is to hold one job.
#[derive(Debug)]
pub struct JobBounds<'a> {
    sandboxes: Vec<Level<'a, Sandbox>>,
    resources: Vec<Level<'a, Resources>>,
}

/// The limits of a job's control group.
#[derive(Debug, Default)]
pub struct GroupLimits {
    set: Vec<GroupLimit>,
    /// The names of the limits that are left out.
    missing: Vec<String>,
}

impl GroupLimits {
    /// The files of the group, with their values.
    pub fn files(&self) -> Vec<(&'static str, String)> {
        self.set
            .iter()
            .flat_map(|limit| limit.files.clone())
            .collect()
    }
}

impl<'a> JobBounds<'a> {
    /// The bounds that the options of the daemon, the settings and the record ask for.
    pub fn of(options: &'a Options, config: &'a Config, start: &Setup<'a>) -> Self {
        let of_all = options
            .sandbox
            .as_ref()
            .filter(|_| !matches!(start.record.work, Work::Url(_)));
        let of_all = of_all.map(|value| Level {
            field: "serve".to_owned(),
            value,
        });
        let sandboxes = config.sandboxes(start.queue, start.record);
        Self {
            sandboxes: of_all.into_iter().chain(sandboxes).collect(),
            resources: config.resources(start.queue, start.record),
        }
    }

    /// True when nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.resources.is_empty()
    }

    /// True when the job can open only listed files.
    pub fn has_file_rules(&self) -> bool {
        let mut sandboxes = self.sandboxes.iter();
        sandboxes.any(|level| level.value.has_file_rules())
    }

    /// Prepares the sandbox, if there is one.
    pub fn confinement(&self, own: &OwnFiles<'_>) -> Result<Option<Confinement>, NotLaunched> {
        if self.sandboxes.is_empty() {
            return Ok(None);
        }
        let layers: Vec<Layer<'_>> = self.sandboxes.iter().map(layer).collect();
        match Confinement::prepare(&layers, own) {
            Ok(confinement) => Ok(Some(confinement)),
            Err(ConfineError::Call(_, e)) if spawn::is_shortage(&e) => {
                Err(NotLaunched::Resources(e))
            }
            Err(e) => Err(NotLaunched::refused(e.to_string())),
        }
    }

    /// The limits that the job's control group can have. Those that the job can do without are tried now.
    pub fn limits(&self, home: &Home, group: Option<&Cgroup>) -> Result<GroupLimits, NotLaunched> {
        let mut limits = GroupLimits {
            set: Vec::new(),
            missing: missing_limits(home, &self.resources).map_err(NotLaunched::refused)?,
        };
        let all = self.resources.iter().map(|level| *level.value);
        let all = all.reduce(Resources::and).unwrap_or_default();
        for limit in all.limits() {
            let asks = |level: &&Level<'_, Resources>| {
                level.value.limits().any(|own| own.field == limit.field)
            };
            let mut asking = self.resources.iter().filter(asks);
            let is_needed = asking.any(|level| !level.value.best_effort);
            if !home.controllers().contains(&limit.controller) {
                continue;
            }
            match group
                .filter(|_| !is_needed)
                .map(|group| group.create(&limit.files))
            {
                Some(Err(_)) => limits.missing.push(name(&limit)),
                Some(Ok(())) | None => limits.set.push(limit),
            }
        }
        Ok(limits)
    }

    /// The sandbox and limits of the job, for its record.
    pub fn report(
        &self,
        confinement: Option<&Confinement>,
        limits: GroupLimits,
    ) -> Option<Box<Sandboxed>> {
        if self.is_empty() {
            return None;
        }
        let mut groups: Vec<String> = limits.set.iter().map(|l| l.controller.to_owned()).collect();
        groups.dedup();
        let report = confinement.map(Confinement::report);
        let missing = report.into_iter().flat_map(|report| &report.missing);
        let missing = missing.map(|part| (*part).to_owned());
        Some(Box::new(Sandboxed {
            landlock: report.map_or(Ability::get().landlock, |report| report.landlock),
            layers: report.map_or(0, |report| u32::try_from(report.layers).unwrap_or(u32::MAX)),
            seccomp: report.is_some_and(|report| report.seccomp),
            groups,
            missing: missing.chain(limits.missing).collect(),
        }))
    }
}

/// Tests whether this machine can keep what the settings enforce. The error says what it lacks.
pub fn check(config: &Config, home: &Home) -> Result<(), String> {
    for level in &config.enforced_sandboxes() {
        confine::missing(&[layer(level)], Ability::get()).map_err(|e| e.to_string())?;
    }
    missing_limits(home, &config.enforced_resources()).map(drop)
}

/// The layer of a sandbox. It hides other processes too.
fn layer<'a>(level: &'a Level<'_, Sandbox>) -> Layer<'a> {
    Layer {
        name: &level.field,
        sandbox: level.value,
        is_scoped: true,
    }
}

/// The limits that no control group of ours can have, if those who ask can do without. The error names one that is
/// needed.
fn missing_limits(home: &Home, levels: &[Level<'_, Resources>]) -> Result<Vec<String>, String> {
    let offered = home.controllers();
    let mut missing = Vec::new();
    for level in levels {
        let lacking = level.value.limits();
        for limit in lacking.filter(|limit| !offered.contains(&limit.controller)) {
            if !level.value.best_effort {
                let offered = match offered {
                    [] => "none".to_owned(),
                    some => some.join(" "),
                };
                return Err(format!(
                    "{}.{} needs the controller {} of cgroup v2; pirn has {offered} here",
                    level.field, limit.field, limit.controller
                ));
            }
            let name = name(&limit);
            if !missing.contains(&name) {
                missing.push(name);
            }
        }
    }
    Ok(missing)
}

/// The name of a limit that is left out.
fn name(limit: &GroupLimit) -> String {
    format!("resources.{}", limit.field)
}
