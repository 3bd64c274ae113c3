//! The page, in a browser. See also `ui_page.rs`.

use crate::browser::Browser;
use crate::client::{ANYBODY_MAY_RUN, get};
use crate::spool::Spool;
use crate::tools::Gate;
use serde_json::json;

fn page(port: u16, hash: &str) -> String {
    format!("http://127.0.0.1:{port}/ui{hash}")
}

const ROWS: &str = "[...document.querySelectorAll('.jobs tbody tr')].map((row) => row.innerText.replace(/\\s+/g, ' '))";

#[test]
fn jobs_appear_and_change_without_a_reload() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "1"]);
    let mut gate = Gate::new(&spool, "gate");
    spool.add(&["--name", "first", "--tries", "1", "exit 3"]);
    spool.wait_record("failed/1");
    browser.go(&page(port, ""));
    browser.wait_text("1 · first");
    browser.wait(&format!("{ROWS}[0].includes('failed exit 3')"));
    browser.wait("document.getElementById('link').textContent === 'live'");
    browser.js("window.same = true");

    spool.add(&["--name", "second", &format!("{}; echo over", gate.wait())]);
    browser.wait(&format!("{ROWS}[0]?.startsWith('active 2 · second')"));
    spool.add(&["--queue", "mail", "--name", "third", "true"]);
    // Running jobs come first.
    browser.wait(&format!("{ROWS}[1]?.startsWith('pending slots 3 · third')"));
    browser.wait(&format!("{ROWS}[0].startsWith('active 2 · second')"));
    browser.wait(
        "document.querySelector('.meters').innerText.replace(/\\s+/g, ' ') === 'slots 1 of 1'",
    );
    browser.wait("[...document.querySelectorAll('.tabs a')].map((a) => a.innerText).join() === 'all,active1,pending1,held,failed,complete'");
    gate.open(1);
    browser.wait(&format!(
        "{ROWS}.filter((row) => row.startsWith('complete')).length === 2"
    ));
    spool.rm("complete/3");
    browser.wait(&format!("{ROWS}.length === 2"));
    browser.wait("document.querySelector('.meters').innerText.includes('0 of 1')");

    // Queues are paused, and their slots changed, for all to see.
    let mail =
        "[...document.querySelectorAll('.queues li')].find((li) => li.innerText.includes('mail'))";
    browser.js(&format!("{mail}.querySelector('button').click()"));
    browser.wait(&format!("{mail}.innerText.includes('paused')"));
    browser.js(&format!(
        "{mail}.querySelector('input').focus(), {mail}.querySelector('input').select()"
    ));
    browser.write("7");
    browser.press("Enter");
    let set = json!({"slots": 7});
    spool.wait_for("the settings", || {
        spool.record("config.json")["queues"]["mail"] == set
    });
    assert!(spool.has("pending/mail/.paused"));
    browser.js(&format!("{mail}.querySelector('button').click()"));
    browser.wait(&format!("!{mail}.innerText.includes('paused')"));

    assert_eq!(
        browser.js("window.same"),
        json!(true),
        "it was loaded again"
    );
    browser.assert_calm(&[]);
}

#[test]
fn a_job_from_the_form_to_its_end() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let mut gate = Gate::new(&spool, "gate");
    browser.go(&page(port, "#/new"));
    browser.wait("document.querySelector('[name=command]')?.checkVisibility()");
    browser.js("document.querySelector('[name=tries]').value = 1");
    browser.js("document.querySelector('[name=tags]').value = 'a, b'");
    browser.js("document.querySelector('[name=command]').focus()");
    browser.write(&format!(
        "echo one; {0}; echo two; {0}; exit 4",
        gate.wait()
    ));
    browser.click("Run it");
    browser.wait("document.querySelector('.output .log')?.textContent === 'one\\n'");
    browser.wait("document.querySelector('.badge').textContent === 'active'");
    gate.open(1);
    browser.wait("document.querySelector('.output .log').textContent === 'one\\ntwo\\n'");
    gate.open(1);
    browser.wait("document.querySelector('.badge').textContent === 'failed'");
    browser.wait_text("exit 4");
    browser.wait_text("8 bytes, complete");
    assert_eq!(spool.record("failed/1")["tags"], json!(["a", "b"]));

    // Once more in its place, and cancelled.
    browser.click("Run again");
    browser.wait("document.querySelector('.badge').textContent === 'active'");
    browser.wait("document.querySelector('.output .log').textContent.endsWith('one\\n')");
    browser.click("Cancel");
    browser.wait("document.querySelector('.badge').textContent === 'failed'");
    browser.wait_text("cancelled");

    // As a copy, which is another job; that is deleted while it runs.
    browser.click("Run a copy");
    browser.wait("location.hash === '#/jobs/2'");
    browser.wait("document.querySelector('.badge').textContent === 'active'");
    assert_eq!(spool.record("failed/1")["reason"], "cancelled");
    browser.click("Delete");
    browser.wait_text("Delete job 2?");
    browser.press("Escape");
    browser.wait("!document.querySelector('dialog[open]')");
    assert!(spool.has("active/2"));
    browser.click("Delete");
    browser.click("End and delete");
    browser.wait_text("Job 2 is deleted.");
    spool.wait_gone("active/2");
    browser.wait(&format!("{ROWS}.length === 1"));

    // A call of a URL, as it is sent: a payload is not read as numbers and written again.
    browser.press("n");
    browser.wait("document.querySelector('[value=url]')?.click() ?? document.querySelector('[name=url]')?.checkVisibility()");
    browser.js("window.sent = []; window.real = fetch; window.fetch = (path, how) => { sent.push(how.body); return real('/healthz'); }; 0");
    browser.js("document.querySelector('[name=url]').value = 'http://127.0.0.1:9/work'");
    browser.js("document.querySelector('[name=payload]').value = '{\"n\": 12345678901234567890}'");
    browser.js("document.querySelector('[name=headers]').value = 'X-A: b: c\\n'");
    browser.click("Run it");
    browser.wait("sent.length > 0");
    let sent = r#"{"url":"http://127.0.0.1:9/work","headers":{"X-A":"b: c"},"payload":{"n": 12345678901234567890}}"#;
    assert_eq!(browser.js("sent[0]"), json!(sent));
    browser.js("window.fetch = real; location.hash = '#/'; 0");
    browser.wait("!document.querySelector('form.new')");

    // What the server refuses is said where it was asked.
    browser.press("n");
    browser.wait("document.activeElement.name === 'command'");
    browser.write("true");
    browser.js("document.querySelector('[name=timeout]').value = 'soon'");
    browser.click("Run it");
    browser.wait("document.querySelector('form .wrong').textContent.includes('timeout')");
    browser.assert_calm(&["status of 422"]);
}

/// What waits says how often it was tried, and when it may begin if that is to come.
#[test]
fn a_waiting_job_says_what_there_is_to_wait_for() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "1"]);
    let again = ["--tries", "3", "--backoff", "first=40m,max=40m", "exit 3"];
    spool.add(&[&["--name", "again"], &again[..]].concat());
    spool.wait_for("its first try", || {
        spool.has("pending/1") && spool.read("pending/1").contains("attempts")
    });
    spool.add(&["--name", "later", "--in", "3h", "true"]);
    spool.add(&["--name", "any", "-q", "mail", "--in", "1ms", "true"]);
    spool.wait_record("complete/3");
    browser.go(&page(port, ""));
    browser.wait_text("1 · again");
    for (row, what) in [
        (
            2,
            "/^pending 1 try 1 · again .* in (3[0-9]|40) min Cancel$/",
        ),
        (1, "/^pending 2 · later .* in 3 h Cancel$/"),
        (0, "/^complete 3 · any /"),
    ] {
        browser.wait(&format!("{what}.test({ROWS}[{row}].trim())"));
    }
    assert_eq!(
        browser.js("document.querySelector('a.job').title"),
        json!("3 · any")
    );
    browser.assert_calm(&[]);
}

#[test]
fn by_keyboard_alone() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    for name in ["apple", "pear", "plum"] {
        let id = spool.add(&["--name", name, "true"]);
        spool.wait_record(&format!("complete/{id}"));
    }
    browser.go(&page(port, ""));
    browser.wait_text("3 · plum");
    let at = |browser: &mut Browser| browser.js("document.activeElement.textContent");
    browser.press("j");
    assert_eq!(at(&mut browser), json!("3 · plum"));
    browser.press("j");
    assert_eq!(at(&mut browser), json!("2 · pear"));
    let ring = browser.js("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(ring, json!("solid"), "the focus is visible");
    // Whoever stands on a job stays on it when others come.
    spool.add(&["--name", "quince", "true"]);
    browser.wait_text("4 · quince");
    assert_eq!(at(&mut browser), json!("2 · pear"));
    browser.press("Enter");
    browser.wait("document.querySelector('h1').textContent === '2 · pear'");
    assert_eq!(at(&mut browser), json!("2 · pear"), "the heading");
    browser.press("Escape");
    browser.wait("document.activeElement.matches('a.job')");
    assert_eq!(at(&mut browser), json!("2 · pear"));
    browser.press("k");
    assert_eq!(at(&mut browser), json!("3 · plum"));
    browser.press("/");
    browser.wait("document.activeElement.id === 'search'");
    browser.write("APP");
    browser.wait(&format!(
        "{ROWS}.length === 1 && {ROWS}[0].includes('apple')"
    ));
    assert!(
        browser
            .js("location.hash")
            .as_str()
            .unwrap()
            .contains("search=APP")
    );
    browser.press("Escape");
    browser.wait(&format!("{ROWS}.length === 4"));
    browser.press("?");
    browser.wait("document.getElementById('keys-dialog').open");
    browser.press("Escape");
    browser.wait("!document.getElementById('keys-dialog').open");
    // Every control can be reached.
    let mut seen = Vec::new();
    for _ in 0..60 {
        browser.press("Tab");
        let here = browser.js("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent");
        seen.push(here.as_str().unwrap().to_owned());
    }
    for wanted in [
        "New job",
        "failed",
        "Pause everything",
        "Slots of everything",
        "Search by id, name, command, tag, comment or URL",
    ] {
        assert!(seen.iter().any(|one| one == wanted), "{wanted} in {seen:?}");
    }
    browser.assert_calm(&[]);
}

#[test]
fn the_daemon_may_go_and_come_back() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (mut spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    spool.add(&["--name", "before", "true"]);
    browser.go(&page(port, ""));
    browser.wait_text("1 · before");
    browser.wait("document.getElementById('link').textContent === 'live'");
    spool.stop();
    browser.wait("document.getElementById('link').textContent === 'offline'");
    browser.wait_text("1 · before");
    spool.add(&["--name", "meanwhile", "true"]);
    spool.serve(&["--http", &format!("127.0.0.1:{port}")]);
    browser.wait("document.getElementById('link').textContent === 'live'");
    browser.wait(&format!("{ROWS}[0]?.startsWith('complete 2 · meanwhile')"));
    assert_eq!(get(port, "/v1/jobs/2").status, 200);
    browser.assert_calm(&["net::ERR_", "status of 503"]);
}

/// The rest of the page: how far they are, what is in use, what keeps the spool from working.
#[test]
fn progress_tokens_and_troubles() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let config =
        r#"{"http": {"anonymous": ["read", "run", "admin"]}, "tokens": {"gpu": ["0", "1"]}}"#;
    let (spool, port) = Spool::with_http(config, &["--slots", "2"]);
    let mut gate = Gate::new(&spool, "gate");
    let told = |line: &str| format!("echo '{line}' > \"$PIRN_PROGRESS\"; {}", gate.wait());
    let work = format!("{}; {}", told("0.25 a <b>quarter</b>"), told("75%"));
    spool.add(&["--use", "gpu", &work]);
    spool.add(&["--name", "both", "--use", "gpu=2", "true"]);
    browser.go(&page(port, ""));
    browser.wait(
        "document.querySelector('.far:not([hidden])')?.innerText === '25 % · a <b>quarter</b>'",
    );
    browser.wait("document.querySelector('.far progress').value === 0.25");
    let meters = "document.querySelector('.meters').innerText.replace(/\\s+/g, ' ')";
    browser.wait(&format!("{meters} === 'slots 1 of 2 gpu 1 of 2'"));
    browser.wait_text("it needs 2 gpu, and 1 of 2 are free");
    // That is no event: the page asks.
    gate.open(1);
    browser.wait("document.querySelector('.far:not([hidden])')?.innerText === '75 %'");
    browser.js("location.hash = '#/jobs/1'");
    browser.wait("document.querySelector('.detail .far:not([hidden])')?.innerText === '75 %'");
    browser.wait("document.querySelector('.fact-units')?.innerText === 'gpu 0'");
    browser.js("location.hash = '#/jobs/2'");
    browser.wait_text("it needs 2 gpu, and 1 of 2 are free");
    browser.click("Run next");
    spool.wait_for("its priority", || {
        spool.record("pending/2")["priority"] == json!(i32::MAX)
    });

    // The troubles, which go when they are over.
    browser.js("location.hash = '#/'");
    let troubles = "document.querySelector('.troubles').innerText";
    browser.wait(&format!("{troubles} === ''"));
    spool.config("{");
    spool.pirn(&["pause"]);
    spool.add(&["--name", "stirs", "true"]);
    browser.wait(&format!("{troubles}.includes('config.json is not used: ')"));
    browser.wait(&format!("{troubles}.includes('All queues are paused')"));
    browser.js("document.querySelector('.troubles button').click()");
    browser.wait(&format!("!{troubles}.includes('paused')"));
    assert!(!spool.has("pending/.paused"));
    spool.config(config);
    gate.open(1);
    spool.wait_record("complete/1");
    browser.wait(&format!("{troubles} === ''"));
    // The search looks at commands too.
    browser.press("/");
    browser.write("PIRN_progress");
    browser.wait(&format!(
        "{ROWS}.length === 1 && {ROWS}[0].includes('PIRN_PROGRESS')"
    ));
    browser.assert_calm(&[]);
}
