//! Requirements on the machine, small tools for the tests, and repeatable random numbers.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The time within which everything must happen.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// Waits for a condition; false if it does not become true.
pub fn comes(condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Waits for a condition that must become true.
pub fn wait_for(what: &str, condition: impl Fn() -> bool) {
    assert!(comes(condition), "waited in vain for {what}");
}

/// Runs a tool that must succeed.
pub fn tool(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Runs a tool; true if it succeeded.
pub fn try_tool(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn has(program: &str) -> bool {
    try_tool("sh", &["-c", &format!("command -v {program}")])
}

/// True if this test can run. Missing tools are installed if we are root and can; otherwise the reason is printed.
pub fn ready(test: &str, tools: &[(&str, &str)], root: bool) -> bool {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let is_root = tool("id", &["-u"]) == "0";
    if root && !is_root {
        println!("skipped: {test}: needs root");
        return false;
    }
    if is_root && tools.iter().any(|(tool, _)| !has(tool)) {
        INSTALLED.get_or_init(|| {
            let install = "apt-get update && apt-get install -y strace xfsprogs util-linux";
            try_tool("sh", &["-c", install]);
        });
    }
    for (tool, package) in tools {
        if !has(tool) {
            println!("skipped: {test}: there is no {tool}; install {package}");
            return false;
        }
    }
    true
}

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Random numbers from a seed (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// The seed is made of `PIRN_SEED` and the purpose.
    pub fn new(purpose: &str) -> Self {
        let seed = setting("PIRN_SEED", 1);
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(purpose.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix))
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }
}
