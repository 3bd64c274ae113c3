//! Files that people write where they are, as `>` does: half of one is no mistake of theirs.

use super::lease;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

/// A file as it is now.
#[derive(Debug)]
pub enum Written<T> {
    /// It says this.
    Valid(T),
    /// This is wrong with it.
    Invalid(String),
    /// As [`Self::Invalid`], but somebody has it open for writing.
    Unfinished(String),
}

/// How long a file that is being written is waited for, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Reads a file. What is valid counts at once, whoever has it open.
pub fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T, String>) -> io::Result<Written<T>> {
    let parse = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => parse(&text),
        Err(_) => Err("not UTF-8 text".to_owned()),
    };
    let why = match parse(std::fs::read(path)?) {
        Ok(value) => return Ok(Written::Valid(value)),
        Err(why) => why,
    };
    if !std::fs::metadata(path)?.is_file() {
        // A pipe has nothing more to say.
        return Ok(Written::Invalid(why));
    }
    // Once more, while nobody can begin to write it.
    let mut file = File::open(path)?;
    let is_unfinished = lease::is_being_written(&file);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(match parse(bytes) {
        Ok(value) => Written::Valid(value),
        Err(why) if is_unfinished => Written::Unfinished(why),
        Err(why) => Written::Invalid(why),
    })
}

/// As [`read`], but waits some seconds for who is writing it.
pub fn read_finished<T>(
    path: &Path,
    parse: impl Fn(&str) -> Result<T, String>,
) -> io::Result<Result<T, String>> {
    let mut waited = Duration::ZERO;
    loop {
        match read(path, &parse)? {
            Written::Valid(value) => return Ok(Ok(value)),
            Written::Invalid(why) => return Ok(Err(why)),
            Written::Unfinished(why) if waited >= PATIENCE => {
                return Ok(Err(format!("{why} (it is still open for writing)")));
            }
            Written::Unfinished(_) => std::thread::sleep(LOOK_EVERY),
        }
        waited += LOOK_EVERY;
    }
}
