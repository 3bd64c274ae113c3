//! The keys that a terminal sends.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPress {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Char(char),
}

/// The sequences of keys that are no characters, with and without the terminal's application mode.
const SEQUENCES: [(&str, KeyPress); 12] = [
    ("[A", KeyPress::Up),
    ("OA", KeyPress::Up),
    ("[B", KeyPress::Down),
    ("OB", KeyPress::Down),
    ("[5~", KeyPress::PageUp),
    ("[6~", KeyPress::PageDown),
    ("[H", KeyPress::Home),
    ("OH", KeyPress::Home),
    ("[1~", KeyPress::Home),
    ("[F", KeyPress::End),
    ("OF", KeyPress::End),
    ("[4~", KeyPress::End),
];

/// The keys in what was read. Sequences of keys that mean nothing here are left out.
pub fn keys(bytes: &[u8]) -> Vec<KeyPress> {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = &*text;
    let mut keys = Vec::new();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let known = SEQUENCES
            .iter()
            .find(|(sequence, _)| rest.starts_with(sequence));
        match (c, known) {
            ('\x1b', Some((sequence, key))) => {
                rest = &rest[sequence.len()..];
                keys.push(*key);
            }
            ('\x1b', None) if rest.starts_with(['[', 'O']) => {
                let end = rest[1..].find(|c| ('@'..='~').contains(&c));
                rest = end.map_or("", |end| &rest[end + 2..]);
            }
            ('\x1b', None) => keys.push(KeyPress::Escape),
            ('\r' | '\n', _) => keys.push(KeyPress::Enter),
            (c, _) => keys.push(KeyPress::Char(c)),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_one_key() {
        assert_eq!(
            keys(b"j\x1b[A\x1bOB\x1b[5~\x1b[1;5C\x1b[200~\rq\x1b"),
            [
                KeyPress::Char('j'),
                KeyPress::Up,
                KeyPress::Down,
                KeyPress::PageUp,
                KeyPress::Enter,
                KeyPress::Char('q'),
                KeyPress::Escape
            ]
        );
        assert_eq!(keys("\u{1b}[é".as_bytes()), []);
    }
}
