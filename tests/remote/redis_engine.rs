//! The engine on a real Redis: two receivers of one queue, each in the place of a machine.

use crate::redis_server::RedisServer;
use pirn::core::config::remote_url::{RedisUrl, RemoteUrl};
use pirn::remote::engine::{
    BodyForm, Engine, Extension, GivenBack, LeaseAnswer, LeaseKey, Message, RemoteQueue, Trouble,
    WellEnded,
};
use pirn::remote::redis::{RedisEngine, RedisTerms};
use redis::{Commands, Connection, cmd};
use std::path::Path;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);
/// Longer than any test takes.
const WAIT: Duration = Duration::from_secs(20);
const NO_WAIT: Duration = Duration::ZERO;

/// One receiver, and its first queue.
struct Receiver {
    engine: RedisEngine,
    queue: RemoteQueue,
}

impl Receiver {
    fn new(url: &str, name: &str, lease: Duration, max: u32) -> Self {
        let engine = engine(url, name, lease, max);
        let queue = engine.queues().unwrap().remove(0);
        Self { engine, queue }
    }

    fn receive(&self, wait: Duration) -> Vec<Message> {
        self.engine.receive(&self.queue, 10, wait, LONG).unwrap()
    }

    fn one(&self) -> Message {
        let end = Instant::now() + WAIT;
        loop {
            let got = self.receive(end.saturating_duration_since(Instant::now()));
            assert!(got.len() <= 1, "{got:?}");
            if let Some(message) = got.into_iter().next() {
                return message;
            }
            assert!(Instant::now() < end, "no message comes");
        }
    }

    fn extend(&self, message: &Message) -> LeaseAnswer {
        let extension = Extension {
            key: key(message),
            lease: LONG,
        };
        self.engine
            .extend(&self.queue, &[extension])
            .unwrap()
            .remove(0)
    }

    fn ack(&self, message: &Message, result: Option<&str>) -> LeaseAnswer {
        let ended = WellEnded {
            key: key(message),
            result,
        };
        self.engine.ack(&self.queue, &[ended]).unwrap().remove(0)
    }

    fn nack(&self, message: &Message, delay: Duration, result: Option<&str>) -> LeaseAnswer {
        let given = GivenBack {
            key: key(message),
            delay,
            result,
        };
        self.engine.nack(&self.queue, &[given]).unwrap().remove(0)
    }
}

fn redis_url(text: &str) -> RedisUrl {
    match RemoteUrl::parse(text).unwrap() {
        RemoteUrl::Redis(url) => url,
        RemoteUrl::Sqs(_) => panic!("{text}"),
    }
}

fn engine(url: &str, name: &str, lease: Duration, max: u32) -> RedisEngine {
    let terms = RedisTerms {
        lease,
        max_receives: Some(max),
    };
    RedisEngine::new(&[redis_url(url)], false, terms, Path::new(name)).unwrap()
}

fn key(message: &Message) -> LeaseKey<'_> {
    LeaseKey {
        id: &message.id,
        receipt: &message.receipt,
    }
}

fn client(server: &RedisServer) -> Connection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_connection().unwrap()
}

fn add(client: &mut Connection, stream: &str, fields: &[(&str, &str)]) -> String {
    client.xadd(stream, "*", fields).unwrap()
}

fn len(client: &mut Connection, stream: &str) -> usize {
    client.xlen(stream).unwrap()
}

#[test]
fn a_message_becomes_a_job_and_its_record_a_result() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let url = format!("{}#mail", server.url());
    let mut client = client(&server);
    let first = add(&mut client, "pirn:{mail}", &[("job", "echo 1")]);
    let receiver = Receiver::new(&url, "a", LONG, 5);
    assert_eq!(receiver.queue.lease, Some(LONG));
    assert_eq!(receiver.queue.max_receives, Some(5));
    let second = add(
        &mut client,
        "pirn:{mail}",
        &[("job", "{\"command\": \"true\"}"), ("group", "g")],
    );

    let got = receiver.receive(NO_WAIT);
    let expected = |id: &str, body: &str, form, group: Option<&str>| Message {
        id: format!("mail.{id}").parse().unwrap(),
        receipt: id.to_owned(),
        body: Ok(body.to_owned()),
        form,
        count: 1,
        group: group.map(str::to_owned),
    };
    assert_eq!(
        got,
        [
            expected(&first, "echo 1", BodyForm::Command, None),
            expected(
                &second,
                "{\"command\": \"true\"}",
                BodyForm::Record,
                Some("g")
            ),
        ]
    );
    assert_eq!(receiver.receive(NO_WAIT), []);
    assert_eq!(
        receiver.ack(&got[0], Some("{\"exit\": 0}")),
        LeaseAnswer::Done
    );
    assert_eq!(receiver.ack(&got[1], None), LeaseAnswer::Done);
    assert_eq!(receiver.ack(&got[0], Some("other")), LeaseAnswer::Done);
    assert_eq!(len(&mut client, "pirn:{mail}"), 0);
    let result = format!("pirn:{{mail}}:result:{first}");
    assert_eq!(client.get::<_, String>(&result).unwrap(), "{\"exit\": 0}");
    let ttl: u64 = client.ttl(&result).unwrap();
    assert!((604_000..=604_800).contains(&ttl), "{ttl}");
    assert_eq!(len(&mut client, "pirn:{mail}:ended"), 1);
}

#[test]
fn the_first_receiver_sets_the_terms() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let url = format!("{}/2#q", server.url());
    let first = Receiver::new(&url, "a", LONG, 3);
    let second = Receiver::new(&url, "b", SHORT, 9);
    assert_eq!(second.queue, first.queue);
    assert_eq!(second.queue.lease, Some(LONG));
    assert_eq!(second.queue.max_receives, Some(3));
}

#[test]
fn an_old_owner_can_do_nothing() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let url = format!("{}#q", server.url());
    let (old, new) = (
        Receiver::new(&url, "old", SHORT, 5),
        Receiver::new(&url, "new", SHORT, 5),
    );
    let mut client = client(&server);
    add(&mut client, "pirn:{q}", &[("job", "true")]);
    let message = old.one();
    // It comes as soon as its lease has lapsed, though nothing new arrives.
    let start = Instant::now();
    let taken = new.one();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!((&taken.id, taken.count), (&message.id, 2));
    for answer in [
        old.extend(&message),
        old.ack(&message, Some("{}")),
        old.nack(&message, NO_WAIT, Some("{}")),
    ] {
        assert!(matches!(answer, LeaseAnswer::Lost(_)), "{answer:?}");
    }
    assert_eq!(len(&mut client, "pirn:{q}"), 1);
    assert_eq!(len(&mut client, "pirn:{q}:failed"), 0);
    assert_eq!(new.ack(&taken, None), LeaseAnswer::Done);
    assert_eq!(len(&mut client, "pirn:{q}"), 0);
}

#[test]
fn an_extended_lease_is_not_taken_over() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let url = format!("{}#q", server.url());
    let lease = Duration::from_secs(2);
    let owner = Receiver::new(&url, "owner", lease, 5);
    let other = Receiver::new(&url, "other", lease, 5);
    add(&mut client(&server), "pirn:{q}", &[("job", "true")]);
    let message = owner.one();
    let start = Instant::now();
    while start.elapsed() < lease * 2 {
        assert_eq!(owner.extend(&message), LeaseAnswer::Done);
        assert_eq!(other.receive(lease / 4), []);
    }
    assert_eq!(other.one().count, 2);
}

#[test]
fn failed_jobs_come_again_and_then_move_to_the_failed_queue() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let url = format!("{}#q", server.url());
    let receiver = Receiver::new(&url, "a", LONG, 2);
    let mut client = client(&server);
    add(&mut client, "pirn:{q}", &[("job", "false"), ("by", "me")]);
    let message = receiver.one();
    let done = receiver.nack(&message, SHORT, Some("first"));
    assert_eq!(done, LeaseAnswer::Done);
    assert_eq!(receiver.receive(NO_WAIT), []);
    let start = Instant::now();
    let again = receiver.one();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(again.count, 2);
    let done = receiver.nack(&again, SHORT, Some("last"));
    assert_eq!(done, LeaseAnswer::Done);
    assert_eq!(len(&mut client, "pirn:{q}"), 0);
    let result = format!("pirn:{{q}}:result:{}", message.receipt);
    assert_eq!(client.get::<_, String>(result).unwrap(), "last");
    assert_eq!(len(&mut client, "pirn:{q}:ended"), 1);

    // The failed queue is received from in the same way. Its jobs keep their ids, and fail as often as they like.
    let failed = Receiver::new(&format!("{url}:failed"), "a", LONG, 2);
    assert_eq!(failed.queue.max_receives, None);
    for count in 1..4 {
        let message = failed.one();
        assert_eq!((&message.id, message.count), (&again.id, count));
        assert_eq!(failed.nack(&message, NO_WAIT, None), LeaseAnswer::Done);
    }
    let message = failed.one();
    assert_eq!(failed.ack(&message, Some("well")), LeaseAnswer::Done);
    assert_eq!(len(&mut client, "pirn:{q}:failed"), 0);
    let result = format!("pirn:{{q}}:result:{}", again.receipt);
    assert_eq!(client.get::<_, String>(result).unwrap(), "well");

    let terms = RedisTerms {
        lease: LONG,
        max_receives: Some(2),
    };
    let both = RedisEngine::new(&[redis_url(&url)], true, terms, Path::new("a")).unwrap();
    let names: Vec<_> = both.queues().unwrap().into_iter().map(|q| q.name).collect();
    assert_eq!(names, ["q:failed", "q"]);
}

#[test]
fn the_message_of_an_owner_that_dies_every_time_moves_to_the_failed_queue() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let url = format!("{}#q", server.url());
    let mut client = client(&server);
    let id = add(&mut client, "pirn:{q}", &[("job", "true")]);
    let dead = [1, 2].map(|count| {
        let dead = Receiver::new(&url, &format!("dead{count}"), SHORT, 2);
        let message = dead.one();
        assert_eq!(message.count, count);
        (dead, message)
    });
    let receiver = Receiver::new(&url, "a", SHORT, 2);
    let end = Instant::now() + WAIT;
    while len(&mut client, "pirn:{q}:failed") == 0 {
        assert_eq!(receiver.receive(SHORT), []);
        assert!(Instant::now() < end);
    }
    assert_eq!(len(&mut client, "pirn:{q}"), 0);
    // They were not dead, and their jobs have ended well.
    for (late, message) in &dead {
        let lost = LeaseAnswer::Lost("its message is in pirn:{q}:failed".to_owned());
        assert_eq!(late.ack(message, Some("{}")), lost);
    }
    let failed = Receiver::new(&format!("{url}:failed"), "a", LONG, 2);
    let message = failed.one();
    assert_eq!(message.id.as_str(), format!("q.{id}"));
    for _ in 0..2 {
        assert_eq!(failed.ack(&message, None), LeaseAnswer::Done);
    }
}

#[test]
fn messages_that_are_no_text_say_so() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let receiver = Receiver::new(&format!("{}#q", server.url()), "a", LONG, 5);
    let mut client = client(&server);
    for (name, value) in [
        (&b"jobs"[..], &b"true"[..]),
        (b"\xff", b"\xff"),
        (b"job", b"\xff"),
    ] {
        let mut add = cmd("XADD");
        add.arg("pirn:{q}").arg("*").arg(name).arg(value);
        add.exec(&mut client).unwrap();
    }
    let id = add(&mut client, "pirn:{q}", &[("job", "true"), ("id", "../x")]);
    let got = receiver.receive(NO_WAIT);
    let none = Err("it has no field job".to_owned());
    let binary = Err("its job is not UTF-8".to_owned());
    let bodies: Vec<_> = got.iter().map(|message| message.body.clone()).collect();
    assert_eq!(bodies, [none.clone(), none, binary, Ok("true".to_owned())]);
    assert_eq!(got[3].id.as_str(), format!("q.{id}"));
    let given: Vec<_> = got
        .iter()
        .map(|message| GivenBack {
            key: key(message),
            delay: LONG,
            result: None,
        })
        .collect();
    let answers = receiver.engine.nack(&receiver.queue, &given).unwrap();
    assert_eq!(answers, [const { LeaseAnswer::Done }; 4]);
}

#[test]
fn the_group_is_made_anew() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let receiver = Receiver::new(&format!("{}#q", server.url()), "a", SHORT, 5);
    let mut client = client(&server);
    client.del::<_, ()>("pirn:{q}").unwrap();
    assert_eq!(receiver.receive(NO_WAIT), []);
    client
        .xgroup_destroy::<_, _, ()>("pirn:{q}", "pirn")
        .unwrap();
    add(&mut client, "pirn:{q}", &[("job", "true")]);
    let message = receiver.one();
    client.del::<_, ()>("pirn:{q}").unwrap();
    assert!(matches!(receiver.extend(&message), LeaseAnswer::Lost(_)));
    assert_eq!(receiver.ack(&message, None), LeaseAnswer::Done);
}

#[test]
fn a_list_is_emptied_into_the_queue() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let url = format!("{}?list=old%20jobs#q", server.url());
    let receiver = Receiver::new(&url, "a", LONG, 5);
    let mut client = client(&server);
    client
        .rpush::<_, _, ()>("old jobs", &["1", "2", "3"])
        .unwrap();
    let bodies = |got: Vec<Message>| got.into_iter().map(|m| m.body.unwrap()).collect::<Vec<_>>();
    assert_eq!(bodies(receiver.receive(NO_WAIT)), ["1", "2", "3"]);
    assert_eq!(client.llen::<_, usize>("old jobs").unwrap(), 0);
    client.lpush::<_, _, ()>("old jobs", "4").unwrap();
    assert_eq!(receiver.one().body.unwrap(), "4");
}

#[test]
fn a_server_that_comes_back_has_all_it_had() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let receiver = Receiver::new(&format!("{}#q", server.url()), "a", LONG, 5);
    add(&mut client(&server), "pirn:{q}", &[("job", "1")]);
    add(&mut client(&server), "pirn:{q}", &[("job", "2")]);
    let held = receiver.engine.receive(&receiver.queue, 1, NO_WAIT, LONG);
    let held = held.unwrap().remove(0);
    server.crash();
    let gone = receiver.engine.receive(&receiver.queue, 1, NO_WAIT, LONG);
    assert!(matches!(gone, Err(Trouble::Unreachable(_))), "{gone:?}");
    server.restart();
    // Until it has read its file it asks everybody to wait.
    let end = Instant::now() + WAIT;
    while receiver.engine.queues().is_err() {
        assert!(Instant::now() < end);
    }
    assert_eq!(receiver.ack(&held, None), LeaseAnswer::Done);
    assert_eq!(receiver.one().body.unwrap(), "2");
}

#[test]
fn refusals_are_told_from_troubles() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let refused = |url: &str| match engine(url, "a", LONG, 5).queues() {
        Err(Trouble::Refused(why)) => why,
        other => panic!("{url}: {other:?}"),
    };
    let mut client = client(&server);
    client.set::<_, _, ()>("pirn:{text}", "x").unwrap();
    let why = refused(&format!("{}#text", server.url()));
    assert!(why.contains("WRONGTYPE"), "{why}");
    let why = refused(&format!("{}/99#q", server.url()));
    assert!(why.contains("DB index"), "{why}");
    client
        .hset::<_, _, _, ()>("pirn:{q}:settings", "lease", 0)
        .unwrap();
    let why = refused(&format!("{}#q", server.url()));
    assert!(why.contains("pirn:{q}:settings"), "{why}");
    for rule in ["requirepass", "masterauth"] {
        let mut set = cmd("CONFIG");
        set.arg("SET")
            .arg(rule)
            .arg("good")
            .exec(&mut client)
            .unwrap();
    }
    let host = format!("127.0.0.1:{}", server.port);
    for user in ["", ":bad@", "nobody:bad@"] {
        let why = refused(&format!("redis://{user}{host}#p"));
        assert!(why.starts_with(&format!("redis://{host}: ")), "{why}");
        assert!(!why.contains("bad"), "{why}");
    }
    assert!(
        engine(&format!("redis://:good@{host}#p"), "a", LONG, 5)
            .queues()
            .is_ok()
    );
    let nobody = engine("redis://127.0.0.1:1#p", "a", LONG, 5).queues();
    assert!(matches!(nobody, Err(Trouble::Unreachable(_))), "{nobody:?}");
}
