//! The progress of running jobs, in lists and where one job is asked for.

use crate::client::{ANYBODY_MAY_RUN, ask, get, post};
use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::{Value, json};

#[test]
fn running_jobs_show_their_progress() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "2"]);
    let mut gate = Gate::new(&spool, "gate");
    let tells = format!(
        "echo '42% <b>half</b>' > $PIRN_PROGRESS; echo told; {}",
        gate.wait()
    );
    let quiet = format!("echo quiet; {}", gate.wait());
    for command in [tells, quiet] {
        let job = json!({ "command": command });
        assert_eq!(post(port, "/v1/jobs", &job.to_string()).status, 201);
    }
    let has_written = |log: &str| spool.has(log) && !spool.read(log).is_empty();
    spool.wait_for("both to run", || {
        has_written("log/1") && has_written("log/2")
    });
    let told = json!({"done": 0.42, "text": "<b>half</b>"});
    // The note changes the tag of a job.
    spool.wait_note("1");
    let list = get(port, "/v1/jobs?state=active").json();
    let of = |n: usize| list["jobs"][n].get("progress").cloned();
    assert_eq!((of(0), of(1)), (Some(told.clone()), None));
    let one = get(port, "/v1/jobs/1");
    assert_eq!(one.json()["progress"], told);
    // It changes the tag, so that who asks again with the old one sees it.
    let tag = format!("If-None-Match: {}", one.header("etag"));
    let again = || ask(port, "GET", "/v1/jobs/1", &[&tag], "").status;
    assert_eq!(again(), 304);
    let path = spool.path().join("tmp/.-progress.1");
    std::fs::write(path, "1\n").unwrap();
    assert_eq!(again(), 200);
    let waited = get(port, "/v1/jobs/1?wait=0.01");
    assert_eq!(
        (waited.status, &waited.json()["progress"]["done"]),
        (202, &json!(1.0))
    );
    gate.open(2);
    let ended = get(port, "/v1/jobs/1?wait=20s").json();
    assert_eq!(
        (&ended["state"], ended.get("progress")),
        (&json!("complete"), None::<&Value>)
    );
}
