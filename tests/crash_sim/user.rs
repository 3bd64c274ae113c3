//! A user at a shell, without the spool's code and without syncs. The user is responsible for the jobs that he moves.

use super::ledger::{Hand, Hold, Job, ask, token};
use super::life::queue;
use super::simfs::SimFs;
use pirn::core::record::{Record, Work};
use pirn::core::time::Wall;
use pirn::os::dir::How;
use pirn::spool::{Fs, Place};

impl SimFs {
    pub fn token_at(&self, place: &Place, name: &str) -> Option<String> {
        let entry = (place.clone(), name.as_bytes().to_vec());
        let bytes = self.world().disk.bytes(&entry)?;
        token(&Record::from_bytes(&bytes).ok()?)
    }

    /// The meaning of a move of this file now.
    pub fn hand(&self, place: &Place, name: &str) -> Hand {
        let entry = (place.clone(), name.as_bytes().to_vec());
        let bytes = self.world().disk.bytes(&entry);
        let record = bytes.and_then(|bytes| Record::from_bytes(&bytes).ok());
        match record.is_some_and(|record| record.is_over()) {
            true => Hand::Ended,
            false => Hand::Unended,
        }
    }

    /// A year after the oldest file was written, so that no file is so young that it is waited for.
    pub fn now(&self) -> Wall {
        let year = 365 * 86_400;
        Wall((year + self.world().disk.age() as i64) * 1_000_000_000)
    }

    pub fn let_go(&self, token: Option<&str>) {
        if let Some(token) = token {
            self.learn(|ledger| ledger.let_go(token));
        }
    }

    /// The job is to run again, from its first try.
    pub fn afresh(&self, token: Option<&str>) {
        if let Some(token) = token {
            self.learn(|ledger| {
                ledger.job(token, |job| {
                    (job.begun, job.counted) = (0, 0);
                    job.started_once = false;
                    job.cancelled = false;
                    job.held = false;
                    job.retried = None;
                });
            });
        }
    }

    pub fn user_mv(&self, from: &Place, name: &str, to: &Place, new_name: &str) {
        let token = self.token_at(from, name);
        self.during("a user moves a file");
        let hand = self.hand(from, name);
        if let Some(token) = &token {
            self.learn(|ledger| ledger.job(token, |job| job.hand = hand));
        }
        self.afresh(token.as_deref());
        // The user may be too late.
        let _ = self.rename(from, name.as_bytes(), to, new_name.as_bytes(), How::Replace);
    }

    pub fn user_rm(&self, place: &Place, name: &str) {
        self.let_go(self.token_at(place, name).as_deref());
        self.during("a user removes a file");
        let _ = self.unlink(place, name.as_bytes());
    }

    pub fn user_mkdir(&self, name: &str) {
        self.during("a user makes a queue");
        self.make_queue(&queue(name)).expect("made");
    }

    /// A user drops a newer file over or beside another. It has a token of its own.
    pub fn user_drop(&self, place: &Place, name: &str, token: &str) {
        let record = Record::new(Work::Text(format!(": {token} dropped in between")));
        let job = Job {
            ask: ask(&record),
            ..Job::default()
        };
        self.learn(|ledger| {
            ledger.jobs.insert(token.to_owned(), job);
        });
        self.during("a user drops a file in between");
        let text = record.to_json();
        self.write_new(&Place::Store, b"other", text.as_bytes(), false)
            .expect("written");
        let dropped = self.rename(
            &Place::Store,
            b"other",
            place,
            name.as_bytes(),
            How::Replace,
        );
        if dropped.is_ok() {
            self.learn(|ledger| ledger.job(token, |job| job.hold = Hold::Kill));
        }
    }
}
