//! The files in a spool, and their directories.

use super::disk::{Disk, Node};
use super::ledger::{End, token};
use pirn::core::record::Record;
use pirn::spool::Place;
use std::collections::{BTreeMap, BTreeSet};

/// The file of a job.
#[derive(Debug, Clone)]
pub struct Found {
    pub place: Place,
    pub name: String,
    pub record: Record,
}

impl Found {
    pub fn is_final(&self) -> bool {
        matches!(self.place, Place::Complete | Place::Failed)
    }
}

/// All files of a spool.
pub struct Survey {
    pub jobs: Vec<(String, Found)>,
    /// Files in a state's directory that are no jobs.
    pub broken: Vec<(Place, String)>,
    /// State directories by name.
    pub names: BTreeMap<String, Vec<Place>>,
}

impl Survey {
    pub fn of(disk: &Disk) -> Self {
        let mut survey = Self {
            jobs: Vec::new(),
            broken: Vec::new(),
            names: BTreeMap::new(),
        };
        for ((place, name), ino) in &disk.live {
            let is_state = place.queue().is_some()
                || matches!(
                    place,
                    Place::Held | Place::Active | Place::Complete | Place::Failed
                );
            if !is_state && *place != Place::Bad {
                continue;
            }
            let Node::File { bytes, .. } = &disk.nodes[ino] else {
                continue;
            };
            let name = String::from_utf8_lossy(name).into_owned();
            if is_state {
                let places = survey.names.entry(name.clone()).or_default();
                places.push(place.clone());
            }
            match Record::from_bytes(bytes).map(|record| (token(&record), record)) {
                Ok((Some(token), record)) => {
                    let place = place.clone();
                    let found = Found {
                        place,
                        name,
                        record,
                    };
                    survey.jobs.push((token, found));
                }
                Ok((None, _)) | Err(_) => survey.broken.push((place.clone(), name)),
            }
        }
        survey
    }

    pub fn find(&self, token: &str) -> Vec<&Found> {
        let mine = self.jobs.iter().filter(|(t, _)| t == token);
        let mut mine: Vec<&Found> = mine.map(|(_, found)| found).collect();
        // `bad/` may hold copies; they count only if the job is nowhere else.
        if mine.iter().any(|found| found.place != Place::Bad) {
            mine.retain(|found| found.place != Place::Bad);
        }
        mine
    }

    /// The records with a visible end.
    pub fn visible(&self) -> Vec<(String, Place, End)> {
        let shown = self.jobs.iter().filter(|(_, found)| found.is_final());
        shown
            .filter_map(|(token, found)| {
                Some((token.clone(), found.place.clone(), End::of(&found.record)?))
            })
            .collect()
    }

    /// For comparing two states of a spool.
    pub fn listing(&self) -> BTreeSet<(String, Place, String, u32)> {
        let listed = self.jobs.iter().map(|(token, found)| {
            let (place, name) = (found.place.clone(), found.name.clone());
            (token.clone(), place, name, found.record.attempt)
        });
        listed.collect()
    }
}

pub fn places(found: &[&Found]) -> String {
    let all = found.iter().map(|f| {
        let end = End::of(&f.record);
        format!("{:?}/{} try {} {end:?}", f.place, f.name, f.record.attempt)
    });
    format!("[{}]", all.collect::<Vec<_>>().join(", "))
}
