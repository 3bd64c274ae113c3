//! Keys of a profile in `~/.aws/credentials` and `~/.aws/config`.

use super::files::{Section, parse};
use super::sts::Sts;
use super::{refusal, silence};
use crate::core::process::Stop;
use crate::os::signals;
use crate::remote::sqs::env::AwsEnv;
use crate::remote::sqs::error::SqsError;
use crate::remote::sqs::keys::Keys;
use crate::remote::sqs::signed::Wires;
use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The longest chain of profiles by `source_profile`.
const MOST_PROFILES: usize = 8;

/// A program that is to print keys is killed after this time: all calls wait for it.
const LONGEST_RUN: Duration = Duration::from_secs(60);

/// The profiles of a user, which are read anew each time: programs that log in rewrite them.
pub struct Profiles<'a> {
    env: &'a AwsEnv,
    wires: &'a Wires,
    region: &'a str,
}

impl<'a> Profiles<'a> {
    /// The profiles in the files that this environment leads to.
    pub fn new(env: &'a AwsEnv, wires: &'a Wires, region: &'a str) -> Self {
        Self { env, wires, region }
    }

    /// The keys of a profile that was asked for.
    pub fn named(&self, profile: &str) -> Result<Keys, SqsError> {
        let sections = self.sections()?;
        if !sections.contains_key(profile) {
            let known: Vec<&str> = sections.keys().map(String::as_str).collect();
            let known = match known.is_empty() {
                true => "there are none".to_owned(),
                false => format!("there are {}", known.join(", ")),
            };
            return Err(refusal(format!("there is no profile {profile:?}; {known}")));
        }
        self.resolve(&sections, profile, 1)?
            .ok_or_else(|| refusal(format!("the profile {profile:?} has none")))
    }

    /// The keys of the profile `default`, if it has some.
    pub fn default(&self) -> Result<Option<Keys>, SqsError> {
        self.resolve(&self.sections()?, "default", 1)
    }

    /// The settings of all profiles. Those in the file of credentials overrule those in the other.
    fn sections(&self) -> Result<BTreeMap<String, Section>, SqsError> {
        let mut sections = BTreeMap::<String, Section>::new();
        for (name, section) in self.read("AWS_CONFIG_FILE", ".aws/config")? {
            let profile = name.strip_prefix("profile ");
            if let Some(profile) = profile.or((name == "default").then_some("default")) {
                sections
                    .entry(profile.to_owned())
                    .or_default()
                    .extend(section);
            }
        }
        for (name, section) in self.read("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")? {
            sections.entry(name).or_default().extend(section);
        }
        Ok(sections)
    }

    fn read(&self, variable: &str, default: &str) -> Result<BTreeMap<String, Section>, SqsError> {
        let Some(path) = self.env.file(variable, default) else {
            return Ok(BTreeMap::new());
        };
        match std::fs::read(&path) {
            Ok(bytes) => Ok(parse(&String::from_utf8_lossy(&bytes))),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(BTreeMap::new())
            }
            Err(e) => Err(refusal(format!("{}: {e}", path.display()))),
        }
    }

    /// The keys of a profile: of the role that it names, else its own, else those that its program prints.
    fn resolve(
        &self,
        sections: &BTreeMap<String, Section>,
        profile: &str,
        depth: usize,
    ) -> Result<Option<Keys>, SqsError> {
        let Some(section) = sections.get(profile) else {
            return Ok(None);
        };
        let get = |name: &str| section.get(name).map(String::as_str);
        let wrong = |why: &str| refusal(format!("profile {profile:?}: {why}"));
        if let Some(role) = get("role_arn") {
            let sts = Sts::new(self.env, self.wires, self.region)?;
            if let Some(file) = get("web_identity_token_file") {
                let session = get("role_session_name");
                return sts.assume_with_web_identity(role, session, file).map(Some);
            }
            let Some(source) = get("source_profile") else {
                return Err(wrong("role_arn needs source_profile"));
            };
            let base = match source == profile {
                true => own_keys(section),
                false if depth >= MOST_PROFILES => {
                    return Err(wrong(
                        "too many profiles lead to each other by source_profile",
                    ));
                }
                false => self.resolve(sections, source, depth + 1)?,
            };
            let why = || wrong(&format!("source_profile {source:?} has no credentials"));
            let base = base.ok_or_else(why)?;
            return sts.assume_role(&base, role, section).map(Some);
        }
        if get("aws_access_key_id").is_some() {
            let why = "aws_access_key_id is there, and aws_secret_access_key is not";
            return own_keys(section).map(Some).ok_or_else(|| wrong(why));
        }
        if let Some(command) = get("credential_process") {
            let keys = printed_keys(command, LONGEST_RUN);
            return keys.map(Some).map_err(|e| SqsError {
                message: format!("profile {profile:?}: credential_process: {}", e.message),
                ..e
            });
        }
        if section.keys().any(|name| name.starts_with("sso_")) {
            return Err(wrong(
                "sso is not read; make another profile with credential_process = \
                 aws configure export-credentials --profile NAME --format process",
            ));
        }
        Ok(None)
    }
}

fn own_keys(section: &Section) -> Option<Keys> {
    Some(Keys {
        access_key_id: section.get("aws_access_key_id")?.clone(),
        secret: section.get("aws_secret_access_key")?.clone(),
        token: section.get("aws_session_token").cloned(),
        expires: None,
    })
}

/// The keys that a program prints. Its standard error and its process group are ours: it may ask on the terminal to log
/// in again.
fn printed_keys(command: &str, longest: Duration) -> Result<Keys, SqsError> {
    let child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(silence)?;
    let pid = i32::try_from(child.id()).map_err(silence)?;
    let (sender, ended) = mpsc::channel();
    // A process that it leaves behind may keep its output open: this thread is not waited for.
    let builder = std::thread::Builder::new().name("credentials".to_owned());
    builder
        .spawn(move || sender.send(child.wait_with_output()))
        .map_err(silence)?;
    let Ok(output) = ended.recv_timeout(longest) else {
        signals::signal_one(pid, Stop::Kill);
        let seconds = longest.as_secs_f64();
        return Err(silence(format!(
            "it had not ended after {seconds} s and was killed; run it by hand to see what it waits for"
        )));
    };
    let output = output.map_err(silence)?;
    if !output.status.success() {
        return Err(refusal(format!("it failed with {}", output.status)));
    }
    Keys::read(&String::from_utf8_lossy(&output.stdout)).map_err(refusal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::remote::sqs::error::SqsFault;
    use std::fs;
    use std::time::Instant;

    #[test]
    fn a_program_that_hangs_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let command = format!("echo $$ > {}; exec sleep 600", file.display());
        let error = printed_keys(&command, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.fault, SqsFault::Temporary);
        let said = "it had not ended after 1 s and was killed";
        assert!(error.message.starts_with(said), "{error}");
        let process = format!("/proc/{}", fs::read_to_string(file).unwrap().trim());
        let end = Instant::now() + Duration::from_secs(30);
        while fs::exists(&process).unwrap() {
            assert!(Instant::now() < end, "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
