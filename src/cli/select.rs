//! The jobs that a command line means: ids, words that stand for jobs, and options that jobs have to match.

use super::existing;
use super::exit::{Failure, NO_INPUT, USAGE};
use crate::core::id::{JobId, QueueName, natural_order};
use crate::core::record::{Record, State};
use crate::core::select::{Selector, number};
use crate::spool::{Spool, Where};
use std::collections::HashSet;

/// Properties of the jobs that are meant.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Which jobs")]
pub struct Filter {
    /// Only jobs of this queue
    ///
    /// A queue exists if it has a directory in `pending/`, if the settings name it, or if the record of a job does.
    #[arg(short, long, value_name = "QUEUE")]
    pub queue: Option<QueueName>,
    /// Only jobs with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only jobs with this name (the label, not the id)
    #[arg(long)]
    name: Option<String>,
    /// Only failed jobs
    #[arg(long)]
    pub failed: bool,
    /// Only jobs in one of these states; in any state if the list is empty.
    #[arg(skip)]
    pub states: Vec<State>,
}

/// The jobs of a command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which jobs")]
pub struct Selection {
    /// Jobs: ids, `last` (the newest), `last~2` (two before it), `3-7` (all with these numbers)
    #[arg(value_name = "ID")]
    words: Vec<JobId>,
    #[command(flatten)]
    pub filter: Filter,
    /// All jobs that the command can be applied to
    #[arg(long)]
    pub all: bool,
}

/// The jobs that were found.
#[derive(Debug)]
pub struct Selected {
    /// Their ids.
    pub ids: Vec<JobId>,
    /// True if the command line names them, and not only their properties. Then each of them is expected to be in a
    /// state that allows what is to be done.
    pub are_named: bool,
}

impl Filter {
    /// Fails for a queue that there is not.
    pub fn check(&self, spool: &Spool) -> Result<(), Failure> {
        match &self.queue {
            Some(queue) => existing::queue(spool, queue),
            None => Ok(()),
        }
    }

    /// True if the record of a job decides, and not its place alone.
    pub fn needs_record(&self, at: &Where) -> bool {
        let is_of_place = matches!(at, Where::Pending(_)) || self.queue.is_none();
        self.tag.is_some() || self.name.is_some() || !is_of_place
    }

    /// False for the jobs of a place that cannot match.
    fn allows(&self, at: &Where) -> bool {
        let of_queue = match at {
            Where::Pending(queue) => self.queue.as_ref().is_none_or(|wanted| wanted == queue),
            Where::Held | Where::Active | Where::Complete | Where::Failed => true,
        };
        let of_state = self.states.is_empty() || self.states.contains(&at.state());
        of_queue && of_state && (!self.failed || *at == Where::Failed)
    }

    /// True if the record is that of a job which matches.
    pub fn matches(&self, record: &Record) -> bool {
        let of_queue = |queue: &QueueName| match &record.queue {
            Some(of) => of == queue,
            None => queue.is_default(),
        };
        self.queue.as_ref().is_none_or(of_queue)
            && self.tag.as_ref().is_none_or(|t| record.tags.contains(t))
            && (self.name.is_none() || self.name == record.name)
    }

    /// True if it asks for what the job is, and not only for where it is.
    pub fn describes_jobs(&self) -> bool {
        self.tag.is_some() || self.name.is_some() || self.failed
    }

    /// True if all jobs match.
    pub fn is_empty(&self) -> bool {
        self.queue.is_none() && self.states.is_empty() && !self.describes_jobs()
    }

    /// True if a job, which was found in this place, matches. It may have moved on since.
    fn takes(&self, spool: &Spool, id: &JobId, at: &Where) -> Result<bool, Failure> {
        if !self.allows(at) || !self.needs_record(at) {
            return Ok(self.allows(at));
        }
        Ok(match spool.load(id, at)? {
            Some(record) => self.matches(&record),
            None => spool
                .get(id)?
                .is_some_and(|found| self.allows(&found.at) && self.matches(&found.record)),
        })
    }

    /// The places of the jobs in these states, but for those whose jobs cannot match.
    pub fn places(&self, spool: &Spool, states: &[State]) -> Result<Vec<Where>, Failure> {
        let mut places = Vec::new();
        for state in states {
            places.extend(spool.places_of(*state)?);
        }
        places.retain(|at| self.allows(at));
        Ok(places)
    }

    /// All jobs in these states that match and of which `wanted` says so, ordered by their ids.
    fn all(
        &self,
        spool: &Spool,
        states: &[State],
        wanted: impl Fn(&JobId) -> bool,
    ) -> Result<Vec<JobId>, Failure> {
        let places = self.places(spool, states)?;
        // A job that runs may go back to wait when the waiting ones are listed already, so these are listed again.
        let is_again = |at: &&Where| {
            matches!(at, Where::Pending(_) | Where::Held) && states.contains(&State::Active)
        };
        let again = places.iter().filter(is_again);
        let mut seen = HashSet::new();
        let mut ids = Vec::new();
        for at in places.iter().chain(again) {
            for id in spool.ids_there(at)? {
                let is_new = !is_again(&at) || seen.insert((at, id.clone()));
                if is_new && wanted(&id) && self.takes(spool, &id, at)? {
                    ids.push(id);
                }
            }
        }
        ids.sort_by(|a, b| natural_order(a.as_str(), b.as_str()));
        // A job that moved on during the listing was found twice.
        ids.dedup();
        Ok(ids)
    }

    /// The job that is older than `n` others among those that match.
    fn newest(&self, spool: &Spool, n: usize) -> Result<JobId, Failure> {
        let places = self.places(spool, &State::ALL)?;
        let mut newer = 0;
        for job in spool.newest_first(places)? {
            let (id, at) = job?;
            if self.takes(spool, &id, &at)? {
                if newer == n {
                    return Ok(id);
                }
                newer += 1;
            }
        }
        let such = if self.is_empty() { "" } else { " such" };
        let what = match newer {
            0 => format!("there is no{such} job in {}", spool.path().display()),
            1 => format!("there is no last~{n}: only one{such} job"),
            _ => format!("there is no last~{n}: only {newer}{such} jobs"),
        };
        Err(Failure::new(NO_INPUT, what))
    }

    /// The jobs that a word stands for.
    pub fn meant_by(&self, spool: &Spool, word: &JobId) -> Result<Vec<JobId>, Failure> {
        let selector = Selector::of(word);
        if self.is_empty() && selector.is_none() {
            return Ok(vec![word.clone()]);
        }
        match (spool.find(word)?, selector) {
            (Some(at), _) => match self.takes(spool, word, &at)? {
                true => Ok(vec![word.clone()]),
                false => {
                    let what = format!("job {word} is none of those that the options mean");
                    Err(Failure::new(NO_INPUT, what))
                }
            },
            (None, None) => Err(Failure::no_job(word)),
            (None, Some(Selector::Last(n))) => Ok(vec![self.newest(spool, n)?]),
            (None, Some(Selector::Numbers(range))) => {
                let in_range = |id: &JobId| number(id).is_some_and(|n| range.contains(&n));
                let ids = self.all(spool, &State::ALL, in_range)?;
                match ids.is_empty() {
                    true => Err(Failure::no_job(word)),
                    false => Ok(ids),
                }
            }
        }
    }
}

fn tell_none() {
    eprintln!("pirn: there is no such job");
}

/// The jobs that these words stand for, where only words can be given.
pub fn meant_by(spool: &Spool, words: &[JobId]) -> Result<Vec<JobId>, Failure> {
    let filter = Filter::default();
    let meant = words.iter().map(|word| filter.meant_by(spool, word));
    Ok(meant.collect::<Result<Vec<_>, _>>()?.concat())
}

impl Selection {
    /// The jobs for a command that changes something, which has to be told which ones. Options alone mean the jobs in
    /// `states` that match.
    pub fn to_change(&self, spool: &Spool, states: &[State]) -> Result<Selected, Failure> {
        if self.says_nothing() {
            let what = "say which jobs: ids, last, 3-7, or options such as --queue and --all";
            return Err(Failure::new(USAGE, what));
        }
        let found = self.find(spool, states)?;
        // A queue without such jobs is as it should be; a tag may be mistyped.
        if found.ids.is_empty() && self.filter.describes_jobs() && !self.filter.failed {
            tell_none();
        }
        Ok(found)
    }

    /// The jobs for a command that only looks: the newest, if nothing is said.
    pub fn to_look_at(&self, spool: &Spool, states: &[State]) -> Result<Selected, Failure> {
        if self.says_nothing() {
            let ids = vec![self.filter.newest(spool, 0)?];
            let are_named = true;
            return Ok(Selected { ids, are_named });
        }
        let found = self.find(spool, states)?;
        if found.ids.is_empty() && states.contains(&State::Complete) {
            tell_none();
        } else if found.ids.is_empty() {
            eprintln!("pirn: no such job waits or runs");
        }
        Ok(found)
    }

    /// Takes the last word, which means something else than jobs.
    pub fn take_last_word(&mut self) -> Option<JobId> {
        self.words.pop()
    }

    /// True for a command line that says nothing about jobs.
    pub fn says_nothing(&self) -> bool {
        self.words.is_empty() && self.filter.is_empty() && !self.all
    }

    fn find(&self, spool: &Spool, states: &[State]) -> Result<Selected, Failure> {
        self.filter.check(spool)?;
        let are_named = !self.words.is_empty();
        if are_named && self.all {
            let what = format!("{}: --all means all jobs, not one", self.words[0]);
            return Err(Failure::new(USAGE, what));
        }
        let ids = match are_named {
            true => {
                let meant = self.words.iter().map(|w| self.filter.meant_by(spool, w));
                meant.collect::<Result<Vec<_>, _>>()?.concat()
            }
            false => self.filter.all(spool, states, |_| true)?,
        };
        Ok(Selected { ids, are_named })
    }
}
