//! The file of tokens: one `NAME RIGHTS HASH` a line. The tokens themselves are not kept, only their SHA-256, which is
//! enough for 256 random bits.

use crate::core::config::rights::Rights;
use crate::core::hex::hex;
use crate::os::random;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fs2::FileExt;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use subtle::ConstantTimeEq;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: String,
    rights: Rights,
    hash: [u8; 32],
}

/// All lines of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Reads the file's text. Empty lines and those that begin with `#` are for people. Errors name the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens: Vec<Token> = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let token = read_line(line).map_err(|e| format!("line {number}: {e}"))?;
            if tokens.iter().any(|known| known.name == token.name) {
                return Err(format!("line {number}: {:?} is there twice", token.name));
            }
            tokens.push(token);
        }
        Ok(Self(tokens))
    }

    /// True if there is no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name and the rights of a token. The time that this takes says nothing about the text.
    pub fn find(&self, shown: &str) -> Option<(String, Rights)> {
        let hash: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.hash.ct_eq(&hash)) {
                found = Some(token);
            }
        }
        found.map(|token| (token.name.clone(), token.rights))
    }
}

fn read_line(line: &str) -> Result<Token, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name, rights, hash] = words[..] else {
        return Err(
            "expected a name, rights and a hash; `pirn token new` writes such lines".to_owned(),
        );
    };
    Ok(Token {
        name: name.to_owned(),
        rights: Rights::parse(rights)?,
        hash: from_hex(hash).ok_or("expected a hash of 64 hexadecimal digits")?,
    })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    is_hex.then_some(bytes)
}

/// The SHA-256 of a text, as hexadecimal digits.
pub fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Makes a token and adds its line to the file, which is made with mode 0600 if it is not there. Gives the token,
/// which is kept nowhere. Errors: the name is taken or malformed, the file has a mistake in it.
pub fn make(path: &Path, name: &str, rights: Rights) -> Result<String, String> {
    let at = |e: io::Error| format!("{}: {e}", path.display());
    let is_plain = |c: char| c.is_ascii_graphic() && c != '#';
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
        return Err(format!(
            "{name:?}: a name is up to 64 characters without spaces and #"
        ));
    }
    let mut file = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(at)?;
    FileExt::lock_exclusive(&file).map_err(at)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(at)?;
    let known = Tokens::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    if known.0.iter().any(|token| token.name == name) {
        return Err(format!(
            "{}: there is a token {name:?} already; remove its line first",
            path.display()
        ));
    }
    let token = URL_SAFE_NO_PAD.encode(random::bytes().map_err(|e| e.to_string())?);
    let gap = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let line = format!("{gap}{name} {rights} {}\n", digest(&token));
    file.write_all(line.as_bytes()).map_err(at)?;
    file.sync_all().map_err(at)?;
    Ok(token)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::config::rights::Right;

    #[test]
    fn a_token_is_known_by_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, "# who may what").unwrap();
        let ci = make(&path, "ci", Rights::of(&[Right::Push])).unwrap();
        let ops = make(&path, "ops", Rights::of(&[Right::Admin])).unwrap();
        assert!(
            make(&path, "ci", Rights::NONE)
                .unwrap_err()
                .contains("already")
        );
        assert!(make(&path, "a b", Rights::NONE).is_err());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&ci) && !text.contains(&ops));
        let tokens = Tokens::parse(&text).unwrap();
        assert_eq!(
            tokens.find(&ci).unwrap(),
            ("ci".to_owned(), Rights::of(&[Right::Push]))
        );
        assert_eq!(tokens.find(&ops).unwrap().0, "ops");
        assert_eq!(tokens.find(&digest(&ci)), None);
        assert_eq!(tokens.find(""), None);
    }

    #[test]
    fn errors_name_the_line() {
        let hash = "0".repeat(64);
        for (text, wanted) in [
            ("\n\na read".to_owned(), "line 3: expected a name"),
            ("a read xyz".to_owned(), "line 1: expected a hash"),
            (format!("a write {hash}"), "line 1: expected rights"),
            (
                format!("a read {hash}\na push {hash}"),
                "line 2: \"a\" is there twice",
            ),
        ] {
            let e = Tokens::parse(&text).unwrap_err();
            assert!(e.starts_with(wanted), "{e}");
        }
    }
}
