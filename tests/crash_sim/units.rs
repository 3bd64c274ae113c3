//! Programs that use tokens, and live on when their daemon is killed.

use super::life::{gpus, id};
use super::served::Served;
use super::simfs::SimFs;
use super::survey::Survey;
use super::world::Moment;
use pirn::core::process::Exit;
use pirn::core::record::{Record, Work};
use pirn::spool::{NewId, Place, Spool, Submit, Where};
use std::path::Path;

/// The daemon is killed at this moment, and the next one adopts the programs: their units are noted, no other job is
/// given one of them while they live, and all of them are free afterwards. The same where the notes do not tell them.
pub fn outlive(moment: &Moment) -> Result<(), String> {
    let survey = Survey::of(&moment.disk);
    for (token, job) in &moment.ledger.jobs {
        let Some(units) = &job.lives else { continue };
        let found = survey.find(token);
        let noted = found.first().map(|found| &found.record.units);
        if noted != Some(units) {
            return Err(format!("{token} has {units:?}, {noted:?} are noted"));
        }
    }
    adopt(moment, true)?;
    adopt(moment, false).map_err(|what| format!("{what}; without notes of units"))
}

fn adopt(moment: &Moment, are_noted: bool) -> Result<(), String> {
    let fs = SimFs::over(moment.disk.clone());
    let mut living = Survey::of(&moment.disk).jobs;
    living.retain(|(token, _)| moment.ledger.jobs[token].lives.is_some());
    {
        let mut world = fs.world();
        world.ledger = moment.ledger.clone();
        world.outlived = true;
        for (_, found) in living.iter().filter(|_| !are_noted) {
            let mut record = found.record.clone();
            record.units.clear();
            let entry = (found.place.clone(), found.name.as_bytes().to_vec());
            let ino = world.disk.live[&entry];
            world.disk.write(ino, record.to_json().as_bytes());
        }
    }
    let mut daemon = Served::begin(&fs, true)?;
    let door = Spool::over(fs.clone(), Path::new("/sim"), true);
    for (name, n) in [("one", 1), ("two", 2)] {
        let mut record = Record::new(Work::Text(": other".to_owned()));
        record.uses = gpus(n);
        let job = Submit {
            record: &mut record,
            queue: Default::default(),
            held: false,
            id: NewId::Exact(id(name)),
        };
        door.submit(job, "boot-1").map_err(|e| e.to_string())?;
    }
    let waiting = || {
        door.ids(&Where::Pending(Default::default()))
            .unwrap_or_default()
    };
    for job in waiting() {
        let started = daemon.start(&job, &Default::default());
        if !are_noted && started {
            return Err(format!("{job} was started, though any unit may be in use"));
        }
    }
    daemon.end_all(Exit::Code(100));
    // Tokens are kept for the oldest job, so that each look starts one at least.
    for _ in 0..waiting().len() {
        for job in waiting() {
            if daemon.start(&job, &Default::default()) {
                daemon.end(&job, Exit::Code(100));
            }
        }
    }
    if fs
        .world()
        .disk
        .live
        .contains_key(&(Place::Pending, b"two".to_vec()))
    {
        return Err("units are not free, though nothing lives".to_owned());
    }
    match fs.world().broken.take() {
        Some(what) => Err(what),
        None => Ok(()),
    }
}
