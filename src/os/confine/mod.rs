//! Confining a process: what it can open and reach by Landlock (landlock(7)), what it can ask of the kernel by a filter
//! of system calls (seccomp(2)), and for root the capabilities that it keeps.
//!
//! The parent prepares a [`Confinement`], which may fail with a sentence. The child applies it between its clone and its
//! exec. `pirn launch` and `pirn serve` apply one to themselves.

mod ability;
mod apply;
mod filter;
mod layer;
mod rules;

pub use ability::Ability;
pub use apply::FailedCall;
pub use layer::{ConfineError, Layer, OwnFiles};

use super::fault::Fault;
use filter::Wanted;
use std::os::fd::OwnedFd;

/// A confinement that is ready to be applied.
#[derive(Debug)]
pub struct Confinement {
    /// Of the layers, the outermost first.
    rulesets: Vec<OwnedFd>,
    filter: Option<Vec<libc::sock_filter>>,
    drops_capabilities: bool,
    report: ConfineReport,
}

/// The parts of a confinement that are enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfineReport {
    /// The version of Landlock's interface; 0 without it.
    pub landlock: u8,
    /// The number of its layers.
    pub layers: usize,
    /// System calls are filtered.
    pub seccomp: bool,
    /// The parts that were asked for and that this kernel cannot enforce.
    pub missing: Vec<&'static str>,
}

impl Confinement {
    /// Prepares a confinement of these layers, the outermost first.
    pub fn prepare(layers: &[Layer<'_>], own: &OwnFiles<'_>) -> Result<Self, ConfineError> {
        let ability = Ability::get();
        let missing = missing(layers, ability)?;
        let enforced = layers
            .iter()
            .filter(|_| ability.landlock > 0 && !Fault::NoLandlock.is_on());
        let rulesets = enforced.map(|layer| rules::ruleset(layer, own, ability));
        let rulesets = rulesets.collect::<Result<Vec<_>, _>>()?;
        let wanted = Wanted::of(layers.iter().map(|layer| layer.sandbox));
        let filter = wanted.filter().filter(|_| ability.seccomp);
        let report = ConfineReport {
            landlock: ability.landlock,
            layers: rulesets.len(),
            seccomp: filter.is_some(),
            missing,
        };
        let is_jobs = layers.iter().any(|layer| layer.is_scoped);
        let drops_capabilities = is_jobs && nix::unistd::geteuid().is_root();
        Ok(Self {
            rulesets,
            filter,
            drops_capabilities,
            report,
        })
    }

    /// The parts of it that are enforced.
    pub fn report(&self) -> &ConfineReport {
        &self.report
    }
}

/// Tests whether this kernel can enforce a layer. Gives the parts that it cannot, if the layer can do without them.
pub fn missing(layers: &[Layer<'_>], ability: Ability) -> Result<Vec<&'static str>, ConfineError> {
    let mut missing = Vec::new();
    for layer in layers {
        for lack in ability.lacks(layer) {
            match lack.field {
                Some(field) if !layer.sandbox.best_effort => {
                    let dot = if field.is_empty() { "" } else { "." };
                    let sentence = format!("{}{dot}{field} {lack}", layer.name);
                    return Err(ConfineError::Impossible(sentence));
                }
                Some(_) | None if missing.contains(&lack.name) => {}
                Some(_) | None => missing.push(lack.name),
            }
        }
    }
    Ok(missing)
}
