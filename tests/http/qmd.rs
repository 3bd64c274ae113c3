//! qmd's paths: what its README asks, unchanged but for the port, and what clients rely on beside that.

use crate::client::{Conn, Reply, ask, get, post};
use crate::spool::Spool;
use crate::tools::Gate;
use crate::worker::Worker;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::process::Command;

/// Shows what a script is given.
const SHOW: &str = r#"#!/bin/sh
for arg; do echo "arg $arg"; done
ls -A
cat "$QMD_TMP/in.txt"
[ "$(pwd)" = "$QMD_TMP" ] && echo at home
echo to stderr >&2
echo kept >> "$QMD_STORE/seen"
printf 'the <result>' > "$QMD_OUT"
"#;

fn with_scripts(config: &str, scripts: &[(&str, &str)]) -> (Spool, u16) {
    let (spool, port) = Spool::with_http(config, &[]);
    for (name, text) in scripts {
        spool.script(name, text);
    }
    (spool, port)
}

/// Runs curl; `None` if there is none.
pub fn curl(args: &[&str]) -> Option<String> {
    let output = match Command::new("curl")
        .args(["-s", "-m", "60"])
        .args(args)
        .output()
    {
        Ok(output) => output,
        Err(e) => {
            println!("skipped: curl cannot be run: {e}");
            return None;
        }
    };
    assert!(output.status.success(), "curl {args:?}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn run(port: u16, script: &str, body: &str) -> Value {
    let reply = post(port, &format!("/scripts/{script}"), body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    reply.json()
}

/// A request that nobody has answered yet.
fn begin(port: u16, target: &str) -> Conn {
    let mut conn = Conn::to(port);
    conn.ask("POST", target, &[], "{}");
    conn
}

#[test]
fn the_requests_of_the_readme() {
    let (_spool, port) = with_scripts("{}", &[("show.sh", SHOW)]);
    let at = format!("http://127.0.0.1:{port}");
    let body = r#"{"args": ["one", "t w o"], "files": {"in.txt": "a file\n"}}"#;
    let target = format!("{at}/scripts/show.sh");
    let Some(text) = curl(&["-X", "POST", &target, "-d", body]) else {
        return;
    };
    let result: Value = serde_json::from_str(&text).unwrap();
    let field = |name: &str| result[name].as_str().unwrap().to_owned();
    let wanted = format!(
        "{{\"id\":\"1\",\"script\":\"show.sh\",\"args\":[\"one\",\"t w o\"],\"files\":{{\"in.txt\":\"a file\\n\"}},\
         \"output\":\"the <result>\",\
         \"exec_log\":\"arg one\\narg t w o\\nin.txt\\na file\\nat home\\nto stderr\\n\",\
         \"status\":\"OK\",\"start_time\":{:?},\"end_time\":{:?},\"duration\":{:?}}}\n",
        field("start_time"),
        field("end_time"),
        field("duration"),
    );
    assert_eq!(text, wanted);
    let (whole, part) = result["duration"]
        .as_str()
        .unwrap()
        .split_once('.')
        .unwrap();
    assert!(whole.parse::<u32>().is_ok() && part.len() == 6);
    let get = |path: &str| curl(&[&format!("{at}{path}")]).unwrap();
    assert_eq!(get("/ping"), ".");
    assert_eq!(get("/scripts"), "[\"show.sh\"]\n");
    assert_eq!(
        get("/scripts/show.sh/logs"),
        format!("[{}]\n", text.trim_end())
    );
    assert_eq!(get("/scripts/show.sh/logs?limit=0"), "[]\n");
    assert_eq!(get("/scripts/show.sh/logs/1"), text);
    assert_eq!(get("/jobs/1"), text);
    assert_eq!(
        get("/jobs/"),
        "Queued: 0\n- 0 (urgent)\n- 0 (high)\n- 0 (low)\n\nRunning: 0\n- 0 (urgent)\n- 0 (high)\n- 0 (low)\n\n\
         Finished (in-cache): 1\n\nFinished (total): 1"
    );
    assert_eq!(
        curl(&["-X", "PUT", &format!("{at}/scripts")]).unwrap(),
        "Reload request sent"
    );
}

#[test]
fn what_a_script_leaves_behind() {
    let (spool, port) = with_scripts("{}", &[("show.sh", SHOW)]);
    for _ in 0..2 {
        run(port, "show.sh", "{}");
    }
    assert_eq!(spool.scratch(), Vec::<String>::new());
    assert_eq!(spool.read("store/seen"), "kept\nkept\n");
    assert_eq!(spool.record("complete/2")["queue"], "qmd");
}

#[test]
fn how_runs_end() {
    let (spool, port) = with_scripts(
        "{}",
        &[
            ("three", "#!/bin/sh\necho out; exit 3\n"),
            ("hangup", "#!/bin/sh\nkill -HUP $$\n"),
            ("slow", "#!/bin/sh\nexec sleep 600\n"),
            (
                "deaf",
                "#!/bin/sh\ntrap '' TERM\necho deaf\nwhile :; do sleep 600; done\n",
            ),
            ("noisy", "#!/bin/sh\necho out\nkill -HUP $$\n"),
            ("broken", "#!/no/such/program\n"),
        ],
    );
    let is_end = |result: &Value, status: &str, error: &str| {
        assert_eq!(
            (&result["status"], &result["error"], &result["output"]),
            (&json!(status), &json!(error), &json!("")),
            "{result}"
        );
    };
    is_end(&run(port, "three", "{}"), "ERR", "exit status 3");
    is_end(&run(port, "hangup", "{}"), "ERR", "signal: hangup");
    // The signal is at the end of what the script wrote, too.
    for (script, log) in [
        ("three", "out\n"),
        ("hangup", "\nsignal: hangup"),
        ("noisy", "out\n\nsignal: hangup"),
    ] {
        assert_eq!(run(port, script, "{}")["exec_log"], log, "{script}");
    }
    let result = run(port, "broken", "{}");
    assert_eq!(result["status"], "ERR");
    assert!(
        result["error"].as_str().unwrap().contains("cannot execute"),
        "{result}"
    );
    assert_eq!(
        spool.record("failed/1")["attempt"],
        1,
        "a run has one result"
    );
    let use_defaults = |defaults: &str| {
        let reads = || spool.daemon_log().matches("config: read").count();
        let before = reads();
        spool.config(&format!(
            r#"{{"queues": {{"qmd": {{"defaults": {defaults}}}}}}}"#
        ));
        spool.wait_for("the settings to be read", || reads() > before);
    };
    use_defaults(r#"{"timeout": "300ms"}"#);
    is_end(&run(port, "slow", "{}"), "TIMED_OUT", "signal: terminated");
    use_defaults(r#"{"timeout": "300ms", "grace": "200ms"}"#);
    // It may be told to end before it is deaf.
    let runs = || run(port, "deaf", "{}");
    let is_deaf = |run: &Value| {
        run["exec_log"]
            .as_str()
            .is_some_and(|log| log.contains("deaf"))
    };
    let result = std::iter::repeat_with(runs).take(50).find(is_deaf);
    is_end(&result.unwrap(), "TIMED_OUT", "signal: killed");
}

/// Results are in `$QMD_TMP/qmd.out`, whether or not a script asks `$QMD_OUT`. The caller's files have the names and the
/// mode that qmd gives them.
#[test]
fn files_and_results_are_where_qmd_has_them() {
    let by_name = "#!/bin/sh\necho $QMD_OUT; echo yes > $QMD_TMP/qmd.out\n";
    let list = "#!/bin/sh\nstat -c '%a %n' -- .babelrc -x x.tmp; cat .babelrc\n";
    let (_spool, port) = with_scripts("{}", &[("by-name", by_name), ("list", list)]);
    let result = run(port, "by-name", "{}");
    assert_eq!(
        (&result["output"], &result["status"]),
        (&json!("yes\n"), &json!("OK"))
    );
    let log = result["exec_log"].as_str().unwrap();
    assert!(log.ends_with("/tmp/1/qmd.out\n"), "{log}");
    let files = r#"{"files": {".babelrc": "{}\n", "-x": "", "x.tmp": ""}}"#;
    let result = run(port, "list", files);
    assert_eq!(result["exec_log"], "644 .babelrc\n644 -x\n644 x.tmp\n{}\n");
}

/// A link that leads out of `scripts/` starts nothing, whoever asks.
#[test]
fn links_stay_inside() {
    let config = r#"{"http": {"anonymous": ["read", "run"]}}"#;
    let (spool, port) = with_scripts(config, &[("s.sh", "#!/bin/sh\necho in\n")]);
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, spool.path().join("scripts").join(name)).unwrap();
    };
    link("s.sh", "same");
    link("/bin/sh", "sh");
    link("../config.json", "up");
    link("nowhere", "dangling");
    assert_eq!(get(port, "/scripts").text(), "[\"s.sh\",\"same\"]\n");
    let listed = get(port, "/v1/scripts").json();
    assert_eq!(listed, json!({"scripts": ["s.sh", "same"]}));
    assert_eq!(run(port, "same", "{}")["exec_log"], "in\n");
    for name in ["sh", "up", "dangling"] {
        assert_eq!(post(port, &format!("/scripts/{name}"), "{}").status, 404);
        spool.drop_json(
            name,
            &json!({"script": name, "args": ["-c", "true"], "tries": 1}),
        );
        let (place, record) = spool.wait_end(name);
        assert_eq!(
            (place.as_str(), &record["reason"]),
            ("failed", &json!("not_started"))
        );
    }
    let error = spool.record("failed/sh")["error"].to_string();
    assert!(error.contains("link to one inside scripts/"), "{error}");
}

/// qmd's own whitelist: a name a line, read whenever it is asked for.
#[test]
fn a_whitelist() {
    let config = r#"{"http": {"qmd_whitelist": "whitelist"}}"#;
    let scripts = [("yes", "#!/bin/sh\n"), ("no", "#!/bin/sh\n")];
    let (spool, port) = with_scripts(config, &scripts);
    let path = spool.path().join("whitelist");
    // Without the file nothing is allowed: a slip in its name must not open all.
    assert_eq!(post(port, "/scripts/yes", "{}").status, 500);
    std::fs::write(&path, "\n yes \nother\n").unwrap();
    assert_eq!(get(port, "/scripts").text(), "[\"yes\"]\n");
    assert_eq!(run(port, "yes", "{}")["status"], "OK");
    for body in ["{}", r#"{"callback_url": "http://127.0.0.1:1/"}"#] {
        let refused = run(port, "no", body);
        assert_eq!(
            (&refused["status"], &refused["exec_log"], &refused["script"]),
            (
                &json!("ERR"),
                &json!("no is not on script whitelist"),
                &json!("no")
            ),
        );
    }
    assert_eq!(post(port, "/scripts/missing", "{}").status, 404);
    assert_eq!(spool.ls("complete"), ["1"]);
    assert_eq!(
        (spool.ls("failed"), spool.ls("pending/qmd")),
        (vec![], vec![])
    );
    std::fs::write(&path, "no\n").unwrap();
    assert_eq!(
        curl(&["-X", "PUT", &format!("http://127.0.0.1:{port}/scripts")])
            .as_deref()
            .unwrap_or("Reload request sent"),
        "Reload request sent"
    );
    assert_eq!(run(port, "no", "{}")["status"], "OK");
    // A directory is no list.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(get(port, "/scripts").text(), "[\"no\",\"yes\"]\n");
}

#[test]
fn what_is_not_run() {
    let (spool, port) = with_scripts("{}", &[("s.sh", "#!/bin/sh\n")]);
    std::fs::write(spool.path().join("scripts/text"), "no program").unwrap();
    for (method, target, body, status, text) in [
        ("POST", "/scripts/s.sh", "", 422, "parse request body: EOF"),
        (
            "POST",
            "/scripts/s.sh",
            "{",
            422,
            "parse request body: unexpected EOF",
        ),
        (
            "POST",
            "/scripts/s.sh",
            "[]",
            422,
            "parse request body: expected a JSON object",
        ),
        (
            "POST",
            "/scripts/s.sh",
            r#"{"args": [1]}"#,
            422,
            "parse request body: args: expected a list of strings",
        ),
        (
            "POST",
            "/scripts/s.sh",
            r#"{"files": {"../x": ""}}"#,
            422,
            "parse request body: extra files must not contain any slashes in the path",
        ),
        (
            "POST",
            "/scripts/s.sh",
            r#"{"files": {".out": ""}}"#,
            422,
            "files..out: the file name \".out\" is that of $PIRN_OUT",
        ),
        (
            "POST",
            "/scripts/s.sh",
            r#"{"files": {"a\u0000b": ""}}"#,
            422,
            "files.a\\u{0}b: the file name \"a\\0b\" contains a control character",
        ),
        (
            "POST",
            "/scripts/s.sh",
            r#"{"args": ["a\u0000"]}"#,
            422,
            "args: contains a NUL character",
        ),
        (
            "POST",
            "/scripts/s.sh",
            r#"{"callback_url": "http://169.254.169.254/latest"}"#,
            422,
            "callback_url: calling 169.254.169.254 at port 80 is not allowed; see url_allow under http in the config",
        ),
        (
            "POST",
            "/scripts/s.sh",
            r#"{"callback_url": "https://u@[fe80::1]/"}"#,
            422,
            "callback_url: calling fe80::1 at port 443 is not allowed; see url_allow under http in the config",
        ),
        (
            "POST",
            "/scripts/s.sh?priority=now",
            "{}",
            422,
            "unknown priority \"now\"",
        ),
        ("POST", "/scripts/other.sh", "{}", 404, "not found"),
        ("POST", "/scripts/text", "{}", 404, "not found"),
        ("POST", "/scripts/..%2Fconfig.json", "{}", 404, "not found"),
        ("GET", "/scripts/s.sh", "", 405, "Method Not Allowed"),
        ("DELETE", "/jobs/1", "", 405, "Method Not Allowed"),
        ("GET", "/jobs/7", "", 404, "not found"),
        ("GET", "/jobs/..", "", 404, "not found"),
        ("GET", "/scripts/s.sh/logs/7", "", 404, "not found"),
        (
            "GET",
            "/scripts/s.sh/logs?limit=x",
            "",
            422,
            "limit: expected a whole number, got \"x\"",
        ),
    ] {
        let reply = ask(port, method, target, &[], body);
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (status, text),
            "{method} {target} {body}"
        );
        assert!(
            reply.header("content-type").starts_with("text/plain"),
            "{reply:?}"
        );
    }
    assert_eq!(spool.ls("pending"), Vec::<String>::new());
    assert_eq!(get(port, "/scripts").text(), "[\"s.sh\"]\n");
    // What the body says of these means nothing.
    let result = run(
        port,
        "s.sh",
        r#"{"script": "text", "id": "7", "status": "ERR", "topic": "x"} rest"#,
    );
    assert_eq!(
        (&result["id"], &result["script"], &result["status"]),
        (&json!("1"), &json!("s.sh"), &json!("OK"))
    );
    assert_eq!(run(port, "s.sh", "null")["status"], "OK");
}

#[test]
fn priorities_and_what_waits() {
    let (spool, port) = with_scripts(r#"{"slots": 1}"#, &[]);
    let mut gate = Gate::new(&spool, "gate");
    let note = "echo $PIRN_ID >> $QMD_STORE/order";
    spool.script("gate.sh", &format!("#!/bin/sh\n{}\n{note}\n", gate.wait()));
    let mut running = begin(port, "/scripts/gate.sh");
    spool.wait_file("active/1");
    let waiting = ["low", "high", "urgent", "low"].map(|priority| {
        let before = spool.ls("pending/qmd").len();
        let conn = begin(port, &format!("/scripts/gate.sh?priority={priority}"));
        spool.wait_for("it to wait", || spool.ls("pending/qmd").len() > before);
        conn
    });
    assert_eq!(
        get(port, "/jobs").text(),
        "Queued: 4\n- 1 (urgent)\n- 1 (high)\n- 2 (low)\n\nRunning: 1\n- 0 (urgent)\n- 1 (high)\n- 0 (low)\n\n\
         Finished (in-cache): 0\n\nFinished (total): 0"
    );
    let listed = ask(port, "GET", "/jobs", &["Accept: application/json"], "").json();
    let short = |job: &Value| {
        format!("{} {} {}", job["id"], job["status"], job["priority"]).replace('"', "")
    };
    let listed: Vec<String> = listed.as_array().unwrap().iter().map(short).collect();
    let wanted = [
        "1 RUNNING high",
        "2 QUEUED low",
        "3 QUEUED high",
        "4 QUEUED urgent",
        "5 QUEUED low",
    ];
    assert_eq!(listed, wanted);
    let queued = get(port, "/scripts/gate.sh/logs/2").json();
    assert_eq!(
        (&queued["status"], &queued["start_time"]),
        (&json!("QUEUED"), &json!("0001-01-01T00:00:00Z"))
    );
    // GET /jobs/ID waits as the caller of the script does.
    let mut second = Conn::to(port);
    second.ask("GET", "/jobs/2", &[], "");
    gate.open(5);
    assert_eq!(running.reply().json()["id"], "1");
    let ids = waiting.map(|mut conn| conn.reply().json()["id"].clone());
    assert_eq!(ids, ["2", "3", "4", "5"]);
    assert_eq!(spool.read("store/order"), "1\n4\n3\n2\n5\n");
    assert_eq!(second.reply().json()["id"], "2");
    let newest_first: Vec<Value> = get(port, "/scripts/gate.sh/logs?limit=2")
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["id"].clone())
        .collect();
    assert_eq!(newest_first, ["5", "4"]);
}

#[test]
fn many_wait_at_once() {
    let (_spool, port) = with_scripts(r#"{"slots": 4}"#, &[("say.sh", "#!/bin/sh\necho \"$1\"\n")]);
    let mut conns: Vec<(usize, Conn)> = (0..40)
        .map(|n| {
            let mut conn = Conn::to(port);
            conn.ask(
                "POST",
                "/scripts/say.sh",
                &[],
                &format!("{{\"args\": [\"{n}\"]}}"),
            );
            (n, conn)
        })
        .collect();
    for (n, conn) in &mut conns {
        assert_eq!(conn.reply().json()["exec_log"], format!("{n}\n"));
    }
}

#[test]
fn a_daemon_that_ends_meanwhile() {
    let (mut spool, port) = with_scripts(r#"{"slots": 1}"#, &[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.script(
        "gate.sh",
        &format!("#!/bin/sh\n{}\necho through\n", gate.wait()),
    );
    let mut running = begin(port, "/scripts/gate.sh");
    spool.wait_note("1");
    let mut waiting = begin(port, "/scripts/gate.sh");
    spool.wait_file("pending/qmd/2");
    spool.signal("TERM");
    // Else the first may have ended, and the second have begun, before the daemon hears of it.
    spool.wait_daemon_log("stopping");
    gate.open(1);
    // What runs is finished; what waits stays, and its client is told where to ask.
    assert_eq!(running.reply().json()["exec_log"], "through\n");
    let late = waiting.reply();
    assert_eq!(
        (late.status, late.text().as_str()),
        (503, "Service Unavailable")
    );
    assert_eq!(late.header("location"), "/jobs/2");
    assert_eq!(spool.wait_exit(), 0);
    let port = spool.serve_http(&[]);
    let mut again = Conn::to(port);
    again.ask("GET", late.header("location"), &[], "");
    spool.wait_note("2");
    spool.crash();
    again.assert_closed();
    // The job lives on, and the next daemon knows it.
    let port = spool.serve_http(&[]);
    let mut again = Conn::to(port);
    again.ask("GET", "/jobs/2", &[], "");
    gate.open(1);
    let result: Reply = again.reply();
    assert_eq!(
        (result.status, &result.json()["exec_log"]),
        (200, &json!("through\n"))
    );
}

/// A crash of the machine, or of the container: the daemon and the jobs are gone at once. qmd and hq try nothing twice,
/// but an interruption is no failure.
#[test]
fn jobs_that_a_crash_cut_off_run_again() {
    let script =
        "#!/bin/sh\n[ -e $QMD_STORE/seen ] && exit; touch $QMD_STORE/seen; exec sleep 600\n";
    let (mut spool, port) = with_scripts(r#"{"slots": 2}"#, &[("cut.sh", script)]);
    let worker = Worker::with(&["hang"]);
    let _caller = begin(port, "/scripts/cut.sh");
    spool.wait_note("1");
    let push = json!({"url": worker.url("/")}).to_string();
    let pushed = ask(
        port,
        "POST",
        "/job",
        &["Content-Type: application/json"],
        &push,
    );
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    spool.wait_note("2");
    worker.wait(1);
    spool.crash();
    for pid in ["1", "2"].iter().flat_map(|id| spool.processes(id)) {
        crate::tools::sh(&format!("kill -KILL {pid}"));
        spool.wait_for("the job to be gone", || !crate::spool::is_alive(pid));
    }
    spool.serve_http(&[]);
    for id in ["1", "2"] {
        let record = spool.wait_record(&format!("complete/{id}"));
        assert_eq!(
            (&record["attempt"], &record["tries"]),
            (&json!(2), &json!(1))
        );
    }
    assert_eq!(worker.sent().len(), 2);
}

#[test]
fn a_client_that_goes_away() {
    let (spool, port) = with_scripts("{}", &[]);
    let mut gate = Gate::new(&spool, "gate");
    spool.script("gate.sh", &format!("#!/bin/sh\n{}\n", gate.wait()));
    let conn = begin(port, "/scripts/gate.sh");
    spool.wait_note("1");
    drop(conn);
    spool.wait_daemon_log("POST /scripts/gate.sh");
    gate.open(1);
    assert_eq!(get(port, "/jobs/1").json()["status"], "OK");
}

#[test]
fn a_long_log_is_cut() {
    let (spool, port) = with_scripts(
        "{}",
        &[("long.sh", "#!/bin/sh\nseq 400000; printf 'last \\377'\n")],
    );
    let log = run(port, "long.sh", "{}")["exec_log"]
        .as_str()
        .unwrap()
        .to_owned();
    // One byte is no UTF-8, and becomes a character of three.
    assert_eq!(log.len(), (1 << 20) + 2);
    assert!(log.ends_with("400000\nlast \u{fffd}"));
    assert!(std::fs::metadata(spool.path().join("log/1")).unwrap().len() > 2 << 20);
}

/// What goes to the callback is what a waiting client would have got.
#[test]
fn a_callback_is_the_whole_result() {
    let script = "#!/bin/sh\nseq 20000; printf 'last \\377'; printf out > $QMD_OUT; exit 4\n";
    let (_spool, port) = with_scripts("{}", &[("long.sh", script)]);
    let worker = Worker::with::<&[u8]>(&[]);
    let body = json!({"args": ["x"], "callback_url": worker.url("/done")});
    assert_eq!(run(port, "long.sh", &body.to_string())["status"], "QUEUED");
    let sent = worker.wait(1).remove(0);
    assert_eq!(
        (sent.line.as_str(), sent.one("content-type")),
        ("POST /done HTTP/1.1", "application/json")
    );
    let told: Value = serde_json::from_str(&sent.body).unwrap();
    let lines: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(told["exec_log"], format!("{lines}last \u{fffd}"));
    assert_eq!(
        (&told["status"], &told["error"], &told["output"]),
        (&json!("ERR"), &json!("exit status 4"), &json!("out"))
    );
    assert_eq!(told, get(port, "/jobs/1").json());
}

/// The original's times are those of the server's zone.
#[test]
fn times_are_local() {
    let mut spool = Spool::new();
    let mut daemon = spool.command(["serve", "--http", "127.0.0.1:0"]);
    // POSIX has the sign the other way round.
    daemon.env("TZ", "XYZ-05:30");
    spool.serve_with(daemon);
    spool.wait_for("the door to open", || !spool.ports().is_empty());
    let port = spool.ports()[0];
    spool.script("s.sh", "#!/bin/sh\n");
    let result = run(port, "s.sh", "{}");
    let record = spool.record("complete/1");
    for (ours, theirs) in [("started_at", "start_time"), ("finished_at", "end_time")] {
        let shown = result[theirs].as_str().unwrap();
        assert!(shown.ends_with("+05:30"), "{shown}");
        let instant = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(instant(&result[theirs]), instant(&record[ours]));
    }
    let jobs = get(port, "/jobs?format=json").json();
    assert_eq!(jobs[0]["end_time"], result["end_time"]);
}

#[test]
fn a_callback_means_what_it_means_in_a_record() {
    let (spool, port) = with_scripts(
        r#"{"slots": 0, "http": {"anonymous": ["read", "run"]}}"#,
        &[("s.sh", "#!/bin/sh\n")],
    );
    let wrong = post(port, "/scripts/s.sh", r#"{"callback_url": "ftp://x/"}"#);
    assert_eq!(
        (wrong.status, wrong.text().contains("callback_url")),
        (422, true)
    );
    let in_record = post(
        port,
        "/v1/jobs",
        r#"{"command": "true", "callback_url": "http://127.0.0.1:1/a"}"#,
    );
    let reply = post(
        port,
        "/scripts/s.sh",
        r#"{"args": ["x"], "callback_url": "127.0.0.1:1/a"}"#,
    );
    if in_record.status == 422 {
        assert_eq!(reply.status, 422);
        assert_eq!(
            reply.text(),
            "callback_url: this version of pirn does not support it yet"
        );
        assert_eq!(spool.ls("pending"), Vec::<String>::new());
        return;
    }
    let wanted = json!({
        "id": "2", "script": "s.sh", "args": ["x"], "callback_url": "http://127.0.0.1:1/a", "output": "",
        "exec_log": "", "status": "QUEUED", "start_time": "0001-01-01T00:00:00Z",
        "end_time": "0001-01-01T00:00:00Z", "duration": "",
    });
    assert_eq!((reply.status, reply.json()), (200, wanted));
}

#[test]
fn rights_and_limits() {
    let (spool, port) = with_scripts(
        r#"{"http": {"anonymous": ["read"]}, "max_pending": 0}"#,
        &[("s.sh", "#!/bin/sh\n")],
    );
    let token = spool.pirn(&["token", "new", "someone", "push"]).stdout;
    let bearer = format!("Authorization: Bearer {}", token.trim());
    assert_eq!(post(port, "/scripts/s.sh", "{}").status, 401);
    assert_eq!(ask(port, "PUT", "/scripts", &[], "").status, 401);
    assert_eq!(get(port, "/jobs").status, 200);
    for target in [
        "/jobs",
        "/jobs/1",
        "/scripts",
        "/scripts/s.sh/logs",
        "/scripts/s.sh/logs/1",
    ] {
        assert_eq!(
            ask(port, "GET", target, &[&bearer], "").status,
            403,
            "{target}"
        );
    }
    assert_eq!(ask(port, "GET", "/ping", &[&bearer], "").text(), ".");
    let full = ask(port, "POST", "/scripts/s.sh", &[&bearer], "{}");
    assert_eq!((full.status, full.header("retry-after")), (503, "10"));
    // The user and the password that clients of qmd send are a token's name and the token.
    let basic = |name: &str| {
        let pair = STANDARD.encode(format!("{name}:{}", token.trim()));
        let header = format!("Authorization: Basic {pair}");
        ask(port, "PUT", "/scripts", &[&header], "").status
    };
    assert_eq!((basic("someone"), basic("another")), (200, 401));
    let large = format!("{{\"args\": [\"{}\"]}}", "x".repeat(16 << 20));
    assert_eq!(
        ask(port, "POST", "/scripts/s.sh", &[&bearer], &large).status,
        503
    );
    std::fs::write(spool.path().join("config.json"), "{}").unwrap();
    assert_eq!(post(port, "/scripts/s.sh", &large).status, 413);
    let off = r#"{"http": {"dialects": ["hq"]}}"#;
    std::fs::write(spool.path().join("config.json"), off).unwrap();
    assert_eq!(get(port, "/ping").status, 404);
}
