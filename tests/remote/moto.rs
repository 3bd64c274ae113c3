//! Moto as SQS and CloudWatch. It is a program in Python; without it the tests that need it are skipped.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// A server with its own port on the loopback. It is killed when this is dropped, and ends when this process does.
pub struct Moto {
    child: Child,
    pub port: u16,
}

/// The server that the tests of one file share. It ends with the last test that holds it, and the next one starts a
/// fresh one: moto gets slower with each message that it was ever sent.
pub type SharedMoto = Mutex<Weak<Moto>>;

impl Moto {
    /// The server of this file, started if no other test holds it; `None` if there can be none, which is said.
    pub fn shared(held: &SharedMoto) -> Option<Arc<Self>> {
        let mut held = held.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(moto) = held.upgrade() {
            return Some(moto);
        }
        let moto = Arc::new(Self::start(&[])?);
        *held = Arc::downgrade(&moto);
        Some(moto)
    }

    /// A server of its own, with these variables in its environment.
    pub fn start(env: &[(&str, &str)]) -> Option<Self> {
        static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let python = match PYTHON.get_or_init(python_with_moto) {
            Ok(python) => python,
            Err(why) => {
                eprintln!("skipped: {why}");
                return None;
            }
        };
        let mut child = Command::new(python)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/remote/moto_qdone.py"
            ))
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("moto_qdone.py did not print its port but {line:?}")
        });
        Some(Self { child, port })
    }

    /// Its endpoint.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python that can import moto: the system's, else one of our own in the target directory.
fn python_with_moto() -> Result<PathBuf, String> {
    let has_moto = |python: &PathBuf| {
        Command::new(python)
            .args(["-c", "import moto.moto_server.werkzeug_app"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let system = PathBuf::from("python3");
    let own_dir = concat!(env!("CARGO_TARGET_TMPDIR"), "/moto");
    let own = PathBuf::from(own_dir).join("bin/python");
    if let Some(python) = [system, own.clone()].into_iter().find(has_moto) {
        return Ok(python);
    }
    let install = format!(
        "python3 -m venv '{own_dir}' && '{own_dir}/bin/pip' install -q moto flask flask-cors 2>&1"
    );
    let made = Command::new("sh").args(["-c", &install]).output();
    let said = made.map_or_else(
        |e| e.to_string(),
        |o| String::from_utf8_lossy(&o.stdout).into_owned(),
    );
    match has_moto(&own) {
        true => Ok(own),
        false => Err(format!(
            "python3 has no moto, and it cannot be installed: {}",
            said.lines().last().unwrap_or("no python3")
        )),
    }
}
