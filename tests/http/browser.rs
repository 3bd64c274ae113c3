//! A headless Chromium that is driven over the DevTools protocol, through a pair of pipes: each message is JSON with a
//! zero byte behind it.

use crate::spool::DEADLINE;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
];

/// The program, installed if that is possible here; or why there is none.
fn chromium() -> &'static Result<PathBuf, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let known = || {
            let names = ["/usr/bin/chromium", "/usr/bin/chromium-browser"];
            names.into_iter().map(PathBuf::from).find(|p| p.exists())
        };
        if let Some(path) = known() {
            return Ok(path);
        }
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|m| {
            use std::os::unix::fs::MetadataExt;
            m.uid() == 0
        });
        if !is_root {
            return Err("there is no /usr/bin/chromium, and only root can install it".to_owned());
        }
        let mut apt = Command::new("apt-get");
        apt.args(["install", "-y", "-q", "--no-install-recommends", "chromium"])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let said = apt
            .status()
            .map_or_else(|e| e.to_string(), |s| s.to_string());
        known().ok_or(format!("apt-get install chromium: {said}"))
    })
}

/// A browser with one page in it.
pub struct Browser {
    child: Child,
    to: File,
    from: File,
    input: Vec<u8>,
    session: Option<String>,
    last: u64,
    /// What the page complained of: exceptions, errors and warnings of the console, violations of the policy.
    pub complaints: Vec<String>,
    _home: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// A browser is several busy processes: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

impl Browser {
    /// Starts one; `None`, said aloud, if there is none to start.
    pub fn start() -> Option<Self> {
        let program = match chromium() {
            Ok(program) => program,
            Err(why) => {
                eprintln!("skipped: {why}");
                return None;
            }
        };
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let home = tempfile::tempdir().unwrap();
        let (there, back) = (home.path().join("there"), home.path().join("back"));
        let pipes = Command::new("mkfifo").args([&there, &back]).status();
        assert!(pipes.unwrap().success());
        // The protocol's pipes are descriptors 3 and 4.
        let child = Command::new("sh")
            .args([
                "-c",
                r#"in=$1 out=$2; shift 2; exec "$@" 3<"$in" 4>"$out""#,
                "sh",
            ])
            .args([&there, &back])
            .arg(program)
            .args(FLAGS)
            .arg(format!(
                "--user-data-dir={}",
                home.path().join("data").display()
            ))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let open = |path: &Path, write: bool| File::options().read(!write).write(write).open(path);
        let mut browser = Self {
            child,
            to: open(&there, true).unwrap(),
            from: open(&back, false).unwrap(),
            input: Vec::new(),
            session: None,
            last: 0,
            complaints: Vec::new(),
            _home: home,
            _alone: alone,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let how = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", how);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    fn message(&mut self) -> Value {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = self.input.drain(..=end).take(end).collect();
                return serde_json::from_slice(&message).unwrap();
            }
            let mut buffer = [0; 64 * 1024];
            let n = self.from.read(&mut buffer).unwrap();
            assert!(n > 0, "the browser has ended");
            self.input.extend_from_slice(&buffer[..n]);
        }
    }

    /// Calls a method of the protocol.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        loop {
            let answer = self.message();
            if answer["id"] == json!(self.last) {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, event: &Value) {
        let is_bad = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] != json!("log"),
            Some("Log.entryAdded") => {
                let entry = &event["params"]["entry"];
                entry["level"] == json!("error") || entry["source"] == json!("security")
            }
            Some("Page.javascriptDialogOpening") => true,
            Some(_) | None => false,
        };
        if is_bad {
            self.complaints.push(event["params"].to_string());
        }
    }

    /// Goes to an address.
    pub fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    /// The value of an expression, promises awaited.
    pub fn js(&mut self, code: &str) -> Value {
        let how = json!({"expression": code, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", how);
        assert!(answer["exceptionDetails"].is_null(), "{code}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true; on failure shows the page's text.
    pub fn wait(&mut self, code: &str) {
        let end = Instant::now() + DEADLINE;
        // Between two pages there is nothing to look at.
        let code_or_not =
            format!("(() => {{ try {{ return Boolean({code}); }} catch {{ return false; }} }})()");
        while self.js(&code_or_not) != json!(true) {
            if Instant::now() > end {
                let text = self.js("location.href + '\\n' + document.body.innerText");
                panic!(
                    "waited in vain for {code}\n{}\n{:?}",
                    text.as_str().unwrap(),
                    self.complaints
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the page shows this text.
    pub fn wait_text(&mut self, text: &str) {
        self.wait(&format!(
            "document.body.innerText.includes({})",
            json!(text)
        ));
    }

    /// Presses a key: a character, or `Enter`, `Escape`, `Tab`.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "Tab" => (9, ""),
            character => (0, character),
        };
        let mut down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
        if !text.is_empty() {
            down["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", down);
        let up = json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", up);
    }

    /// Types a text into what has the focus.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Presses the first button that is called so.
    pub fn click(&mut self, label: &str) {
        let find = format!(
            "[...document.querySelectorAll('button, a')].find(b => b.textContent === {} && b.checkVisibility() && !b.matches(':disabled, [aria-busy]'))",
            json!(label)
        );
        self.wait(&find);
        self.js(&format!("{find}.click()"));
    }

    /// Nothing that a browser complains of has happened, but for these: parts of their texts.
    pub fn assert_calm(&mut self, but: &[&str]) {
        self.js("new Promise((done) => setTimeout(done, 50))");
        let is_known = |text: &String| but.iter().any(|known| text.contains(known));
        let bad: Vec<_> = self.complaints.iter().filter(|c| !is_known(c)).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends with its pipe; should it not, it is ended.
        let _ = self
            .to
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
