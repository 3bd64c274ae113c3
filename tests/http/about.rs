//! What clients ask before they offer something: who they are, which scripts there are; searching, and copies.

use crate::client::{ANYBODY_MAY_RUN, ask, get, post};
use crate::spool::Spool;
use serde_json::{Value, json};

#[test]
fn callers_are_told_who_they_are() {
    let (spool, port) = Spool::with_http(r#"{"http": {"anonymous": ["push"]}}"#, &[]);
    let made = spool.pirn(&["token", "new", "ci", "read,run"]);
    let nobody = get(port, "/v1/whoami").json();
    assert_eq!(nobody, json!({"name": null, "rights": ["push"]}));
    let token = format!("Authorization: Bearer {}", made.stdout.trim());
    let ci = ask(port, "GET", "/v1/whoami", &[&token], "").json();
    let version = env!("CARGO_PKG_VERSION");
    let wanted = json!({"name": "ci", "rights": ["read", "push", "run"], "version": version});
    assert_eq!(ci, wanted);
    let wrong = ask(port, "GET", "/v1/whoami", &["Authorization: Bearer x"], "");
    assert_eq!(wrong.status, 401);
}

#[test]
fn scripts_are_listed_by_name() {
    let (spool, port) = Spool::with_http("{}", &[]);
    assert_eq!(get(port, "/v1/scripts").json(), json!({"scripts": []}));
    spool.script("sum", "#!/bin/sh\n");
    spool.script("build.sh", "#!/bin/sh\n");
    spool.script(".hidden", "#!/bin/sh\n");
    std::fs::create_dir(spool.path().join("scripts/lib")).unwrap();
    for (to, name) in [("sum", "yes"), ("/bin/true", "no")] {
        std::os::unix::fs::symlink(to, spool.path().join("scripts").join(name)).unwrap();
    }
    let listed = get(port, "/v1/scripts").json();
    assert_eq!(listed, json!({"scripts": ["build.sh", "sum", "yes"]}));
    spool.config(r#"{"http": {"anonymous": ["push"]}}"#);
    assert_eq!(get(port, "/v1/scripts").status, 401);
}

fn ids(port: u16, query: &str) -> Vec<String> {
    let page = get(port, &format!("/v1/jobs?{query}")).json();
    let jobs = page["jobs"].as_array().unwrap().iter();
    jobs.map(|job| job["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_search_looks_at_ids_names_tags_comments_commands_and_urls() {
    let (spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    spool.add(&["--id", "nightly-Backup", "true"]);
    spool.add(&["--name", "BACKUP of /srv", "true"]);
    spool.add(&["--tag", "a", "--tag", "has-backup", "true"]);
    spool.add(&["--name", "other", "--comment", "backup", "backup"]);
    spool.drop_json("call", &json!({"url": "http://me:hush@backup.example/x"}));
    assert_eq!(
        ids(port, "search=backup"),
        ["1", "2", "3", "call", "nightly-Backup"]
    );
    assert_eq!(ids(port, "search=hush").len(), 0, "a secret of a URL");
    spool.add(&["tar", "-cf", "x y.tar", "/srv"]);
    spool.script("fetch", "#!/bin/sh\n");
    spool.drop_json("script", &json!({"script": "fetch", "args": ["moon"]}));
    assert_eq!(ids(port, "search=tar%20-cf%20%27X%20Y"), ["4"]);
    assert_eq!(ids(port, "search=fetch%20moon"), ["script"]);
    assert_eq!(ids(port, "search=BackUp&limit=1&after=1"), ["2"]);
    // Records in which the text does not stand as it is searched for.
    spool.drop_file("escaped", r#"{"command": "w\u0061ning \u004doon"}"#);
    spool.drop_json("unit", &json!({"command": "true", "name": "\u{212a}elvin"}));
    spool.drop_file("line", r#"{"command": "first\nsecond"}"#);
    assert_eq!(ids(port, "search=waning%20moon"), ["escaped"]);
    assert_eq!(ids(port, "search=kelvin"), ["unit"]);
    assert_eq!(ids(port, "search=first%20second"), ["line"]);
    assert_eq!(ids(port, "search=%27").len(), 1);
    assert_eq!(ids(port, "search=").len(), 10);
    assert_eq!(ids(port, "search=%00").len(), 0);
}

#[test]
fn no_search_reads_without_end() {
    let (spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    for n in 1..=21_000 {
        let path = spool.path().join("complete").join(n.to_string());
        std::fs::write(path, r#"{"command": "true"}"#).unwrap();
    }
    let first = get(port, "/v1/jobs?name=nobody").json();
    assert_eq!(first, json!({"jobs": [], "next": "20000"}));
    let second = get(port, "/v1/jobs?name=nobody&after=20000").json();
    assert_eq!(second, json!({"jobs": [], "next": null}));
}

#[test]
fn a_copy_is_a_job_of_its_own() {
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let first = spool.add(&["true"]);
    let record = json!({
        "command": "echo $GREETING; exit 3", "env": {"GREETING": "hello"}, "tries": 1, "after": [first],
        "name": "polite", "x": {"kept": true},
    });
    let (_, done) = spool.run_json("greet", &record);
    let made = post(port, "/v1/jobs/greet/copy?wait=20s", "");
    assert_eq!((made.status, made.header("location")), (201, "/v1/jobs/2"));
    let copy = made.json();
    assert_eq!((&copy["name"], &copy["x"]), (&done["name"], &done["x"]));
    assert_eq!(copy["output"], "hello\n", "its environment went with it");
    assert_eq!(
        (&copy["attempt"], &copy["exit_code"]),
        (&json!(1), &json!(3))
    );
    assert_eq!((&copy["after"], &copy["env"]), (&Value::Null, &Value::Null));
    assert_eq!(spool.record("failed/greet"), done, "the first is as it was");
    assert_eq!(post(port, "/v1/jobs/nobody/copy", "").status, 404);

    // It may do no more than a push: the same rights are needed.
    spool.script("sum", "#!/bin/sh\n");
    spool.config(r#"{"http": {"anonymous": ["read", "push"]}}"#);
    let refused = post(port, "/v1/jobs/greet/copy", "");
    assert_eq!(refused.status, 401, "{}", refused.text());
    let script = post(port, "/v1/jobs", r#"{"script": "sum"}"#).json();
    let id = script["id"].as_str().unwrap();
    assert_eq!(post(port, &format!("/v1/jobs/{id}/copy"), "").status, 201);
}
