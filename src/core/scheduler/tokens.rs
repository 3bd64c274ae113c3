//! The tokens that live jobs have.

use super::table::Ix;
use crate::core::tokens::{Supply, TokenName, Units, Uses};
use std::collections::{BTreeMap, HashMap};

/// How many of each token are free.
pub(super) type FreeTokens = BTreeMap<TokenName, usize>;

/// How many of a token jobs have.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenUse {
    /// All of them.
    pub count: usize,
    /// How many of them may be any unit.
    unknown: usize,
}

impl TokenUse {
    /// Adds those of a job that asked for `wanted` and is known to have these units.
    pub fn add(&mut self, wanted: u32, known: &[Box<str>]) {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        self.count += wanted.max(known.len());
        self.unknown += wanted.saturating_sub(known.len());
    }

    fn remove(&mut self, wanted: u32, known: &[Box<str>]) {
        let mut of_job = Self::default();
        of_job.add(wanted, known);
        self.count -= of_job.count;
        self.unknown -= of_job.unknown;
    }

    /// How many can be handed out now. While it is not known which units of a list a job has, each unit may be one of
    /// them.
    pub fn free(self, supply: &Supply) -> usize {
        match supply {
            Supply::Listed(_) if self.unknown > 0 => 0,
            Supply::Listed(_) | Supply::Count(_) => supply.total().saturating_sub(self.count),
        }
    }
}

/// A token as far as it is in use.
#[derive(Debug, Default)]
struct InUse {
    sum: TokenUse,
    units: Vec<Box<str>>,
}

#[derive(Debug, Default)]
pub(super) struct TokensInUse {
    in_use: HashMap<TokenName, InUse>,
    /// The units that are known of each job that uses tokens.
    units: HashMap<Ix, Units>,
}

impl TokensInUse {
    /// How many of each token can be handed out now.
    pub fn free(&self, supplies: &BTreeMap<TokenName, Supply>) -> FreeTokens {
        let free = |(name, supply): (&TokenName, &Supply)| {
            let sum = self.in_use.get(name).map(|of| of.sum);
            (name.clone(), sum.unwrap_or_default().free(supply))
        };
        supplies.iter().map(free).collect()
    }

    /// Takes tokens that are free. Gives the units of those that are listed.
    pub fn take(&mut self, ix: Ix, uses: &Uses, supplies: &BTreeMap<TokenName, Supply>) -> Units {
        let mut units = Units::new();
        for (name, n) in uses {
            if let Some(Supply::Listed(listed)) = supplies.get(name) {
                let in_use = self.in_use.get(name);
                let taken = in_use.map_or(&[][..], |of| &of.units);
                let free = listed.iter().filter(|unit| !taken.contains(unit));
                let n = usize::try_from(*n).unwrap_or(usize::MAX);
                let free: Vec<_> = free.take(n).cloned().collect();
                debug_assert_eq!(free.len(), n);
                units.insert(name.clone(), free);
            }
        }
        self.take_over(ix, uses, units.clone());
        units
    }

    /// Enters the tokens of a job that has them already. Its units may not be known.
    pub fn take_over(&mut self, ix: Ix, uses: &Uses, mut units: Units) {
        if uses.is_empty() {
            return;
        }
        units.retain(|name, _| uses.contains_key(name));
        for (name, n) in uses {
            let known = units.get(name).map_or(&[][..], Vec::as_slice);
            let in_use = self.in_use.entry(name.clone()).or_default();
            in_use.sum.add(*n, known);
            in_use.units.extend_from_slice(known);
        }
        self.units.insert(ix, units);
    }

    /// Gives back the tokens of a job.
    pub fn give_back(&mut self, ix: Ix, uses: &Uses) {
        if uses.is_empty() {
            return;
        }
        let units = self.units.remove(&ix).unwrap_or_default();
        for (name, n) in uses {
            let known = units.get(name).map_or(&[][..], Vec::as_slice);
            let Some(in_use) = self.in_use.get_mut(name) else {
                debug_assert!(false, "{name} was not taken");
                continue;
            };
            in_use.sum.remove(*n, known);
            for unit in known {
                // Records that were edited by hand may name a unit twice: then it is free when both jobs are over.
                if let Some(at) = in_use.units.iter().position(|taken| taken == unit) {
                    in_use.units.swap_remove(at);
                }
            }
            if in_use.sum.count == 0 {
                self.in_use.remove(name);
            }
        }
    }
}
