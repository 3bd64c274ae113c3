//! Lives in full: each way through the protocol once.

use super::life::{Life, Wish, id, queue};
use pirn::core::id::QueueName;
use pirn::core::policy::{StopReason, TryEnd};
use pirn::spool::{Fs, NewId, Place, Where};

pub type Script = fn(&mut Life);

const OK: TryEnd = TryEnd::Exited(0);
const FAIL: TryEnd = TryEnd::Exited(1);
const FINAL: TryEnd = TryEnd::Exited(100);

pub const ALL: [(&str, Script); 23] = [
    ("numbered jobs, each end", each_end),
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
];

fn default() -> QueueName {
    QueueName::default()
}

impl Life {
    fn run(&mut self, name: &str, end: TryEnd) {
        self.run_in(name, &default(), end);
    }

    fn run_in(&mut self, name: &str, queue: &QueueName, end: TryEnd) {
        assert!(self.daemon.start(&id(name), queue).expect("claimed"));
        self.daemon.end(&id(name), end).expect("recorded");
    }

    fn scan(&self) {
        self.fs.during("take in");
        self.daemon.scan(&Place::Pending).expect("scanned");
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

fn exact(life: &mut Life) {
    assert!(life.submit(NewId::Exact(id("a")), Wish::PLAIN).is_some());
    assert!(life.submit(NewId::Exact(id("a")), Wish::PLAIN).is_none());
    life.run("a", OK);
    assert!(life.submit(NewId::Exact(id("a")), Wish::PLAIN).is_none());
    assert!(life.submit(NewId::Replace(id("a")), Wish::PLAIN).is_some());
    life.scan();
    life.run("a", OK);
}

fn singleton(life: &mut Life) {
    for round in 0..3 {
        life.drop_file(&Place::Pending, "backup", Wish::PLAIN, round == 1);
        life.scan();
        life.run("backup", OK);
    }
}

fn other_end(life: &mut Life) {
    life.submit(NewId::Exact(id("a")), Wish::PLAIN);
    life.run("a", OK);
    life.drop_file(&Place::Pending, "a", Wish::PLAIN, true);
    life.scan();
    life.run("a", FINAL);
    life.drop_file(&Place::Pending, "a", Wish::PLAIN, false);
    life.scan();
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
    life.scan();
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
    life.daemon.start(&id("2"), &default()).expect("claimed");
    life.daemon.note(&id("2")).expect("noted");
    life.run("3", OK);
    life.daemon.end(&id("2"), OK).expect("recorded");
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
    life.scan();
    life.run_in("a", &queue("mail"), OK);
    life.run_in("1", &queue("mail"), OK);
}

fn cancel_running(life: &mut Life) {
    for _ in 0..2 {
        let job = life.number(Wish::PLAIN);
        life.daemon.start(&job, &default()).expect("claimed");
        life.daemon.note(&job).expect("noted");
    }
    life.cancel(&id("1"));
    life.killed(&id("1"), StopReason::Cancelled);
    life.daemon.end(&id("2"), FAIL).expect("recorded");
    life.daemon.start(&id("2"), &default()).expect("claimed");
    life.cancel(&id("2"));
    life.killed(&id("2"), StopReason::Cancelled);
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
    life.daemon.fail(&id("1"), &default()).expect("failed");
    life.daemon.fail(&id("2"), &queue("mail")).expect("failed");
    life.number(Wish::PLAIN);
    life.run("3", FAIL);
    life.daemon.fail(&id("3"), &default()).expect("failed");
}

fn by_hand_running(life: &mut Life) {
    for n in 1..=4 {
        life.number(Wish::PLAIN);
        let job = id(&n.to_string());
        life.daemon.start(&job, &default()).expect("claimed");
    }
    life.daemon.note(&id("2")).expect("noted");
    life.fs.user_mv(&Place::Active, "1", &Place::Pending, "1");
    life.killed(&id("1"), StopReason::Requeued);
    life.fs.user_mv(&Place::Active, "2", &Place::Failed, "2");
    life.killed(&id("2"), StopReason::Cancelled);
    life.fs.user_mv(&Place::Active, "3", &Place::Complete, "3");
    life.daemon.end(&id("3"), OK).expect("recorded");
    life.fs.user_rm(&Place::Active, "4");
    life.killed(&id("4"), StopReason::Forgotten);
    life.run("1", OK);
}

fn by_hand_waiting(life: &mut Life) {
    for _ in 0..3 {
        life.number(Wish::PLAIN);
    }
    life.fs.user_mv(&Place::Pending, "1", &Place::Failed, "1");
    life.daemon
        .by_hand(&id("1"), &Where::Failed)
        .expect("ended");
    life.fs.user_mv(&Place::Pending, "2", &Place::Complete, "2");
    let done = life.daemon.by_hand(&id("2"), &Where::Complete);
    done.expect("ended");
    life.fs.user_mv(&Place::Failed, "1", &Place::Pending, "1");
    life.scan();
    life.run("1", FINAL);
    life.fs.user_mv(&Place::Failed, "1", &Place::Pending, "1");
    life.fs.user_rm(&Place::Pending, "3");
}

fn superseded(life: &mut Life) {
    life.submit(NewId::Exact(id("a")), Wish::PLAIN);
    life.daemon.start(&id("a"), &default()).expect("claimed");
    life.drop_file(&Place::Pending, "a", Wish::PLAIN, true);
    life.scan();
    life.daemon.end(&id("a"), FAIL).expect("recorded");
    life.scan();
    life.run("a", OK);
}

fn put_back(life: &mut Life) {
    life.submit(NewId::Exact(id("a")), Wish::PLAIN);
    life.submit(NewId::Exact(id("b")), Wish::ONCE);
    for name in ["a", "b"] {
        life.daemon.start(&id(name), &default()).expect("claimed");
        life.daemon.unstart(&id(name)).expect("put back");
    }
    life.daemon.start(&id("a"), &default()).expect("claimed");
    life.drop_file(&Place::Pending, "a", Wish::PLAIN, false);
    life.daemon.unstart(&id("a")).expect("put back");
    life.run("a", OK);
    life.run("b", FAIL);
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
    life.scan();
    life.run("1", OK);
}

fn restarts(life: &mut Life) {
    for _ in 0..3 {
        life.number(Wish::PLAIN);
    }
    life.daemon.start(&id("1"), &default()).expect("claimed");
    life.daemon.start(&id("2"), &default()).expect("claimed");
    life.daemon.note(&id("2")).expect("noted");
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
        assert!(life.daemon.start(&id("1"), &default()).expect("claimed"));
        if noted {
            life.daemon.note(&id("1")).expect("noted");
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
