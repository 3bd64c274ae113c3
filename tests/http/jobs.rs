//! Pushing, listing, looking.

use crate::client::{ANYBODY_MAY_RUN, ask, get, post};
use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::{Value, json};

#[test]
fn a_push_is_a_file() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let reply = post(
        port,
        "/v1/jobs",
        r#"{"command": ["true"], "queue": "mail", "pid": 7}"#,
    );
    assert_eq!(
        (reply.status, reply.header("location")),
        (201, "/v1/jobs/1")
    );
    let shown = reply.json();
    assert_eq!(shown["state"], "pending");
    let record = spool.record("pending/mail/1");
    assert_eq!(record["command"], json!(["true"]));
    assert!(record.get("pid").is_none() && record.get("state").is_none());
    assert_eq!(post(port, "/v1/jobs", "echo a line").json()["id"], "2");
    assert_eq!(spool.record("pending/2")["command"], "echo a line");
    let mut asked = get(port, "/v1/jobs/1").json();
    let waiting = asked.as_object_mut().unwrap().remove("waiting");
    assert_eq!(waiting.unwrap()["why"], "slots");
    assert_eq!(asked, shown);
}

#[test]
fn what_is_no_job_is_refused() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    for (body, status, words) in [
        ("", 400, "empty"),
        ("{", 400, "EOF"),
        ("{\"command\": 1}", 422, "command"),
        ("{\"priority\": 1}", 422, "command"),
        (
            "{\"command\": \"a\", \"timeout\": \"soon\"}",
            422,
            "timeout",
        ),
        (
            "{\"command\": \"a\", \"warn\": \"30s\"}",
            422,
            "warn: needs a timeout",
        ),
        (
            "{\"command\": \"a\", \"after\": [\"9\"]}",
            422,
            "there is no job 9",
        ),
        ("a\0b", 400, "UTF-8"),
    ] {
        let reply = post(port, "/v1/jobs", body);
        assert_eq!(reply.status, status, "{body:?}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
        let problem = reply.json();
        assert_eq!(problem["status"], status);
        assert!(
            problem["detail"].as_str().unwrap().contains(words),
            "{problem}"
        );
    }
    let json = &["Content-Type: application/json"];
    assert_eq!(ask(port, "POST", "/v1/jobs", json, "echo a").status, 400);
    let form = &["Content-Type: multipart/form-data; boundary=x"];
    assert_eq!(ask(port, "POST", "/v1/jobs", form, "x").status, 415);
    assert_eq!(spool.ls("pending"), Vec::<String>::new());
    let large = format!("{{\"command\": \"{}\"}}", "x".repeat(16 << 20));
    assert_eq!(post(port, "/v1/jobs", &large).status, 413);
}

#[test]
fn put_is_idempotent() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "1"]);
    let put = |id: &str, body: &str| ask(port, "PUT", &format!("/v1/jobs/{id}"), &[], body).status;
    let job = r#"{"command": "exit 100", "timeout": "90s", "x": {"a": 1}}"#;
    assert_eq!(put("b%20c", job), 201);
    assert_eq!(put("b%20c", job), 200);
    assert_eq!(
        put(
            "b%20c",
            r#"{"timeout": 90, "command": "exit 100", "x": {"a": 1}}"#
        ),
        200
    );
    assert_eq!(put("b%20c", r#"{"command": "exit 99"}"#), 409);
    spool.wait_record("failed/b c");
    assert_eq!(put("b%20c", job), 200, "also when it has ended");
    assert_eq!(put(".b", job), 422);
    assert_eq!(put("a%2Fb", job), 422);
}

#[test]
fn a_job_and_a_queue_of_one_name() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    spool.drop_file("mail", "true");
    let taken = post(port, "/v1/jobs", r#"{"command": "true", "queue": "mail"}"#);
    assert_eq!(taken.status, 409, "{}", taken.text());
    assert!(taken.text().contains("a queue"), "{}", taken.text());
    let replace =
        |id: &str| ask(port, "PUT", &format!("/v1/jobs/{id}?replace"), &[], "true").status;
    assert_eq!(replace("mail"), 201);
    std::fs::create_dir(spool.path().join("pending/night")).unwrap();
    assert_eq!(replace("night"), 409);
}

#[test]
fn an_idempotency_key_meets_its_job() {
    let (mut spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let push = |port: u16, key: &str, body: &str| {
        ask(
            port,
            "POST",
            "/v1/jobs",
            &[&format!("Idempotency-Key: {key}")],
            body,
        )
    };
    let first = push(port, "\"k 1\"", "true");
    assert_eq!(first.status, 201);
    let id = first.json()["id"].as_str().unwrap().to_owned();
    spool.wait_record(&format!("complete/{id}"));
    spool.stop();
    let port = spool.serve_http(&[]);
    let again = push(port, "k 1", "true");
    assert_eq!(
        (again.status, again.json()["id"].as_str()),
        (201, Some(id.as_str()))
    );
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(push(port, "k 1", "false").status, 422);
    assert_ne!(push(port, "k 2", "true").json()["id"], json!(id));
    assert_eq!(push(port, "\"\"", "true").status, 400);
    assert_eq!(
        spool
            .ls("complete")
            .iter()
            .filter(|name| **name == id)
            .count(),
        1
    );
}

#[test]
fn waiting_for_the_end() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let done = post(port, "/v1/jobs?wait=20s", "echo well; exit 3");
    assert_eq!(done.status, 201);
    let record = done.json();
    assert_eq!(
        (record["state"].as_str(), &record["exit_code"]),
        (Some("failed"), &json!(3))
    );
    assert_eq!(record["output"], "well\n");

    let mut gate = Gate::new(&spool, "gate");
    let late = ask(
        port,
        "POST",
        "/v1/jobs",
        &["Prefer: respond-async, wait=0"],
        &gate.wait(),
    );
    assert_eq!(
        (late.status, late.header("preference-applied")),
        (202, "wait=0")
    );
    let id = late.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(get(port, &format!("/v1/jobs/{id}?wait=10ms")).status, 202);
    let waiter = std::thread::spawn({
        let target = format!("/v1/jobs/{id}?wait=60s");
        move || get(port, &target)
    });
    spool.wait_file(&format!("active/{id}"));
    gate.open(1);
    let reply = waiter.join().unwrap();
    assert_eq!(
        (reply.status, reply.json()["state"].as_str()),
        (200, Some("complete"))
    );
    assert_eq!(get(port, "/v1/jobs/none?wait=1s").status, 404);
    assert_eq!(get(port, "/v1/jobs/1?wait=soon").status, 400);
    assert_eq!(get(port, "/v1/jobs/1?wait").status, 400);
}

#[test]
fn a_waiter_hears_of_removal() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    spool.drop_file("a", "true");
    let waiter = std::thread::spawn(move || get(port, "/v1/jobs/a?wait=30s"));
    // The wait is on when the spool is watched a second time, besides by the engine.
    let fds = format!("/proc/{}/fd", spool.daemon_pid().unwrap());
    spool.wait_for("the watch", || {
        let links = std::fs::read_dir(&fds).unwrap().flatten();
        let names = links.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        names
            .filter(|name| name.to_string_lossy().contains("inotify"))
            .count()
            == 2
    });
    spool.rm("pending/a");
    assert_eq!(waiter.join().unwrap().status, 404);
}

#[test]
fn etags() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    spool.drop_file("a", "true");
    let first = get(port, "/v1/jobs/a");
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() > 10);
    let known = format!("If-None-Match: \"x\", W/{tag}");
    let same = ask(port, "GET", "/v1/jobs/a", &[&known], "");
    assert_eq!((same.status, same.header("etag")), (304, tag.as_str()));
    assert_eq!(post(port, "/v1/jobs/a/cancel", "").status, 200);
    let other = ask(port, "GET", "/v1/jobs/a", &[&known], "");
    assert_eq!(
        (other.status, other.json()["reason"].as_str()),
        (200, Some("cancelled"))
    );
}

#[test]
fn pages_of_jobs() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    std::fs::create_dir(spool.path().join("pending/mail")).unwrap();
    for n in 1..=5 {
        let job = json!({"command": "true", "tags": [format!("t{}", n % 2)], "name": "n"});
        spool.drop_json(&format!("mail/{n}"), &job);
        spool.drop_json(&format!("{}", n * 10), &json!({"command": "true"}));
    }
    let ids = |target: &str| -> (Vec<String>, String) {
        let reply = get(port, target);
        assert_eq!(reply.status, 200, "{target}");
        let list = reply.json()["jobs"].as_array().unwrap().clone();
        let ids = list
            .iter()
            .map(|job| job["id"].as_str().unwrap().to_owned());
        (ids.collect(), reply.header("link").to_owned())
    };
    assert_eq!(ids("/v1/jobs").0.join(" "), "1 2 3 4 5 10 20 30 40 50");
    assert_eq!(ids("/v1/jobs?reverse&limit=3").0.join(" "), "50 40 30");
    assert_eq!(ids("/v1/jobs?queue=mail").0.join(" "), "1 2 3 4 5");
    assert_eq!(
        ids("/v1/jobs?queue=default&after=20").0.join(" "),
        "30 40 50"
    );
    assert_eq!(ids("/v1/jobs?tag=t1&name=n").0.join(" "), "1 3 5");
    assert_eq!(
        ids("/v1/jobs?state=active,failed&state=complete").0.len(),
        0
    );
    let mut target = "/v1/jobs?limit=2&state=pending".to_owned();
    let mut all = Vec::new();
    loop {
        let (page, link) = ids(&target);
        assert!(page.len() <= 2);
        all.extend(page);
        let Some(next) = link
            .strip_prefix('<')
            .and_then(|rest| rest.split_once(">; rel=\"next\""))
        else {
            break;
        };
        target = next.0.to_owned();
    }
    assert_eq!(all.join(" "), "1 2 3 4 5 10 20 30 40 50");
    for bad in [
        "limit=x",
        "limit=-1",
        "state=done",
        "reverse=maybe",
        "queue=.x",
    ] {
        assert_eq!(get(port, &format!("/v1/jobs?{bad}")).status, 400, "{bad}");
    }
}

#[test]
fn pages_of_many_jobs() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    for n in 0..7000 {
        let tags = if n % 1000 == 999 { "[\"rare\"]" } else { "[]" };
        let text = format!("{{\"command\": \"true\", \"tags\": {tags}}}");
        std::fs::write(spool.path().join("tmp/.staged"), &text).unwrap();
        std::fs::rename(
            spool.path().join("tmp/.staged"),
            spool.path().join(format!("failed/{n}")),
        )
        .unwrap();
    }
    let page = |target: &str| -> (Vec<String>, Value) {
        let page = get(port, target).json();
        let ids = page["jobs"].as_array().unwrap().iter();
        (
            ids.map(|job| job["id"].as_str().unwrap().to_owned())
                .collect(),
            page["next"].clone(),
        )
    };
    let (rare, next) = page("/v1/jobs?tag=rare");
    assert_eq!(rare.join(" "), "999 1999 2999 3999 4999 5999 6999");
    assert_eq!(next, Value::Null);
    let (last, next) = page("/v1/jobs?reverse&limit=2&tag=rare");
    assert_eq!(
        (last.join(" ").as_str(), next.is_string()),
        ("6999 5999", true)
    );
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (ids, next) = page(&format!("/v1/jobs?limit=1000{after}"));
        seen.extend(ids);
        match next.as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..7000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn an_environment_never_leaves() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let job = json!({"command": "true", "env": {"SECRET": "hidden-in-env"}});
    let pushed = post(port, "/v1/jobs?wait=20s", &job.to_string());
    assert_eq!(spool.record("complete/1")["env"]["SECRET"], "hidden-in-env");
    for reply in [
        pushed,
        get(port, "/v1/jobs"),
        get(port, "/v1/jobs/1"),
        get(port, "/metrics"),
    ] {
        assert!(
            reply.status < 300 && !reply.text().contains("hidden-in-env"),
            "{reply:?}"
        );
    }
}

#[test]
fn no_room_for_more() {
    let config = r#"{"max_pending": 1, "http": {"anonymous": ["run"]}}"#;
    let (spool, port) = Spool::with_http(config, &["--slots", "0"]);
    assert_eq!(post(port, "/v1/jobs", "true").status, 201);
    let full = post(port, "/v1/jobs", "true");
    assert_eq!(full.status, 503);
    assert!(!full.header("retry-after").is_empty());
    assert_eq!(get(port, "/readyz").status, 503);
    assert_eq!(get(port, "/healthz").status, 200);
    let config = r#"{"min_free": "99.99%", "http": {"anonymous": ["run"]}}"#;
    std::fs::write(spool.path().join("config.json"), config).unwrap();
    let full = post(port, "/v1/jobs", "true");
    assert_eq!(full.status, 507);
    assert!(!full.header("retry-after").is_empty());
}

#[test]
fn a_push_goes_to_the_directory_that_has_the_queues_name_now() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    let push = || post(port, "/v1/jobs", r#"{"command": "true", "queue": "a"}"#).status;
    assert_eq!(push(), 201);
    std::fs::rename(
        spool.path().join("pending/a"),
        spool.path().join("pending/b"),
    )
    .unwrap();
    assert_eq!(push(), 201);
    assert_eq!(spool.ls("pending/b"), ["1"]);
    assert_eq!(spool.ls("pending/a"), ["2"]);
}

/// Requests that name one parent very often, or very many, keep nobody from pushing.
#[test]
fn parents_are_looked_up_once_and_are_not_too_many() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    assert_eq!(post(port, "/v1/jobs", "true").status, 201);
    let often = json!({"command": "true", "after": "1", "after_any": vec!["1"; 100_000]});
    let often = often.to_string();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(post(port, "/v1/jobs", &often).status, 201));
        }
    });
    let record = spool.record("pending/2");
    assert_eq!(record["after"], json!(["1"]));
    assert!(record.get("after_any").is_none(), "named in after already");
    let ids: Vec<String> = (0..10_001).map(|n| format!("a-{n}")).collect();
    let many = json!({"command": "true", "after_any": ids}).to_string();
    let refused = post(port, "/v1/jobs", &many);
    assert_eq!(refused.status, 422);
    let why = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(why.contains("10000"), "{why}");
    // So it is for files and on the command line.
    spool.drop_file("many", &many);
    assert!(spool.wait_bad("many").contains("10000"));
    let option = format!("--after={}", ids.join(","));
    let done = spool.pirn(&["add", &option, "true"]);
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert!(done.stderr.contains("10000"), "{}", done.stderr);
}
