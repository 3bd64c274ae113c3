//! From a life to its images: every moment of it, cut in every way that is affordable.

use super::check::{Cut, Promises, recover, recover_from_recovery};
use super::dice::Dice;
use super::disk::Data;
use super::life::Life;
use super::simfs::SimFs;
use super::units::outlive;
use super::world::Moment;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The effort of a search.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Up to this many unsynced operations, all subsets are tried; beyond, samples.
    pub all_of: usize,
    /// The number of samples.
    pub samples: usize,
    /// Percent of images with a second cut, during recovery.
    pub second: u64,
}

/// Images that were tried, with their promises.
pub type Seen = HashSet<u64>;

/// The number of cases.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    pub lives: u64,
    pub steps: u64,
    pub moments: u64,
    /// Moments of which all subsets were tried.
    pub exhausted: u64,
    pub images: u64,
    pub second_cuts: u64,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lives,
            steps,
            moments,
            exhausted,
            images,
            second_cuts,
        } = self;
        write!(
            f,
            "{lives} lives, {steps} operations, {moments} moments to die ({exhausted} in every way), \
             {images} images recovered, {second_cuts} of them cut again"
        )
    }
}

impl Tried {
    pub fn add(&mut self, other: Self) {
        self.lives += other.lives;
        self.steps += other.steps;
        self.moments += other.moments;
        self.exhausted += other.exhausted;
        self.images += other.images;
        self.second_cuts += other.second_cuts;
    }
}

/// Lives a life, then dies at each moment of it.
pub fn explore(
    fs: &SimFs,
    durable: bool,
    live: impl FnOnce(&mut Life),
    effort: Effort,
    dice: &mut Dice,
    seen: &mut Seen,
) -> Result<Tried, String> {
    live(&mut Life::new(fs.clone(), durable));
    if fs.no_deed() {
        // The deed comes after the end of the life, so that this is a life as any other.
        return Ok(Tried::default());
    }
    if let Some(what) = fs.world().broken.take() {
        return Err(what);
    }
    let (moments, story, steps) = {
        let mut world = fs.world();
        let moments = std::mem::take(&mut world.moments);
        (moments, world.story.clone(), world.steps)
    };
    let mut explorer = Explorer {
        effort,
        seen,
        tried: Tried {
            lives: 1,
            steps: steps as u64,
            ..Tried::default()
        },
    };
    for moment in &moments {
        if let Err(what) = explorer.die_at(moment, dice) {
            let told = &story[..moment.told.min(story.len())];
            let lines = super::from_env("PIRN_CRASH_SIM_LINES").unwrap_or(25) as usize;
            let last = &told[told.len().saturating_sub(lines)..];
            return Err(format!("{what}\n    {}", last.join("\n    ")));
        }
    }
    Ok(explorer.tried)
}

struct Explorer<'a> {
    effort: Effort,
    seen: &'a mut Seen,
    tried: Tried,
}

impl Explorer<'_> {
    fn die_at(&mut self, moment: &Moment, dice: &mut Dice) -> Result<(), String> {
        let mut hasher = DefaultHasher::new();
        (&moment.disk, &moment.ledger).hash(&mut hasher);
        if !self.seen.insert(hasher.finish()) {
            return Ok(());
        }
        self.tried.moments += 1;
        self.try_image(moment, None, Data::Full, dice)?;
        if moment.ledger.living().next().is_some() {
            outlive(moment).map_err(|what| format!("the programs lived on: {what}"))?;
        }
        let data = match moment.disk.has_unsynced_data() {
            true => [Data::Full, Data::Empty, Data::Torn, Data::Mixed].as_slice(),
            false => &[Data::Full],
        };
        let open = moment.disk.open_questions();
        let mut survivors: BTreeSet<BTreeSet<u64>> = BTreeSet::new();
        if open.len() <= self.effort.all_of {
            self.tried.exhausted += 1;
            for mask in 0..1u64 << open.len() {
                let kept = |id| {
                    open.iter()
                        .position(|o| *o == id)
                        .is_some_and(|n| mask >> n & 1 == 1)
                };
                survivors.insert(moment.disk.closure(kept));
            }
        } else {
            for sample in 0..self.effort.samples {
                // Few, half or most of them; and the prefixes that a journal would leave.
                let share = [15, 50, 85][sample % 3];
                let kept: HashSet<u64> = match sample % 4 {
                    3 => open[..dice.index(open.len() + 1)].iter().copied().collect(),
                    _ => open
                        .iter()
                        .copied()
                        .filter(|_| dice.percent(share))
                        .collect(),
                };
                survivors.insert(moment.disk.closure(|id| kept.contains(&id)));
            }
        }
        // If there are many images, each gets one of the ways in which data can be lost.
        let data = if survivors.len() > 100 {
            &[Data::Mixed]
        } else {
            data
        };
        for survived in &survivors {
            for data in data {
                self.try_image(moment, Some(survived), *data, dice)?;
            }
        }
        Ok(())
    }

    fn try_image(
        &mut self,
        moment: &Moment,
        survived: Option<&BTreeSet<u64>>,
        data: Data,
        dice: &mut Dice,
    ) -> Result<(), String> {
        let (image, cut) = match survived {
            None => (moment.disk.clone(), Cut::Kill),
            Some(survived) => (moment.disk.image(survived, data, dice), Cut::Power),
        };
        let promises = Promises::at(moment, cut);
        let mut hasher = DefaultHasher::new();
        (image.fingerprint(), cut, promises.ledger, &promises.visible).hash(&mut hasher);
        if !self.seen.insert(hasher.finish()) {
            return Ok(());
        }
        self.tried.images += 1;
        let explain = |what| {
            format!(
                "{cut:?}, {survived:?} of {:?} survived, data {data:?}: {what}",
                moment.disk.open_questions()
            )
        };
        let fs = recover(image, &promises).map_err(explain)?;
        if dice.percent(self.effort.second) {
            self.tried.second_cuts += 1;
            recover_from_recovery(&fs, &promises, dice).map_err(explain)?;
        }
        Ok(())
    }
}
