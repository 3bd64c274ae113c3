//! The page: what it is made of, what it does with hostile text, rights, small screens and very many jobs.

use crate::browser::Browser;
use crate::client::{ANYBODY_MAY_RUN, ask, get};
use crate::spool::Spool;
use serde_json::json;
use std::path::Path;

fn page(port: u16, hash: &str) -> String {
    format!("http://127.0.0.1:{port}/ui{hash}")
}

const JS: [&str; 9] = [
    "app", "net", "dom", "text", "list", "queues", "detail", "log", "new",
];

#[test]
fn its_files_are_what_they_should_be() {
    let (_spool, port) = Spool::with_http("{}", &[]);
    let mut size = 0;
    let files = JS.map(|name| format!("/ui/{name}.js"));
    let pages = ["/ui", "/ui/", "/ui/jobs/7", "/ui/style.css"].map(str::to_owned);
    for path in pages.iter().chain(&files) {
        let reply = get(port, path);
        assert_eq!(reply.status, 200, "{path}");
        let policy = reply.header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "trusted-types 'none'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        let kind = match path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some(_) | None => "text/html; charset=utf-8",
        };
        assert_eq!(reply.header("content-type"), kind, "{path}");
        let tag = format!("If-None-Match: {}", reply.header("etag"));
        let again = ask(port, "GET", path, &[&tag], "");
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(ask(port, "HEAD", path, &[], "").status, 200);
        assert_eq!(ask(port, "POST", path, &[], "").status, 405);
        if !["/ui/", "/ui/jobs/7"].contains(&path.as_str()) {
            size += reply.body.len();
        }
    }
    assert!(size < 100_000, "{size} bytes in all");
    let hq = get(port, "/ui/internal/stats");
    assert!(!hq.header("content-type").contains("html"), "left to hq");
    assert_eq!(get(port, "/uix").status, 404);
}

#[test]
fn no_text_becomes_markup_and_nothing_comes_from_elsewhere() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/ui");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "mod.rs" {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let markup = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "DOMParser",
            "createContextualFragment",
            "setHTML",
            "srcdoc",
            "eval(",
            "Function(",
            "javascript:",
            " style=",
            "<style",
            "localStorage",
            "document.cookie",
            "import(",
        ];
        for word in markup {
            assert!(!text.contains(word), "{name}: {word}");
        }
        let strange = text.replace("http://www.w3.org/2000/svg", "");
        // An example in a form.
        let strange = strange.replace("http://127.0.0.1:8000", "");
        for word in ["http://", "https://", "url(", "@import"] {
            assert!(!strange.contains(word), "{name}: {word}");
        }
        let lines = text.lines().count();
        assert!(lines < 300, "{name} has {lines} lines");
    }
    assert_eq!(seen, JS.len() + 2);
}

#[test]
fn hostile_text_stays_text() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let evil = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}\u{61c}";
    let id = "<b>x<\u{202e}b>?a=1#&%41";
    let output = "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}end \u{1b}]8;;http://x\u{1b}\\link \u{0} a\u{8}b";
    let command = ["printf", "%s\n%b", evil, &output.replace('\u{0}', "\\0000")];
    let record = json!({"command": command, "name": evil, "comment": evil, "tags": [evil], "x": {"evil": evil}});
    spool.drop_json(id, &record);
    spool.wait_end(id);
    spool.drop_json(
        "bad",
        &json!({"command": ["/nonexistent/\u{1b}[31m<b>"], "tries": 1}),
    );
    spool.wait_end("bad");
    browser.go(&page(port, ""));
    browser.wait("document.querySelectorAll('.jobs tbody tr').length === 2");
    browser.js("document.querySelector('tr:has(.complete) a.job').click()");
    browser.wait("document.querySelector('.output .log')?.textContent.includes('end link')");
    let log = browser.js("document.querySelector('.output .log').textContent");
    let log = log.as_str().unwrap();
    assert!(
        log.starts_with("</pre><script>alert(1)</script>"),
        "{log:?}"
    );
    assert!(log.ends_with("\nred end link \u{2400} b"), "{log:?}");
    assert!(!log.contains(['\u{202e}', '\u{61c}']), "{log:?}");
    let heading = browser.js("document.querySelector('h1').textContent");
    assert!(
        heading
            .as_str()
            .unwrap()
            .starts_with("<b>x<\u{fffd}b>?a=1#&%41 · </pre><script>"),
        "{heading}"
    );
    let strange = "document.querySelectorAll('main script, main img, main b, main iframe').length";
    assert_eq!(browser.js(strange), json!(0));
    // The policy would stop even a page that made such a mistake.
    let tried = browser.js("(() => { try { document.body.innerHTML = '<b>'; return 'done'; } catch (e) { return e.name; } })()");
    assert_eq!(tried, json!("TypeError"));
    browser.js("location.hash = '#/jobs/bad'");
    browser.wait("document.querySelector('.detail > .wrong')?.textContent.includes('nonexistent')");
    browser.assert_calm(&["TrustedHTML"]);
}

#[test]
fn rights_are_asked_for_and_explained() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (spool, port) = Spool::with_http("{}", &["--slots", "0"]);
    spool.script("sum", "#!/bin/sh\nexpr \"$1\" + \"$2\"\n");
    let made = spool.pirn(&["token", "new", "boss", "read,admin"]);
    spool.add(&["--name", "secret", "true"]);

    // `read` and `push`: what is in scripts/, and no queues.
    browser.go(&page(port, "#/new"));
    browser.wait("document.querySelector('[name=script]')?.value === 'sum'");
    assert_eq!(
        browser.js("document.querySelector('[value=command]').disabled"),
        json!(true)
    );
    browser.js("document.querySelector('[name=args]').value = '20\\n22\\n'");
    browser.click("Run it");
    browser.wait("location.hash === '#/jobs/2'");
    browser.wait_text("sum 20 22");
    let record = spool.record("pending/2");
    assert_eq!(
        (&record["script"], &record["args"]),
        (&json!("sum"), &json!(["20", "22"]))
    );
    browser.click("Hold");
    spool.wait_file("held/2");
    browser.click("Release");
    spool.wait_file("pending/2");
    browser.press("Escape");
    browser.wait("document.querySelectorAll('.queues button').length === 2");
    assert_eq!(
        browser.js("document.querySelectorAll('.queues button:enabled').length"),
        json!(0)
    );
    browser.wait_text("Changing queues needs the right “admin”.");

    // `read`: the buttons say why not.
    spool.config(r#"{"http": {"anonymous": ["read"]}}"#);
    browser.go("about:blank");
    browser.go(&page(port, "#/jobs/2"));
    browser.wait_text("Steering jobs needs the right “push”.");
    let buttons = "[...document.querySelectorAll('.detail .actions button')]";
    browser.wait(&format!("{buttons}.length === 4"));
    browser.wait(&format!(
        "{buttons}.every((b) => b.disabled && b.title.includes('push'))"
    ));

    // Nothing without a token; a wrong one is not kept.
    spool.config(r#"{"http": {"anonymous": []}}"#);
    browser.go("about:blank");
    browser.go(&page(port, ""));
    browser.wait_text("Nothing can be shown: this needs the right \"read\".");
    browser.wait("document.getElementById('link').textContent === 'no access'");
    assert_eq!(
        browser.js("document.getElementById('new').checkVisibility()"),
        json!(false)
    );
    browser.click("Token");
    browser.wait("document.activeElement.id === 'token'");
    browser.write("wrong");
    browser.press("Enter");
    browser.wait_text("this token is not known here.");
    browser.js("document.getElementById('token').select()");
    browser.write(made.stdout.trim());
    browser.press("Enter");
    browser.wait_text("1 · secret");
    browser.wait("document.getElementById('who').textContent === 'boss'");
    browser.wait("document.getElementById('link').textContent === 'live'");
    // The default queue has no pause of its own.
    assert_eq!(
        browser.js("document.querySelectorAll('.queues button:enabled').length"),
        json!(1)
    );
    assert!(
        !browser
            .js("location.href")
            .as_str()
            .unwrap()
            .contains(made.stdout.trim())
    );
    assert_eq!(
        browser.js("localStorage.length + document.cookie.length"),
        json!(0)
    );
    browser.assert_calm(&["status of 401"]);
}

/// The controls that are lower than a finger needs.
const SMALL: &str = "[...document.querySelectorAll('button, input:not([type=radio]), select, .tabs a, .tabs label, a.button, a.back, .queues a, tbody tr')]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44).map((one) => one.outerHTML)";

#[test]
fn any_width_and_either_light() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &[]);
    let long = "a-very-long-name-without-any-place-to-break-".repeat(2);
    spool.add(&[
        "--id",
        &long,
        "--name",
        &"wide".repeat(60),
        "--queue",
        &long,
        "echo $(seq 1 999) | tr -d ' '",
    ]);
    spool.wait_record(&format!("complete/{long}"));
    for (width, light) in [
        (360, "light"),
        (360, "dark"),
        (800, "dark"),
        (1400, "light"),
    ] {
        let size =
            json!({"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 500});
        browser.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": light}]});
        browser.call("Emulation.setEmulatedMedia", scheme);
        for (hash, ready) in [
            (
                "#/",
                "document.querySelectorAll('.jobs tbody tr').length === 1",
            ),
            (
                &format!("#/jobs/{long}"),
                "document.querySelector('.output .log')?.textContent.length > 1000",
            ),
            (
                "#/new",
                "document.querySelector('[name=command]')?.checkVisibility()",
            ),
        ] {
            browser.go("about:blank");
            browser.go(&page(port, hash));
            browser.wait(ready);
            let wide = browser
                .js("document.documentElement.scrollWidth - document.documentElement.clientWidth");
            assert!(wide.as_i64().unwrap() <= 0, "{hash} at {width}: {wide}");
            if width < 500 {
                let small = browser.js(SMALL);
                assert_eq!(small, json!([]), "{hash}: too small for a finger");
                let card = "document.querySelector('.queues')?.getBoundingClientRect().top";
                let below = browser.js(&format!(
                    "({card} ?? Infinity) > document.querySelector('main').firstChild.getBoundingClientRect().top + 100"
                ));
                assert_eq!(below, json!(true), "{hash}: the queues come first");
            }
            let ink = browser.js(
                "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]",
            );
            assert_eq!(
                ink.as_u64().unwrap() < 128,
                light == "dark",
                "{hash} in the {light}"
            );
        }
    }
    browser.assert_calm(&[]);
}

#[test]
fn ten_thousand_jobs_and_a_large_log() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (spool, port) = Spool::with_http(ANYBODY_MAY_RUN, &["--slots", "0"]);
    for n in 1..=10_000 {
        let name = if n == 17 { "needle" } else { "hay" };
        let record = json!({"command": "true", "name": name, "created_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01Z", "reason": "exited", "exit_code": 0});
        std::fs::write(
            spool.path().join("complete").join(n.to_string()),
            record.to_string(),
        )
        .unwrap();
    }
    std::fs::write(
        spool.path().join("log/10000"),
        "x".repeat(99).replace('x', "line\n").repeat(10_000),
    )
    .unwrap();
    browser.go(&page(port, ""));
    browser.wait("document.querySelector('.jobs tbody a.job')?.textContent === '10000 · hay'");
    assert_eq!(
        browser.js("document.querySelectorAll('.jobs tbody tr').length"),
        json!(50)
    );
    browser.click("Next page →");
    browser.wait("document.querySelector('.jobs tbody a.job')?.textContent === '9950 · hay'");
    browser.click("← First page");
    browser.wait("document.querySelector('.jobs tbody a.job')?.textContent === '10000 · hay'");
    browser.press("/");
    browser.write("needle");
    browser.wait("document.querySelector('.jobs tbody a.job')?.textContent === '17 · needle'");
    // As hq's page kept it.
    browser.go(&format!("http://127.0.0.1:{port}/ui?term=needle"));
    browser.wait("document.querySelectorAll('.jobs tbody a.job').length === 1");
    assert_eq!(
        browser.js("document.getElementById('search').value"),
        json!("needle")
    );
    browser.go(&format!("http://127.0.0.1:{port}/ui?name=needle"));
    browser.wait("document.querySelectorAll('.jobs tbody a.job').length === 1");
    browser.go(&format!("http://127.0.0.1:{port}/ui/jobs/17"));
    browser.wait("document.querySelector('h1')?.textContent === '17 · needle'");
    browser.js("location.hash = '#/jobs/10000'");
    browser.wait_text("4.7 MiB, complete");
    let kept = browser.js("document.querySelector('.output .log').textContent.length");
    assert!(
        (200_000..=262_144).contains(&kept.as_u64().unwrap()),
        "{kept}"
    );
    browser.wait_text("Only the last 256 KiB are shown here.");
    browser.assert_calm(&[]);
}
