//! Lives in full: each way through the protocol once.

use super::life::{Life, Wish, id, queue};
use pirn::core::id::{JobId, QueueName};
use pirn::core::process::Exit;
use pirn::core::record::Reason;
use pirn::spool::{Fs, NewId, Place};

pub type Script = fn(&mut Life);

const OK: Exit = Exit::Code(0);
const FAIL: Exit = Exit::Code(1);
const FINAL: Exit = Exit::Code(100);

pub const ALL: [(&str, Script); 27] = [
    ("numbered jobs, each end", each_end),
    ("ends that are recorded together", together),
    ("an exact id, used again", exact),
    ("a drop under a used name", singleton),
    ("a used name that ends the other way", other_end),
    ("replaced while it waits", replaced),
    ("a job in a queue", in_queue),
    (
        "drops into a queue, by directory and by field",
        dropped_into_queue,
    ),
    ("once", once),
    ("once, in a queue that a user has made", once_in_queue),
    ("noted, and cancelled while it runs", cancel_running),
    ("cancelled while it waits", cancel_waiting),
    ("expired", expired),
    ("skipped", skipped),
    ("steered by hand while it runs", by_hand_running),
    (
        "steered by hand while it waits or has ended",
        by_hand_waiting,
    ),
    ("superseded by a newer file", superseded),
    ("claimed and put back", put_back),
    ("no jobs", no_jobs),
    ("restarts", restarts),
    ("interrupted until it fails", interrupted),
    ("moved between queues, and forgotten", moved_and_forgotten),
    ("many at once", many_at_once),
    ("replaced from another queue", replaced_from_another_queue),
    ("held and released", held_and_released),
    ("accepted as held", accepted_as_held),
    ("tokens", tokens),
];

fn default() -> QueueName {
    QueueName::default()
}

impl Life {
    fn run(&mut self, name: &str, end: Exit) {
        self.run_in(name, &default(), end);
    }

    fn run_in(&mut self, name: &str, queue: &QueueName, end: Exit) {
        assert!(self.daemon.start(&id(name), queue), "{name} starts");
        self.daemon.end(&id(name), end);
    }

    /// The daemon sees that a user has taken the file of a running job away, and ends the job.
    fn killed(&mut self, job: &JobId) {
        self.daemon.notice(job);
        assert!(!self.daemon.runs(job), "{job} is ended");
    }
}

fn each_end(life: &mut Life) {
    for _ in 0..3 {
        life.number(Wish::PLAIN);
    }
    life.run("1", OK);
    life.run("2", FINAL);
    life.run("3", FAIL);
    life.run("3", OK);
    life.fs.user_rm(&Place::Complete, "3");
    life.fs.during("the kernel writes back");
    life.fs.world().disk.sync(&Place::Complete);
    life.fs.user_rm(&Place::Complete, "1");
    life.number(Wish::PLAIN);
}

fn together(life: &mut Life) {
    for wish in [Wish::PLAIN, Wish::ONCE, Wish::MAIL] {
        life.number(wish);
    }
    for (name, queue) in [("1", default()), ("2", default()), ("3", queue("mail"))] {
        assert!(life.daemon.start(&id(name), &queue), "{name} starts");
    }
    life.fs.user_rm(&Place::Active, "2");
    life.daemon.end_all(OK);
    assert!(!life.daemon.runs(&id("1")), "1 is over");
}

fn exact(life: &mut Life) {
    assert!(life.submit(NewId::Exact(id("a")), Wish::PLAIN).is_some());
    assert!(life.submit(NewId::Exact(id("a")), Wish::PLAIN).is_none());
    life.run("a", OK);
    assert!(life.submit(NewId::Exact(id("a")), Wish::PLAIN).is_none());
    assert!(life.submit(NewId::Replace(id("a")), Wish::PLAIN).is_some());
    life.daemon.scan();
    life.run("a", OK);
}

fn singleton(life: &mut Life) {
    for round in 0..3 {
        life.drop_file(&Place::Pending, "backup", Wish::PLAIN, round == 1);
        life.daemon.scan();
        life.run("backup", OK);
    }
}

fn other_end(life: &mut Life) {
    life.submit(NewId::Exact(id("a")), Wish::PLAIN);
    life.run("a", OK);
    life.drop_file(&Place::Pending, "a", Wish::PLAIN, true);
    life.daemon.scan();
    life.run("a", FINAL);
    life.drop_file(&Place::Pending, "a", Wish::PLAIN, false);
    life.daemon.scan();
    life.run("a", OK);
}

fn replaced(life: &mut Life) {
    life.submit(NewId::Exact(id("a")), Wish::PLAIN);
    life.submit(NewId::Replace(id("a")), Wish::PLAIN);
    life.drop_file(&Place::Pending, "a", Wish::PLAIN, true);
    life.run("a", OK);
}

fn in_queue(life: &mut Life) {
    life.number(Wish::MAIL);
    life.run_in("1", &queue("mail"), FAIL);
    life.number(Wish::MAIL);
    life.run_in("1", &queue("mail"), FINAL);
    life.run_in("2", &queue("mail"), OK);
    life.retry(&id("1"));
    life.run_in("1", &queue("mail"), OK);
}

fn dropped_into_queue(life: &mut Life) {
    life.fs.user_mkdir("mail");
    let mail = Place::Queue(queue("mail"));
    life.drop_file(&mail, "a", Wish::PLAIN, false);
    life.drop_file(&Place::Pending, "b", Wish::MAIL, true);
    let web = Wish {
        queue: Some("web"),
        ..Wish::PLAIN
    };
    life.drop_file(&Place::Pending, "c", web, true);
    life.daemon.scan();
    life.run_in("a", &queue("mail"), FAIL);
    life.run_in("b", &queue("mail"), OK);
    life.run_in("c", &queue("web"), FAIL);
    life.run_in("c", &queue("web"), OK);
}

fn once(life: &mut Life) {
    for _ in 0..3 {
        life.number(Wish::ONCE);
    }
    life.run("1", FAIL);
    life.daemon.start(&id("2"), &default());
    life.daemon.note(&id("2"));
    life.run("3", OK);
    life.daemon.end(&id("2"), OK);
    life.retry(&id("1"));
    life.run("1", OK);
}

fn once_in_queue(life: &mut Life) {
    life.fs.user_mkdir("mail");
    let mail = Place::Queue(queue("mail"));
    life.number(Wish::PLAIN);
    life.fs.user_mv(&Place::Pending, "1", &mail, "1");
    life.drop_file(
        &Place::Pending,
        "a",
        Wish {
            once: true,
            ..Wish::MAIL
        },
        true,
    );
    life.daemon.scan();
    life.run_in("a", &queue("mail"), OK);
    life.run_in("1", &queue("mail"), OK);
}

fn cancel_running(life: &mut Life) {
    for _ in 0..2 {
        let job = life.number(Wish::PLAIN);
        life.daemon.start(&job, &default());
        life.daemon.note(&job);
    }
    life.cancel(&id("1"));
    life.killed(&id("1"));
    life.daemon.end(&id("2"), FAIL);
    life.daemon.start(&id("2"), &default());
    life.cancel(&id("2"));
    life.killed(&id("2"));
    life.retry(&id("2"));
}

fn cancel_waiting(life: &mut Life) {
    life.number(Wish::PLAIN);
    life.number(Wish::MAIL);
    life.cancel(&id("1"));
    life.cancel(&id("2"));
    life.retry(&id("1"));
    life.cancel(&id("1"));
}

fn expired(life: &mut Life) {
    life.number(Wish::PLAIN);
    life.number(Wish::MAIL);
    life.daemon.fail(&id("1"), &default());
    life.daemon.fail(&id("2"), &queue("mail"));
    life.number(Wish::PLAIN);
    life.run("3", FAIL);
    life.daemon.fail(&id("3"), &default());
}

fn skipped(life: &mut Life) {
    life.number(Wish::PLAIN);
    life.number(Wish::MAIL);
    life.daemon.end_unrun(&id("1"), &default(), Reason::Skipped);
    life.daemon
        .end_unrun(&id("2"), &queue("mail"), Reason::Skipped);
    assert!(life.fs.token_at(&Place::Complete, "2").is_some());
    life.retry(&id("1"));
    life.run("1", FINAL);
}

fn by_hand_running(life: &mut Life) {
    for n in 1..=4 {
        life.number(Wish::PLAIN);
        let job = id(&n.to_string());
        life.daemon.start(&job, &default());
    }
    life.daemon.note(&id("2"));
    life.fs.user_mv(&Place::Active, "1", &Place::Pending, "1");
    life.killed(&id("1"));
    life.fs.user_mv(&Place::Active, "2", &Place::Failed, "2");
    life.killed(&id("2"));
    life.fs.user_mv(&Place::Active, "3", &Place::Complete, "3");
    life.daemon.end(&id("3"), OK);
    life.fs.user_rm(&Place::Active, "4");
    life.killed(&id("4"));
    life.run("1", OK);
}

fn by_hand_waiting(life: &mut Life) {
    for _ in 0..3 {
        life.number(Wish::PLAIN);
    }
    life.fs.user_mv(&Place::Pending, "1", &Place::Failed, "1");
    life.daemon.by_hand(&id("1"));
    life.fs.user_mv(&Place::Pending, "2", &Place::Complete, "2");
    life.daemon.by_hand(&id("2"));
    life.fs.user_mv(&Place::Failed, "1", &Place::Pending, "1");
    life.daemon.scan();
    life.run("1", FINAL);
    life.fs.user_mv(&Place::Failed, "1", &Place::Pending, "1");
    life.fs.user_rm(&Place::Pending, "3");
}

fn superseded(life: &mut Life) {
    life.submit(NewId::Exact(id("a")), Wish::PLAIN);
    life.daemon.start(&id("a"), &default());
    life.drop_file(&Place::Pending, "a", Wish::PLAIN, true);
    life.daemon.scan();
    life.daemon.end(&id("a"), FAIL);
    life.daemon.scan();
    life.run("a", OK);
    // The newer file is in another queue, so that the job goes back to its own first.
    life.submit(NewId::Exact(id("b")), Wish::PLAIN);
    life.daemon.start(&id("b"), &default());
    life.fs.user_mkdir("mail");
    life.fs.world().disk.sync(&Place::Pending);
    let mail = queue("mail");
    life.drop_file(&Place::of_queue(&mail), "b", Wish::PLAIN, true);
    life.daemon.scan();
    life.daemon.end(&id("b"), FAIL);
}

fn put_back(life: &mut Life) {
    life.submit(NewId::Exact(id("a")), Wish::PLAIN);
    life.submit(NewId::Exact(id("b")), Wish::ONCE);
    for name in ["a", "b"] {
        life.daemon.start_in_vain(&id(name), &default(), |_| {});
    }
    life.daemon.start_in_vain(&id("a"), &default(), |fs| {
        fs.user_drop(&Place::Pending, "a", "new01")
    });
    life.run("a", OK);
    life.run("b", FAIL);
    life.submit(NewId::Exact(id("c")), Wish::PLAIN);
    life.run("c", FAIL);
    life.daemon.start_in_vain(&id("c"), &default(), |_| {});
    life.run("c", OK);
}

fn no_jobs(life: &mut Life) {
    life.number(Wish::PLAIN);
    life.fs.during("a user drops what is no job");
    for (name, text) in [("-x", "true"), ("y", "{\"command\"")] {
        let written = life
            .fs
            .write_new(&Place::Pending, name.as_bytes(), text.as_bytes(), true);
        written.expect("written");
    }
    life.daemon.scan();
    life.run("1", OK);
}

fn restarts(life: &mut Life) {
    for _ in 0..3 {
        life.number(Wish::PLAIN);
    }
    life.daemon.start(&id("1"), &default());
    life.daemon.start(&id("2"), &default());
    life.daemon.note(&id("2"));
    life.restart();
    life.run("1", OK);
    life.fs.user_rm(&Place::Complete, "1");
    life.stop_and_start();
    life.number(Wish::PLAIN);
    life.run("2", FAIL);
}

fn interrupted(life: &mut Life) {
    life.number(Wish {
        tries: Some(1),
        ..Wish::PLAIN
    });
    for noted in [false, true, false] {
        assert!(life.daemon.start(&id("1"), &default()));
        if noted {
            life.daemon.note(&id("1"));
        }
        life.restart();
    }
    life.retry(&id("1"));
    life.run("1", OK);
}

fn moved_and_forgotten(life: &mut Life) {
    for _ in 0..3 {
        life.number(Wish::PLAIN);
    }
    life.fs.user_mkdir("web");
    life.fs
        .user_mv(&Place::Pending, "1", &Place::Queue(queue("web")), "1");
    life.forget(&id("2"));
    life.run_in("1", &queue("web"), OK);
    life.forget(&id("1"));
    life.run("3", OK);
    life.number(Wish::PLAIN);
}

fn many_at_once(life: &mut Life) {
    life.fs.user_mkdir("web");
    life.number(Wish::PLAIN);
    life.batch(&[Wish::PLAIN, Wish::MAIL, Wish::ONCE]);
    life.run("2", OK);
    life.batch(&[Wish::MAIL]);
    life.run_in("3", &queue("mail"), FAIL);
    life.number(Wish::PLAIN);
}

fn replaced_from_another_queue(life: &mut Life) {
    let a = || NewId::Replace(id("a"));
    life.submit(a(), Wish::MAIL);
    life.submit(a(), Wish::PLAIN);
    life.submit(a(), Wish::MAIL);
    life.run_in("a", &queue("mail"), OK);
}

fn held_and_released(life: &mut Life) {
    life.number(Wish::MAIL);
    life.fs.user_mkdir("web");
    life.fs.world().disk.sync(&Place::Pending);
    let web = Place::Queue(queue("web"));
    life.drop_file(&web, "a", Wish::PLAIN, true);
    for held in ["1", "a"] {
        life.hold(&id(held));
    }
    life.number(Wish::PLAIN);
    life.run("2", OK);
    for held in ["1", "a"] {
        life.release(&id(held));
    }
    life.run_in("1", &queue("mail"), OK);
    life.run_in("a", &queue("web"), OK);
}

fn accepted_as_held(life: &mut Life) {
    life.submit(NewId::Exact(id("a")), Wish::HELD);
    let a = || NewId::Replace(id("a"));
    life.submit(a(), Wish::MAIL);
    life.submit(a(), Wish::HELD);
    life.submit(a(), Wish::PLAIN);
    life.submit(a(), Wish::HELD);
    life.batch(&[Wish::PLAIN, Wish::HELD]);
    life.forget(&id("2"));
    life.number(Wish {
        held: true,
        ..Wish::MAIL
    });
    life.run("1", OK);
    for held in ["a", "3"] {
        assert!(
            life.fs.token_at(&Place::Held, held).is_some(),
            "{held} is held"
        );
        life.release(&id(held));
    }
    life.run("a", OK);
    life.run_in("3", &queue("mail"), OK);
}

fn tokens(life: &mut Life) {
    for gpus in [1, 1, 2] {
        life.number(Wish {
            gpus,
            ..Wish::PLAIN
        });
    }
    for name in ["1", "2"] {
        assert!(life.daemon.start(&id(name), &default()), "{name} starts");
    }
    assert!(!life.daemon.start(&id("3"), &default()), "3 waits");
    life.daemon.note(&id("1"));
    life.daemon.end(&id("1"), FAIL);
    life.run("1", OK);
    life.restart();
    life.run("2", OK);
    life.run("3", OK);
}
