//! Whether the spool takes a new job now, and the settings that a job is accepted with.

use super::exit::{Failure, NOT_NOW};
use super::settings;
use crate::core::config::Config;
use crate::core::id::QueueName;
use crate::core::record::{Record, Work};
use crate::core::scheduler::Demand;
use crate::core::units::jobs_wait;
use crate::spool::{NotAdmitted, Place, Spool};
use std::io;
use std::path::Path;
use std::sync::{Arc, Once};

/// Refuses new jobs while the disk is nearly full or has failed.
pub fn admit(spool: &Spool) -> Result<Config, Failure> {
    let config = settings_or_defaults(spool);
    spool.use_settings(&Arc::new(config.clone()));
    spool.admit(&config).map_err(not_now)?;
    Ok(config)
}

/// The settings. While their file is not valid, the daemon keeps its earlier ones, which are not known here. Jobs are
/// then accepted with the defaults, and the user is told once.
fn settings_or_defaults(spool: &Spool) -> Config {
    static TOLD: Once = Once::new();
    settings::read(spool.path()).unwrap_or_else(|e| {
        TOLD.call_once(|| {
            eprintln!("pirn: {e}; until that is mended, jobs that do not say how many tries they have get 1");
        });
        Config::default()
    })
}

/// Warns if the job's directory or program is missing, without which it cannot be started, or if the job asks for more
/// slots or tokens than there are. The job is accepted all the same.
pub fn tell_obstacles(spool: &Spool, config: &Config, queue: &QueueName, record: &Record) {
    let cwd = record.cwd.as_ref();
    if let Some(path) = cwd.filter(|path| !Path::new(path).is_dir()) {
        eprintln!("pirn: there is no directory {path} here; without it, the job cannot be started");
    }
    if let Work::Script { name, .. } = &record.work
        && let Err(e) = spool.check_script(name)
        && e.kind() == io::ErrorKind::NotFound
    {
        eprintln!(
            "pirn: there is no program {name} in {}; without it, the job cannot be started",
            spool.path_of(&Place::Scripts).display()
        );
    }
    let demand = Demand::new(record.slots, &record.uses);
    if demand == Demand::default() {
        return;
    }
    let waits = spool.waits(config).ok();
    if let Some(waiting) = waits.and_then(|waits| waits.facts().excess(queue, &demand)) {
        eprintln!("pirn: {}; the job waits until there are more", waiting.text);
    }
}

/// How many more jobs may wait. Refuses new jobs if that is none.
pub fn room(spool: &Spool, config: &Config) -> Result<u64, Failure> {
    spool.room(config).map_err(not_now)
}

/// Refuses a new job while this many wait.
pub fn limit(spool: &Spool, most: u64) -> Result<(), Failure> {
    let config = Config {
        max_pending: Some(most),
        ..Config::default()
    };
    match spool.room(&config) {
        Ok(_) => Ok(()),
        Err(NotAdmitted::Full { waiting, most }) => {
            let what = format!("not accepted: {}, --max is {most}", jobs_wait(waiting));
            Err(Failure::new(NOT_NOW, what))
        }
        Err(why) => Err(not_now(why)),
    }
}

fn not_now(why: NotAdmitted) -> Failure {
    match why {
        NotAdmitted::Io(e) => e.into(),
        NotAdmitted::Trouble(_) | NotAdmitted::Shortage(_) | NotAdmitted::Full { .. } => {
            Failure::new(NOT_NOW, why.to_string())
        }
    }
}

/// Refuses a record that is larger than `max_job_bytes`.
pub fn check_size(text: &str, config: &Config) -> Result<(), String> {
    let (size, most) = (text.len() as u64, config.max_job_bytes);
    match size > most {
        true => Err(format!(
            "the job's record would be {size} bytes; max_job_bytes is {most}"
        )),
        false => Ok(()),
    }
}
