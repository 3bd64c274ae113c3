//! The programs of a machine that the pages and the front ends need.

use std::process::{Command, Stdio};

pub(crate) fn has(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Installs what is missing of these programs, as root on Debian. False if there is still one missing.
pub(crate) fn install(programs: &[&str], packages: &[&str]) -> bool {
    let have_all = || programs.iter().all(|program| has(program));
    if !have_all() && has("apt-get") {
        let _ = Command::new("apt-get")
            .args(["install", "-y", "-q"])
            .args(packages)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
    have_all()
}
