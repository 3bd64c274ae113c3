//! Slots and tokens of jobs that came over HTTP.

use crate::client::{get, post};
use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::{Value, json};

const CONFIG: &str = r#"{"slots": 3, "tokens": {"gpu": ["0", "7"], "licence": 2},
    "http": {"anonymous": ["read", "run", "admin"]}}"#;

fn push(port: u16, record: &Value) -> String {
    let made = post(port, "/v1/jobs", &record.to_string());
    assert_eq!(made.status, 201, "{}", made.text());
    if record["use"]["gpu"] == 3 {
        let text = &made.json()["waiting"]["text"];
        assert_eq!(text, "it needs 3 gpu, and there are 2 in all");
    }
    made.json()["id"].as_str().unwrap().to_owned()
}

fn waiting(port: u16, id: &str) -> Value {
    get(port, &format!("/v1/jobs/{id}")).json()["waiting"].clone()
}

#[test]
fn a_pushed_job_waits_for_its_tokens() {
    let (spool, port) = Spool::with_http(CONFIG, &[]);
    let mut gate = Gate::new(&spool, "gate");
    let first = push(
        port,
        &json!({"command": gate.wait(), "use": {"gpu": 1, "licence": 1}, "slots": 2}),
    );
    spool.wait_note(&first);
    let told = r#"echo "$PIRN_GPU $CUDA_VISIBLE_DEVICES""#;
    let both = push(port, &json!({"command": told, "use": {"gpu": 2}}));
    let wide = push(port, &json!({"command": "true", "slots": 2}));
    let why = |why: &str, text: &str| json!({"why": why, "text": text});
    assert_eq!(
        waiting(port, &both),
        why("tokens", "it needs 2 gpu, and 1 of 2 are free")
    );
    assert_eq!(
        waiting(port, &wide),
        why("weight", "it takes 2 slots, and 1 of 3 are free")
    );
    let queues = get(port, "/v1/queues").json();
    assert_eq!((&queues["used"], &queues["slots"]), (&json!(2), &json!(3)));
    assert_eq!(queues["queues"][0]["used"], 2);
    assert_eq!(
        queues["tokens"],
        json!([{"name": "gpu", "used": 1, "total": 2}, {"name": "licence", "used": 1, "total": 2}])
    );
    let metrics = get(port, "/metrics").text();
    for line in [
        "pirn_tokens{token=\"gpu\"} 2",
        "pirn_tokens_used{token=\"gpu\"} 1",
        "pirn_tokens_used{token=\"licence\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    gate.open(1);
    assert_eq!(
        spool.wait_record(&format!("complete/{both}"))["output"],
        "0,7 0,7\n"
    );
    spool.wait_record(&format!("complete/{wide}"));
}

#[test]
fn a_push_that_asks_for_more_than_there_is_waits() {
    let (_spool, port) = Spool::with_http(CONFIG, &[]);
    for (record, text) in [
        (
            json!({"slots": 4}),
            "it takes 4 slots, and there are 3 in all",
        ),
        (
            json!({"use": {"gpu": 3}}),
            "it needs 3 gpu, and there are 2 in all",
        ),
        (
            json!({"use": {"tape": 1}}),
            "it needs 1 tape, and the settings have no such token",
        ),
    ] {
        let mut job = json!({"command": "true"});
        job.as_object_mut()
            .unwrap()
            .extend(record.as_object().unwrap().clone());
        let id = push(port, &job);
        assert_eq!(waiting(port, &id)["text"], text);
    }
    let id = push(port, &json!({"command": "true"}));
    assert_eq!(
        get(port, &format!("/v1/jobs/{id}?wait=20s")).json()["state"],
        "complete"
    );
    for wrong in [
        json!({"command": "true", "use": {"GPU": 1}}),
        json!({"command": "true", "slots": 0}),
    ] {
        assert_eq!(
            post(port, "/v1/jobs", &wrong.to_string()).status,
            422,
            "{wrong}"
        );
    }
}

#[test]
fn the_queues_tell_the_troubles_of_the_spool() {
    let (spool, port) = Spool::with_http(CONFIG, &[]);
    let told = || get(port, "/v1/queues").json();
    let calm = told();
    for key in ["config_error", "shortage", "trouble"] {
        assert_eq!(calm[key], Value::Null, "{key}");
    }
    spool.config("{\"slots\": \"many\"}");
    let error = told()["config_error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("config.json is not used: "), "{error}");
    assert_eq!(told()["slots"], 3, "the earlier settings stay");
    let full = CONFIG.replacen('{', r#"{"min_free": "99%", "#, 1);
    spool.config(&full);
    let full = told();
    assert_eq!(full["config_error"], Value::Null);
    assert!(
        full["shortage"].as_str().unwrap().contains("free"),
        "{full}"
    );
}
