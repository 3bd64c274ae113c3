//! The words of an unfinished command line, and how text is quoted for bash. Quotes and backslashes are understood,
//! nothing is expanded.

/// A line up to the cursor.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// The words before the cursor.
    pub words: Vec<String>,
    /// The beginning of the word at the cursor.
    pub typed: String,
    /// Where that begins in the line.
    pub start: usize,
    /// The quotes that are open at the cursor.
    pub quotes: Quotes,
}

/// The quotes that a text is between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// None.
    Bare,
    /// `'`
    Single,
    /// `"`
    Double,
}

/// Splits a line as a shell does.
pub fn split(line: &str) -> Split {
    let (mut words, mut quotes) = (Vec::new(), Quotes::Bare);
    let (mut word, mut start): (Option<String>, usize) = (None, line.len());
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if quotes == Quotes::Bare && c.is_ascii_whitespace() {
            words.extend(word.take());
            start = line.len();
            continue;
        }
        if word.is_none() {
            start = at;
        }
        let text = word.get_or_insert_default();
        match (quotes, c) {
            (Quotes::Bare, '\'') => quotes = Quotes::Single,
            (Quotes::Bare, '"') => quotes = Quotes::Double,
            (Quotes::Single, '\'') | (Quotes::Double, '"') => quotes = Quotes::Bare,
            (Quotes::Bare, '\\') => text.extend(chars.next().map(|(_, c)| c)),
            (Quotes::Double, '\\') => {
                let next = chars.next_if(|(_, c)| matches!(c, '$' | '`' | '"' | '\\'));
                text.push(next.map_or('\\', |(_, c)| c));
            }
            (Quotes::Bare | Quotes::Single | Quotes::Double, c) => text.push(c),
        }
    }
    // Assignments may stand before the command.
    let is_assignment = |word: &String| {
        word.split_once('=')
            .is_some_and(|(name, _)| is_variable(name))
    };
    let first = words.iter().position(|word| !is_assignment(word));
    words.drain(..first.unwrap_or(words.len()));
    Split {
        words,
        typed: word.unwrap_or_default(),
        start,
        quotes,
    }
}

fn is_variable(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty()
}

/// Text that stands for itself in bash between such quotes; `is_first` if the opening one is right before it. Readline
/// closes them, unless the text seems to do that, and takes a quote at its beginning for the opening one.
pub fn quoted(text: &str, quotes: Quotes, is_first: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match (quotes, c) {
            (Quotes::Bare, c)
                if c.is_ascii_alphanumeric() || !c.is_ascii() || "_-./,:=@%+".contains(c) =>
            {
                out.push(c);
            }
            (Quotes::Bare, c) => out.extend(['\\', c]),
            (Quotes::Single, '\'') => out.push_str("'\\''"),
            (Quotes::Double, '$' | '`' | '"' | '\\') => out.extend(['\\', c]),
            // In these quotes nothing else keeps bash from looking for an earlier command.
            (Quotes::Double, '!') => out.push_str("\"'!'\""),
            (Quotes::Single | Quotes::Double, c) => out.push(c),
        }
    }
    let mark = match quotes {
        Quotes::Bare => return out,
        Quotes::Single => '\'',
        Quotes::Double => '"',
    };
    if out.ends_with(mark) {
        out.push(mark);
    }
    if is_first && out.starts_with(mark) {
        out.insert(0, mark);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_does() {
        for (line, words, typed, start) in [
            ("pirn can", &["pirn"][..], "can", 5),
            ("pirn cancel ", &["pirn", "cancel"], "", 12),
            (
                "A=1 pirn -S 'a b' \"c\\\"$d",
                &["pirn", "-S", "a b"],
                "c\"$d",
                18,
            ),
            ("pirn a\\ b\\", &["pirn"], "a b", 5),
            ("pirn '' 'it'\\''s", &["pirn", ""], "it's", 8),
            ("pirn \"a\\b", &["pirn"], "a\\b", 5),
        ] {
            let is = split(line);
            assert_eq!(
                (is.words, is.typed.as_str(), is.start),
                (
                    words.iter().map(ToString::to_string).collect(),
                    typed,
                    start
                ),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_quoted_is_read_as_it_was() {
        let odd = "$(touch x) `a` it's \"b\" é;*?[{~#!\\<>|&a=b:c";
        for (open, close, quotes) in [
            ("", "", Quotes::Bare),
            ("'", "'", Quotes::Single),
            ("\"", "\"", Quotes::Double),
        ] {
            let line = format!("{open}{}{close}", quoted(odd, quotes, false));
            assert_eq!(split(&line).typed, odd, "{line}");
            let line = format!("a{open}{}", quoted(odd, quotes, false));
            assert_eq!(split(&line).quotes, quotes);
        }
        let twice = quoted("!\"", Quotes::Double, true);
        assert_eq!(twice, r#"""'!'"\"""#);
        assert_eq!(quoted("'", Quotes::Single, true), r"''\'''");
    }
}
