//! Jobs of other servers' clients that a forced stop of the daemon cuts off.

use crate::client::{ask, get, post};
use crate::spool::Spool;
use crate::worker::Worker;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

const JSON: &str = "Content-Type: application/json";

fn stop_by_force(spool: &mut Spool) {
    spool.signal("TERM");
    spool.wait_daemon_log("stopping");
    spool.signal("TERM");
    assert_eq!(spool.wait_exit(), 0);
}

#[test]
fn a_call_of_hq_and_a_script_of_qmd_are_run_again() {
    let (mut spool, port) = Spool::with_http("{}", &["--slots", "2"]);
    let go = spool.beside("go");
    spool.script(
        "go.sh",
        &format!(
            "#!/bin/sh\n[ -e {} ] || sleep 600\necho through\n",
            go.display()
        ),
    );
    let worker = Worker::with(&["hang"]);
    let call = json!({"url": worker.url("/")}).to_string();
    assert_eq!(ask(port, "POST", "/job", &[JSON], &call).status, 200);
    // With a callback nobody waits for the result.
    let run = json!({"callback_url": worker.url("/told")}).to_string();
    assert_eq!(post(port, "/scripts/go.sh", &run).status, 200);
    for id in ["1", "2"] {
        spool.wait_note(id);
    }
    worker.wait(1);
    std::fs::write(go, "").unwrap();
    stop_by_force(&mut spool);
    let port = spool.serve_http(&[]);
    for id in ["1", "2"] {
        let record = spool.wait_record(&format!("complete/{id}"));
        assert_eq!(
            (
                &record["attempt"],
                &record["interruptions"],
                &record["tries"]
            ),
            (&json!(2), &json!(1), &json!(1)),
            "{record}"
        );
        assert_eq!(
            get(port, &format!("/v1/jobs/{id}")).json()["interruptions"],
            1
        );
    }
    assert_eq!(get(port, "/job/1").json()["status"], "success");
}

#[test]
fn a_payload_of_jobrunner_is_not() {
    let mut spool = Spool::new();
    std::fs::create_dir_all(spool.path()).unwrap();
    let mut daemon = spool.command(["serve", "--jobrunner"]);
    let command = spool.beside("command");
    std::fs::write(&command, "#!/bin/sh\nexec sleep 600\n").unwrap();
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(&command)
        .status()
        .unwrap();
    daemon
        .env("JOBRUNNER_CMD", &command)
        .env("JOBRUNNER_HTTP_LISTEN_PORT", "0");
    spool.serve_with(daemon);
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let payload = json!({"id": "p", "data": STANDARD.encode("x")}).to_string();
    let mut client = crate::client::Conn::to(spool.ports()[0]);
    client.ask("POST", "/payload", &[JSON], &payload);
    assert_eq!(spool.wait_note("1")["max_interruptions"], 0);
    stop_by_force(&mut spool);
    let record = spool.wait_record("failed/1");
    assert_eq!(
        (&record["reason"], &record["interruptions"]),
        (&json!("interrupted"), &json!(1))
    );
}
