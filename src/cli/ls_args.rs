//! The arguments of `pirn ls`.

use super::rows::Form;
use super::select::Filter;
use crate::core::id::JobId;
use crate::core::record::State;

#[derive(Debug, Default, clap::Args)]
pub struct LsArgs {
    /// States to list, or jobs: ids, `last` (the newest), `last~2` (two before it), `3-7` (all with these numbers)
    /// [default: all; of the finished, the newest 20]
    #[arg(value_name = "STATE|ID")]
    pub words: Vec<JobId>,
    /// At most this many of each state; of the finished the newest [default: 20 of the finished]
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    /// All jobs
    #[arg(short, long, conflicts_with = "limit")]
    all: bool,
    /// All jobs, in the order of the directories
    ///
    /// With --ids and without --tag no file is read, so that a million ids are listed at once.
    #[arg(short = 'U', long, conflicts_with = "limit")]
    pub unsorted: bool,
    /// Only the ids, one a line
    #[arg(long, conflicts_with_all = ["json", "jsonl"])]
    ids: bool,
    /// As a JSON list of records
    ///
    /// Each has its `state`, and if it waits the reason (`waiting`).
    #[arg(long, conflicts_with = "jsonl")]
    json: bool,
    /// The same records as JSON, one a line
    #[arg(long)]
    jsonl: bool,
    #[command(flatten)]
    pub filter: Filter,
}

/// The order in which states are listed.
pub const ORDER: [State; 5] = [
    State::Active,
    State::Pending,
    State::Held,
    State::Failed,
    State::Complete,
];

/// Most finished jobs of a state that are listed, unless the options ask for more.
const FINISHED: usize = 20;

impl LsArgs {
    pub fn form(&self) -> Form {
        match (self.ids, self.json, self.jsonl) {
            (true, _, _) => Form::Ids,
            (false, true, _) => Form::Json,
            (false, false, true) => Form::JsonLines,
            (false, false, false) => Form::Table,
        }
    }

    /// Separates the words that are states from those that stand for jobs.
    pub fn take_states(&mut self) {
        let state_of = |word: &JobId| ORDER.into_iter().find(|s| s.as_str() == word.as_str());
        let states = self.words.iter().filter_map(state_of);
        self.filter.states = states.collect();
        self.words.retain(|word| state_of(word).is_none());
    }

    /// True if states or jobs are named.
    fn names_states_or_jobs(&self) -> bool {
        !self.words.is_empty() || !self.filter.states.is_empty() || self.filter.failed
    }

    pub fn says_nothing(&self) -> bool {
        self.words.is_empty() && self.filter.is_empty()
    }

    /// The most jobs of a state that are listed.
    pub fn most(&self, state: State) -> usize {
        match (self.all || self.unsorted, self.limit) {
            (true, _) => usize::MAX,
            (false, Some(limit)) => limit,
            (false, None) if state.is_final() && !self.names_states_or_jobs() => FINISHED,
            (false, None) => usize::MAX,
        }
    }
}
