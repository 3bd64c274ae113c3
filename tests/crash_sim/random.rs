//! Random lives: commands, daemon and users act on a handful of jobs, and now and then a user interferes.

use super::dice::Dice;
use super::life::{Life, Wish, id, queue};
use super::simfs::SimFs;
use pirn::core::id::JobId;
use pirn::core::process::Exit;
use pirn::spool::{NewId, Place, Where};

const NAMES: [&str; 3] = ["a", "b", "1"];
const ENDS: [Exit; 4] = [
    Exit::Code(0),
    Exit::Code(1),
    Exit::Code(100),
    Exit::Signal(9),
];

/// The deeds of a user with a file of this name, at any moment.
pub const DEEDS: [fn(&SimFs, &str); 13] = [
    |fs, name| fs.user_rm(&Place::Active, name),
    |fs, name| fs.user_mv(&Place::Active, name, &Place::Pending, name),
    |fs, name| fs.user_mv(&Place::Active, name, &Place::Failed, name),
    |fs, name| fs.user_mv(&Place::Active, name, &Place::Complete, name),
    |fs, name| fs.user_mv(&Place::Pending, name, &Place::Failed, name),
    |fs, name| fs.user_rm(&Place::Pending, name),
    |fs, name| fs.user_mv(&Place::Failed, name, &Place::Pending, name),
    |fs, name| fs.user_mv(&Place::Complete, name, &Place::Pending, name),
    |fs, name| fs.user_rm(&Place::Failed, name),
    |fs, name| fs.user_mv(&Place::Pending, name, &Place::Held, name),
    |fs, name| fs.user_mv(&Place::Held, name, &Place::Pending, name),
    |fs, name| fs.user_drop(&Place::Pending, name, "new01"),
    |fs, name| {
        fs.user_mkdir("mail");
        let mail = Place::Queue(queue("mail"));
        fs.user_mv(&Place::Pending, name, &mail, name);
    },
];

/// A life of a name that meets most of the protocol, whatever a user does to it meanwhile.
pub fn busy(life: &mut Life, disturb: impl FnOnce(&SimFs)) {
    let a = id("a");
    disturb(&life.fs);
    life.submit(NewId::Exact(a.clone()), Wish::PLAIN);
    life.go(&a, Some(Exit::Code(1)), true);
    life.go(&a, Some(Exit::Code(0)), false);
    life.drop_file(&Place::Pending, "a", Wish::PLAIN, true);
    life.daemon.scan();
    if let Ok(Some(Where::Pending(queue))) = life.door.find(&a) {
        life.daemon.fail(&a, &queue);
    }
    life.daemon.by_hand(&a);
}

impl Life {
    /// Runs the job if it waits.
    fn go(&mut self, job: &JobId, end: Option<Exit>, note: bool) {
        self.daemon.scan();
        if let Ok(Some(Where::Pending(queue))) = self.door.find(job) {
            self.daemon.start(job, &queue);
        }
        if note {
            self.daemon.note(job);
        }
        if let Some(end) = end {
            self.daemon.end(job, end);
        }
        self.daemon.by_hand(job);
    }

    pub fn act(&mut self, dice: &mut Dice) {
        let name = *dice.pick(&NAMES);
        let job = id(name);
        let wish = Wish {
            once: dice.percent(15),
            tries: dice.percent(30).then_some(1 + dice.below(3) as u32),
            queue: dice.percent(20).then_some("mail"),
            held: dice.percent(10),
            gpus: 0,
        };
        if dice.percent(20) {
            let (deed, steps) = (*dice.pick(&DEEDS[..11]), dice.index(9));
            self.fs.interject(steps, move |fs| deed(fs, name));
        }
        match dice.below(23) {
            0 | 1 => {
                self.submit(NewId::Next, wish);
            }
            2 => {
                self.submit(NewId::Exact(job.clone()), wish);
            }
            3 => {
                self.submit(NewId::Replace(job.clone()), wish);
            }
            4 => {
                // The scheduler decides which of two in different queues is newer; there is none here.
                let wish = Wish {
                    queue: None,
                    ..wish
                };
                self.drop_file(&Place::Pending, name, wish, dice.percent(50));
            }
            5..9 => {
                let end = dice.percent(60).then(|| *dice.pick(&ENDS));
                self.go(&job, end, dice.percent(30));
            }
            9 | 10 => self.daemon.end(&job, *dice.pick(&ENDS)),
            11 => {
                if let Ok(Some(Where::Pending(queue))) = self.door.find(&job) {
                    self.daemon.start_in_vain(&job, &queue, |_| {});
                }
            }
            12 => {
                if let Ok(Some(Where::Pending(queue))) = self.door.find(&job) {
                    self.daemon.fail(&job, &queue);
                }
            }
            13 => drop(self.cancel(&job)),
            14 => self.retry(&job),
            15 => self.forget(&job),
            16 => dice.pick(&DEEDS[..11])(&self.fs, name),
            17 => self.restart(),
            18 => self.stop_and_start(),
            19 => self.hold(&job),
            20 => self.release(&job),
            21 => self.daemon.end_all(*dice.pick(&ENDS)),
            _ => {
                self.fs.during("the kernel writes back");
                self.fs.world().disk.sync_all();
            }
        }
        self.fs.no_deed();
        self.daemon.notice(&job);
        self.daemon.by_hand(&job);
    }
}

pub fn random(life: &mut Life, seed: u64) {
    let mut dice = Dice::new(seed);
    for _ in 0..6 + dice.below(10) {
        life.act(&mut dice);
    }
}
