//! The promises, checked on the files of a spool after a crash and after recovery.

use super::dice::Dice;
use super::disk::{Data, Disk};
use super::ledger::{End, Hand, Hold, Job, Ledger, ask};
use super::served::Served;
use super::simfs::SimFs;
use super::survey::{Found, Survey, places};
use super::world::Moment;
use pirn::core::record::{Reason, Record, Work};
use pirn::spool::{NewId, Place, Spool, Submit};
use std::collections::BTreeSet;
use std::path::Path;

/// How the world ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cut {
    /// The processes were killed: nothing is lost.
    Kill,
    /// The power went.
    Power,
}

/// The reason for no further try although the job had tries left: a newer file has its name.
const SUPERSEDED: &str = "not tried again: something else has its name in pending/ by now";

/// The default for the interruption that ends a job.
const MOST_INTERRUPTIONS: usize = 3;

/// The promises at a moment.
pub struct Promises<'a> {
    pub ledger: &'a Ledger,
    pub visible: Vec<(String, Place, End)>,
    pub cut: Cut,
    pub cuts: u32,
}

impl<'a> Promises<'a> {
    pub fn at(moment: &'a Moment, cut: Cut) -> Self {
        Self {
            ledger: &moment.ledger,
            visible: Survey::of(&moment.disk).visible(),
            cut,
            cuts: 1,
        }
    }

    /// Checks the image before recovery.
    pub fn judge_image(&self, survey: &Survey) -> Result<(), String> {
        for (token, found) in &survey.jobs {
            let all = survey.find(token);
            if all.len() > 1 && found.place != Place::Bad {
                return Err(format!("{token} is in two places: {}", places(&all)));
            }
            let is_shown = found.is_final() && End::of(&found.record).is_some();
            if is_shown && self.ledger.jobs[token].ask != ask(&found.record) {
                return Err(format!("{token} is shown with other content"));
            }
        }
        for (place, name) in &survey.broken {
            // A drop that a user moved on without syncing is the user's responsibility.
            let is_users = self.ledger.jobs.values().any(|job| job.hand != Hand::Off);
            if matches!(place, Place::Complete | Place::Failed) && !is_users {
                return Err(format!("a torn record is shown: {place:?}/{name}"));
            }
        }
        Ok(())
    }

    /// Checks the spool after recovery.
    pub fn judge(&self, survey: &Survey) -> Result<(), String> {
        for (name, places) in &survey.names {
            // If two wait in different queues, the scheduler decides which is newer.
            let wait = places.iter().all(|place| place.queue().is_some());
            // A held job and a file that is dropped under its name are two jobs.
            let others = places.iter().filter(|place| **place != Place::Held);
            if others.count() > 1 && !wait {
                return Err(format!("two files are called {name}: {places:?}"));
            }
            if places.contains(&Place::Active) {
                return Err(format!("active/{name} was left behind"));
            }
        }
        for (token, job) in &self.ledger.jobs {
            let found = survey.find(token);
            self.judge_job(token, job, &found)
                .map_err(|what| format!("{token} {what}; found {}", places(&found)))?;
        }
        for (token, place, end) in &self.visible {
            let found = survey.find(token);
            self.judge_visible(token, place, end, &found)
                .map_err(|what| {
                    format!(
                        "{token} was seen in {place:?}, {end:?}, {what}; found {}",
                        places(&found)
                    )
                })?;
        }
        Ok(())
    }

    fn judge_job(&self, token: &str, job: &Job, found: &[&Found]) -> Result<(), String> {
        let must_be = job.hold == Hold::Power || (job.hold == Hold::Kill && self.cut == Cut::Kill);
        let Some(one) = found.first() else {
            return match must_be {
                true => Err("has vanished".to_owned()),
                false => Ok(()),
            };
        };
        if found.len() > 1 {
            return Err("is in two places".to_owned());
        }
        // A copy that is kept in `bad/` is not run.
        if job.gone && one.place != Place::Bad {
            return Err("is there again, though it was removed".to_owned());
        }
        if must_be && job.ask != ask(&one.record) {
            return Err(format!("has other content than {token} was given"));
        }
        let waits = one.place.queue().is_some();
        if job.started_once && waits {
            return Err("would run twice, though it said once".to_owned());
        }
        if job.held && waits {
            return Err("would run, though it is held".to_owned());
        }
        if job.cancelled && one.place != Place::Failed {
            return Err("runs again, though it was cancelled".to_owned());
        }
        if let (Some(ended), Some(end)) = (job.retried, End::of(&one.record))
            && one.is_final()
            && end.finished == ended
        {
            return Err("was to be run again and is not".to_owned());
        }
        if one.place == Place::Bad || job.hand != Hand::Off {
            return Ok(());
        }
        judge_interruptions(&one.record)?;
        let floor = match self.cut {
            Cut::Kill => job.begun,
            Cut::Power => job.counted,
        };
        if one.record.attempt < floor {
            let counted = one.record.attempt;
            return Err(format!("has begun {floor} tries, {counted} are counted"));
        }
        if one.record.attempt > job.most + self.cuts {
            let (counted, most) = (one.record.attempt, job.most);
            return Err(format!("has begun {most} tries, {counted} are counted"));
        }
        Ok(())
    }

    fn judge_visible(
        &self,
        token: &str,
        place: &Place,
        end: &End,
        found: &[&Found],
    ) -> Result<(), String> {
        let hand = self.ledger.jobs[token].hand;
        let Some(one) = found.first() else {
            // A drop that its user did not sync and then moved: the file is there, its content may not be.
            let Job { hold, hand, .. } = &self.ledger.jobs[token];
            return match (hold, hand) {
                (Hold::None | Hold::Kill, Hand::Unended | Hand::Ended) => Ok(()),
                _ => Err("and has vanished".to_owned()),
            };
        };
        match (hand, End::of(&one.record)) {
            // A user moved it there without syncing it.
            (Hand::Ended, _) => Ok(()),
            (Hand::Off | Hand::Unended, _) if one.place != *place => {
                Err("but not there any more".to_owned())
            }
            (Hand::Off, Some(now)) if now == *end => Ok(()),
            (Hand::Off, _) => Err("but not its end".to_owned()),
            // The end is being written into a file that a user has moved there: only the place is checked.
            (Hand::Unended, _) => Ok(()),
        }
    }
}

/// Each interruption is counted, and only the last one that a job may have ends it.
fn judge_interruptions(record: &Record) -> Result<(), String> {
    let cut = Some(Reason::Interrupted);
    let listed = record.attempts.iter().filter(|t| Some(t.reason) == cut);
    let (listed, counted) = (listed.count(), record.interruptions as usize);
    if listed != counted {
        return Err(format!(
            "was interrupted {listed} times, {counted} are counted"
        ));
    }
    let superseded = record.error.as_deref() == Some(SUPERSEDED);
    let most = if record.once { 1 } else { MOST_INTERRUPTIONS };
    if record.is_over() && record.reason == cut && counted < most && !superseded {
        return Err(format!("has failed after {counted} interruptions"));
    }
    match record.is_over() || counted < most {
        true => Ok(()),
        false => Err(format!("is to run again after {counted} interruptions")),
    }
}

/// Recovers a spool as the daemon would, twice; checks it; and takes a new number.
pub fn recover(image: Disk, promises: &Promises<'_>) -> Result<SimFs, String> {
    promises.judge_image(&Survey::of(&image))?;
    let fs = SimFs::over(image);
    Served::begin(&fs, true).map_err(|e| format!("recovery failed: {e}"))?;
    let survey = Survey::of(&fs.world().disk);
    promises.judge(&survey)?;
    let again = SimFs::over(fs.world().disk.clone());
    Served::begin(&again, true).map_err(|e| format!("the second recovery failed: {e}"))?;
    let second = Survey::of(&again.world().disk);
    if survey.listing() != second.listing() {
        return Err("the second recovery changed something".to_owned());
    }
    judge_numbers(&again, promises)?;
    Ok(fs)
}

fn judge_numbers(fs: &SimFs, promises: &Promises<'_>) -> Result<(), String> {
    let boot = match promises.cut {
        Cut::Kill => "boot-1",
        Cut::Power => "boot-2",
    };
    let door = Spool::over(fs.clone(), Path::new("/sim"), true);
    let mut record = Record::new(Work::Text(": new00".to_owned()));
    let job = Submit {
        record: &mut record,
        queue: Default::default(),
        held: false,
        id: NewId::Next,
    };
    let id = door
        .submit(job, boot)
        .map_err(|e| format!("nothing can be submitted after recovery: {e}"))?;
    let number = id.as_str().parse().unwrap_or(0);
    match promises.ledger.numbers.contains(&number) {
        true => Err(format!("the number {number} was given twice")),
        false => Ok(()),
    }
}

/// The power goes again, during recovery.
pub fn recover_from_recovery(
    fs: &SimFs,
    promises: &Promises<'_>,
    dice: &mut Dice,
) -> Result<(), String> {
    let moment = {
        let world = fs.world();
        if world.moments.is_empty() {
            return Ok(());
        }
        dice.pick(&world.moments).clone()
    };
    let open = moment.disk.open_questions();
    let kept: BTreeSet<u64> = open.into_iter().filter(|_| dice.percent(50)).collect();
    let survived = moment
        .disk
        .closure(|id| kept.contains(&id) || dice_of(id).is_multiple_of(2));
    let image = moment.disk.image(&survived, Data::Mixed, dice);
    let promises = Promises {
        ledger: promises.ledger,
        visible: Survey::of(&moment.disk).visible(),
        cut: Cut::Power,
        cuts: promises.cuts + 1,
    };
    recover(image, &promises)
        .map(drop)
        .map_err(|what| format!("after a second cut during recovery: {what}"))
}

/// For staging names, a coin decides: not every combination is tried.
fn dice_of(id: u64) -> u64 {
    Dice::new(id).roll()
}
