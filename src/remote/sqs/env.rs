//! The variables that AWS's own tools read.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The variables of an environment that begin with `AWS_`, and those that lead to the user's files. It holds secrets,
/// so that it cannot be printed.
#[derive(Clone, Default)]
pub struct AwsEnv(BTreeMap<String, String>);

impl AwsEnv {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The file that a variable names, else the one at `default` below the home directory.
    pub fn file(&self, name: &str, default: &str) -> Option<PathBuf> {
        let home = || {
            self.get("HOME")
                .map(|home| PathBuf::from(home).join(default))
        };
        self.get(name).map(PathBuf::from).or_else(home)
    }

    /// The directory for what can be had again: `$XDG_CACHE_HOME`, else `~/.cache`.
    pub fn cache(&self) -> Option<PathBuf> {
        let home = || Some(PathBuf::from(self.get("HOME")?).join(".cache"));
        let set = self.get("XDG_CACHE_HOME").map(PathBuf::from);
        set.filter(|path| path.is_absolute()).or_else(home)
    }

    /// The region: `region`, else `$AWS_REGION`, else `us-east-1`, as qdone 2 has it.
    pub fn region<'a>(&'a self, region: Option<&'a str>) -> &'a str {
        region
            .or_else(|| self.get("AWS_REGION"))
            .unwrap_or("us-east-1")
    }
}

impl FromIterator<(String, String)> for AwsEnv {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let is_read =
            |name: &str| name.starts_with("AWS_") || name == "HOME" || name == "XDG_CACHE_HOME";
        let variables = variables.into_iter();
        Self(variables.filter(|(name, _)| is_read(name)).collect())
    }
}
