//! The parameters of the query that each path has.

use crate::client::{ANYBODY_MAY_RUN, ask, get};
use crate::spool::Spool;

/// As in `doc/openapi.yaml`.
const REQUESTS: [(&str, &str, &[&str]); 19] = [
    (
        "GET",
        "/v1/jobs",
        &[
            "state", "queue", "tag", "name", "search", "after", "reverse", "limit",
        ],
    ),
    ("POST", "/v1/jobs", &["hold", "wait"]),
    ("POST", "/v1/jobs:batch", &[]),
    ("GET", "/v1/jobs/a", &["wait"]),
    ("PUT", "/v1/jobs/b", &["hold", "replace", "wait"]),
    ("DELETE", "/v1/jobs/a", &["kill"]),
    ("POST", "/v1/jobs/a/copy", &["wait"]),
    ("GET", "/v1/jobs/a/log", &["stream", "follow", "from"]),
    ("POST", "/v1/jobs/a/cancel", &[]),
    ("POST", "/v1/jobs/a/hold", &[]),
    ("POST", "/v1/jobs/a/move", &["queue"]),
    ("GET", "/v1/events", &[]),
    ("GET", "/v1", &[]),
    ("GET", "/v1/whoami", &[]),
    ("GET", "/v1/scripts", &[]),
    ("GET", "/v1/remote", &[]),
    ("GET", "/v1/queues", &[]),
    ("PATCH", "/v1/queues", &[]),
    ("PATCH", "/v1/queues/default", &[]),
];

#[test]
fn an_unknown_parameter_is_named_with_the_nearest_one() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    spool.drop_file("a", "true");
    spool.wait_for("the job to be known", || {
        get(port, "/v1/jobs/a").status == 200
    });
    let refusal = |method: &str, target: &str| {
        let reply = ask(port, method, target, &[], "true");
        assert_eq!(reply.status, 400, "{method} {target}: {}", reply.text());
        reply.json()["detail"].as_str().unwrap().to_owned()
    };
    for (method, path, known) in REQUESTS {
        let why = refusal(method, &format!("{path}?frobnicate=1"));
        let here = match known {
            [] => "there are none here".to_owned(),
            _ => format!("the parameters here are {}", known.join(", ")),
        };
        assert_eq!(why, format!("unknown parameter \"frobnicate\"; {here}"));
        for name in known {
            // A known parameter beside it changes nothing.
            let why = refusal(method, &format!("{path}?{name}=1&{name}x=1"));
            let hint = format!("did you mean {name:?}?");
            assert_eq!(why, format!("unknown parameter \"{name}x\"; {hint}"));
        }
    }
    // Nothing was done.
    let jobs = get(port, "/v1/jobs").json()["jobs"].clone();
    let states = jobs.as_array().unwrap().iter().map(|job| &job["state"]);
    assert_eq!(states.collect::<Vec<_>>(), ["pending"]);
    // Other paths, and OPTIONS, ignore parameters that they do not know.
    for target in ["/healthz?x", "/readyz?x", "/metrics?x", "/job?x"] {
        assert_eq!(get(port, target).status, 200, "{target}");
    }
    assert_eq!(ask(port, "OPTIONS", "/v1/jobs?x", &[], "").status, 204);
}
