//! Cancel, retry, hold, release, delete; queues.

use crate::client::{ANYBODY_MAY_RUN, Conn, ask, get, post};
use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_job_is_steered() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "1"]);
    let gate = Gate::new(&spool, "gate");
    post(port, "/v1/jobs", &gate.wait());
    spool.wait_note("1");
    post(port, "/v1/jobs", "true");
    let steer = |id: &str, verb: &str| post(port, &format!("/v1/jobs/{id}/{verb}"), "").status;
    let delete = |target: &str| ask(port, "DELETE", &format!("/v1/jobs/{target}"), &[], "").status;

    assert_eq!(steer("1", "retry"), 409);
    assert_eq!(steer("1", "hold"), 409);
    assert_eq!(delete("1"), 409);
    assert_eq!(steer("2", "cancel"), 200);
    assert_eq!(spool.record("failed/2")["reason"], "cancelled");
    assert_eq!(steer("2", "cancel"), 409);
    assert_eq!(steer("1", "cancel"), 202);
    assert_eq!(spool.wait_record("failed/1")["reason"], "cancelled");
    assert_eq!(steer("2", "retry"), 200);
    spool.wait_record("complete/2");
    assert_eq!(delete("2"), 204);
    assert!(!spool.has("complete/2"));
    for (id, verb) in [
        ("2", "cancel"),
        ("none", "retry"),
        ("..", "hold"),
        (".x", "release"),
    ] {
        assert_eq!(steer(id, verb), 404, "{verb} {id}");
    }
    assert_eq!(delete("2"), 404);
    post(port, "/v1/jobs", &gate.wait());
    spool.wait_note("3");
    assert_eq!(delete("3?kill"), 202);
    spool.wait_gone("active/3");
    assert_eq!(post(port, "/v1/jobs/1/explode", "").status, 404);
}

#[test]
fn a_waiting_job_is_made_urgent_and_moved() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    post(port, "/v1/jobs", &gate.wait());
    spool.wait_note("1");
    for _ in 0..3 {
        post(port, "/v1/jobs", "true");
    }
    let steer = |target: &str| post(port, &format!("/v1/jobs/{target}"), "");
    steer("4/hold");
    assert_eq!(steer("3/urgent").json()["priority"], i32::MAX);
    for (target, state) in [("3", "pending"), ("4", "held")] {
        let moved = steer(&format!("{target}/move?queue=mail"));
        let moved = (moved.status, moved.json());
        assert_eq!(
            (moved.0, &moved.1["state"]),
            (200, &json!(state)),
            "{target}"
        );
    }
    assert_eq!(spool.ls("pending/mail"), ["3"]);
    steer("4/release");
    assert_eq!(spool.ls("pending/mail"), ["3", "4"]);
    assert_eq!(steer("3/move?queue=default").status, 200);
    for (target, status) in [
        ("1/urgent", 409),
        ("1/move?queue=mail", 409),
        ("9/move?queue=mail", 404),
        ("2/move", 400),
        ("2/move?queue=.x", 400),
        ("2/move?queue=held", 400),
    ] {
        assert_eq!(steer(target).status, status, "{target}");
    }
    gate.open(1);
    let [second, third] = ["2", "3"].map(|id| spool.wait_record(&format!("complete/{id}")));
    assert!(
        third["started_at"].as_str() < second["started_at"].as_str(),
        "{third} {second}"
    );

    spool.config(r#"{"http": {"anonymous": ["read"]}}"#);
    for verb in ["urgent", "move?queue=mail"] {
        assert_eq!(steer(&format!("3/{verb}")).status, 401, "{verb}");
    }
}

#[test]
fn a_job_is_accepted_as_held() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let job = r#"{"command": "true", "queue": "mail"}"#;
    let pushed = post(port, "/v1/jobs?hold", job);
    assert_eq!(pushed.status, 201, "{}", pushed.text());
    assert_eq!(pushed.json()["state"], "held");
    let put = |target: &str| ask(port, "PUT", &format!("/v1/jobs/{target}"), &[], job);
    assert_eq!(put("a?hold=true").json()["state"], "held");
    assert_eq!(put("a?hold").status, 200, "the same job");
    assert_eq!(put("b?hold=maybe").status, 400);
    assert_eq!(put("b?hold=false").json()["id"], "b");
    spool.wait_record("complete/b");
    assert_eq!(spool.ls("held"), ["1", "a"]);
    post(port, "/v1/jobs/1/release", "");
    assert_eq!(spool.wait_record("complete/1")["queue"], "mail");
    let keyed = ["Idempotency-Key: k"];
    let keyed = ask(port, "POST", "/v1/jobs?hold", &keyed, job);
    assert_eq!(keyed.json()["state"], "held");
}

#[test]
fn a_held_job_waits_until_it_is_released() {
    let (mut spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    post(port, "/v1/jobs", r#"{"command": "true", "queue": "mail"}"#);
    post(port, "/v1/jobs", "true");
    for id in ["1", "2"] {
        assert_eq!(
            post(port, &format!("/v1/jobs/{id}/hold"), "").json()["state"],
            "held"
        );
    }
    assert_eq!(spool.ls("held"), ["1", "2"]);
    assert_eq!(spool.read("config.json"), ANYBODY_MAY_RUN);
    let listed = get(port, "/v1/jobs?state=held").json();
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(get(port, "/v1/queues").json()["held"], 2);
    assert!(
        get(port, "/metrics")
            .text()
            .contains("pirn_jobs{state=\"held\"} 2\n")
    );
    spool.stop();
    let port = spool.serve_http(&[]);
    // What comes later runs; what is held does not.
    post(port, "/v1/jobs?wait=20s", "true");
    assert_eq!(spool.ls("held"), ["1", "2"]);
    for id in ["1", "2"] {
        assert_eq!(
            post(port, &format!("/v1/jobs/{id}/release"), "").status,
            200
        );
        spool.wait_record(&format!("complete/{id}"));
    }
    assert_eq!(spool.record("complete/1")["queue"], "mail");
    assert_eq!(spool.record("complete/2").get("queue"), None);
}

#[test]
fn queues_are_shown_and_changed() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "1"]);
    let patch = |target: &str, body: &str| ask(port, "PATCH", target, &[], body);
    let changed = patch("/v1/queues/mail", r#"{"paused": true, "slots": 2}"#);
    assert_eq!(changed.status, 200, "{}", changed.text());
    post(port, "/v1/jobs", r#"{"command": "true", "queue": "mail"}"#);
    post(port, "/v1/jobs?wait=20s", "true");
    let queues = get(port, "/v1/queues").json();
    let mail = json!({"name": "mail", "waiting": 1, "paused": true, "slots": 2, "used": 0});
    assert!(
        queues["queues"].as_array().unwrap().contains(&mail),
        "{queues}"
    );
    assert_eq!(
        patch("/v1/queues/mail", r#"{"paused": false, "slots": null}"#).status,
        200
    );
    spool.wait_record("complete/1");
    assert_eq!(
        patch("/v1/queues", r#"{"paused": true}"#).json()["paused"],
        true
    );
    assert!(spool.has("pending/.paused") && !spool.has("pending/mail/.paused"));
    // The settings have the slots of a queue only, and no longer those that were taken back.
    assert_eq!(spool.record("config.json")["queues"], json!({"mail": {}}));
    assert_eq!(patch("/v1/queues", r#"{"paused": false}"#).status, 200);
    for (target, status) in [("default", 409), ("nosuch", 404)] {
        let target = format!("/v1/queues/{target}");
        assert_eq!(
            patch(&target, r#"{"paused": true}"#).status,
            status,
            "{target}"
        );
    }
    // A setting that pauses is for people.
    let text = r#"{"http": {"anonymous": ["read", "run", "admin"]}, "queues": {"mail": {"paused": true}}}"#;
    std::fs::write(spool.path().join("config.json"), text).unwrap();
    let refused = patch("/v1/queues/mail", r#"{"paused": false}"#);
    assert_eq!(refused.status, 409);
    assert!(
        refused.text().contains("queues.mail.paused"),
        "{}",
        refused.text()
    );
    for (body, status) in [
        ("[]", 400),
        ("{\"paused\": 1}", 422),
        ("{\"pause\": true}", 422),
    ] {
        assert_eq!(patch("/v1/queues/mail", body).status, status, "{body}");
    }
    assert_eq!(patch("/v1/queues/.x", "{}").status, 400);
    std::fs::write(
        spool.path().join("config.json"),
        "{\"http\": {\"anonymous\": [\"admin\"]}, ]",
    )
    .unwrap();
    assert_eq!(patch("/v1/queues/mail", r#"{"slots": 1}"#).status, 409);
}

/// Each answer is compared with where the job is then.
#[test]
fn delete_of_a_job_that_is_being_started_says_what_becomes_of_it() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "40"]);
    let mut conn = Conn::to(port);
    for round in 0..30 {
        for id in (0..20).map(|n| format!("r{round}-{n}")) {
            spool.drop_file(&id, "exec sleep 600");
            // The daemon needs about as long to start it.
            std::thread::sleep(Duration::from_micros(round * 15));
            conn.ask("DELETE", &format!("/v1/jobs/{id}"), &[], "");
            let status = conn.reply_to("DELETE").unwrap().status;
            let runs = spool.has(&format!("active/{id}"));
            assert_eq!(status, if runs { 409 } else { 204 }, "{id}");
        }
        for id in spool.ls("active") {
            conn.ask("DELETE", &format!("/v1/jobs/{id}?kill"), &[], "");
            assert_eq!(conn.reply_to("DELETE").unwrap().status, 202);
        }
        spool.wait_for("all to end", || spool.all_processes().is_empty());
    }
}
