//! URLs of queues that were asked for before, in a file: so enqueuing takes one call.

use serde_json::{Map, Value};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process;

/// With more entries the file is begun anew: each new access key leaves its own behind.
const MOST_ENTRIES: usize = 1000;

/// The file. Trouble with it is no error: the server knows the URLs.
#[derive(Debug)]
pub struct UrlCache {
    path: Option<PathBuf>,
}

/// Tells apart queues of the same name.
#[derive(Debug, Clone, Copy)]
pub struct CacheKey<'a> {
    /// The address of the server.
    pub endpoint: &'a str,
    /// The region.
    pub region: &'a str,
    /// The public half of the key, which belongs to an account.
    pub access_key_id: &'a str,
    /// The name of the queue.
    pub name: &'a str,
}

impl CacheKey<'_> {
    fn text(self) -> String {
        let Self {
            endpoint,
            region,
            access_key_id,
            name,
        } = self;
        format!("{endpoint} {region} {access_key_id} {name}")
    }
}

impl UrlCache {
    /// The file `pirn/sqs.json` in a directory for caches. Without one, nothing is kept.
    pub fn new(dir: Option<PathBuf>) -> Self {
        Self {
            path: dir.map(|dir| dir.join("pirn/sqs.json")),
        }
    }

    /// The URL of a queue.
    pub fn get(&self, key: CacheKey<'_>) -> Option<String> {
        let entries = self.read()?;
        Some(entries.get(&key.text())?.as_str()?.to_owned())
    }

    /// Keeps the URL of a queue.
    pub fn put(&self, key: CacheKey<'_>, url: &str) {
        let mut entries = self.read().unwrap_or_default();
        if entries.len() >= MOST_ENTRIES {
            entries.clear();
        }
        entries.insert(key.text(), url.into());
        self.write(&entries);
    }

    /// Forgets the URL of a queue.
    pub fn forget(&self, key: CacheKey<'_>) {
        let mut entries = self.read().unwrap_or_default();
        if entries.remove(&key.text()).is_some() {
            self.write(&entries);
        }
    }

    fn read(&self) -> Option<Map<String, Value>> {
        let text = fs::read_to_string(self.path.as_ref()?).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn write(&self, entries: &Map<String, Value>) {
        let Some(path) = &self.path else { return };
        let text = Value::Object(entries.clone()).to_string();
        if let Err(e) = replace(path, text.as_bytes()) {
            log::debug!("{}: {e}", path.display());
        }
    }
}

/// Writers may come at once: each replaces the whole file, and the last one stays.
fn replace(path: &PathBuf, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
    }
    let staged = path.with_extension(format!("{}.tmp", process::id()));
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(&staged)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&staged, path));
    if written.is_err() {
        // Nothing is lost if it stays.
        let _ = fs::remove_file(&staged);
    }
    written
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn urls_are_kept_apart_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let cache = UrlCache::new(Some(dir.path().join("cache")));
        let key = CacheKey {
            endpoint: "http://127.0.0.1:1/",
            region: "us-east-1",
            access_key_id: "AKIDEXAMPLE",
            name: "q",
        };
        let other = CacheKey { name: "r", ..key };
        assert_eq!(cache.get(key), None);
        cache.put(key, "http://h/1/q");
        cache.put(other, "http://h/1/r");
        let foreign = CacheKey {
            access_key_id: "AKIDOTHER",
            ..key
        };
        assert_eq!(cache.get(foreign), None);
        assert_eq!(cache.get(other).as_deref(), Some("http://h/1/r"));
        cache.forget(other);
        assert_eq!(cache.get(other), None);
        assert_eq!(cache.get(key).as_deref(), Some("http://h/1/q"));
        let path = dir.path().join("cache/pirn/sqs.json");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "{broken").unwrap();
        assert_eq!(cache.get(key), None);
        cache.put(key, "u");
        assert_eq!(cache.get(key).as_deref(), Some("u"));
    }

    #[test]
    fn no_directory_is_no_error() {
        let cache = UrlCache::new(Some(PathBuf::from("/proc/none")));
        let key = CacheKey {
            endpoint: "e",
            region: "r",
            access_key_id: "a",
            name: "n",
        };
        cache.put(key, "u");
        UrlCache::new(None).put(key, "u");
        assert_eq!(cache.get(key), None);
    }
}
