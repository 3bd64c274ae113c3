//! The names that qdone gives its queues on SQS.

/// The ending of the names of FIFO queues.
pub const FIFO: &str = ".fifo";

/// The parts of names that its options set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueNames {
    /// Stands before each name.
    pub prefix: String,
    /// Makes the name of a queue that of its fail queue.
    pub fail_suffix: String,
    /// Makes the name of a queue that of its dead queue, to which the fail queue gives up messages.
    pub dead_suffix: String,
}

impl Default for QueueNames {
    fn default() -> Self {
        Self {
            prefix: "qdone_".to_owned(),
            fail_suffix: "_failed".to_owned(),
            dead_suffix: "_dead".to_owned(),
        }
    }
}

impl QueueNames {
    /// The name on SQS of a queue.
    pub fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The name of a queue on SQS without the prefix.
    pub fn short<'a>(&self, full: &'a str) -> &'a str {
        full.strip_prefix(&self.prefix).unwrap_or(full)
    }

    /// The fail queue of a queue. A fail queue is its own.
    pub fn failed(&self, name: &str) -> String {
        let (stem, ending) = split(name);
        let stem = stem.strip_suffix(&self.fail_suffix).unwrap_or(stem);
        format!("{stem}{}{ending}", self.fail_suffix)
    }

    /// The dead queue of a queue.
    pub fn dead(&self, name: &str) -> String {
        let (stem, ending) = split(name);
        let stem = stem.strip_suffix(&self.fail_suffix).unwrap_or(stem);
        let stem = stem.strip_suffix(&self.dead_suffix).unwrap_or(stem);
        format!("{stem}{}{ending}", self.dead_suffix)
    }

    /// True for fail queues and dead queues.
    pub fn is_failed(&self, name: &str) -> bool {
        split(name).0.ends_with(&self.fail_suffix) || self.is_dead(name)
    }

    /// True for dead queues.
    pub fn is_dead(&self, name: &str) -> bool {
        split(name).0.ends_with(&self.dead_suffix)
    }
}

/// The queue that a user means: only the option decides whether it is a FIFO queue, however the name ends. A pattern
/// gets no ending.
pub fn meant(given: &str, is_fifo: bool) -> String {
    let (stem, _) = split(given);
    match is_fifo && !stem.ends_with('*') {
        true => format!("{stem}{FIFO}"),
        false => stem.to_owned(),
    }
}

/// True for the name of a FIFO queue.
pub fn is_fifo(name: &str) -> bool {
    name.ends_with(FIFO)
}

fn split(name: &str) -> (&str, &str) {
    match name.strip_suffix(FIFO) {
        Some(stem) => (stem, FIFO),
        None => (name, ""),
    }
}

/// Says why SQS would refuse this name, if so.
pub fn check(full: &str) -> Result<(), String> {
    let (stem, _) = split(full);
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if stem.is_empty() || full.len() > 80 {
        return Err(format!(
            "a queue has a name of 1 to 80 characters, with its prefix and suffix, and {full:?} has {}",
            full.len()
        ));
    }
    match stem.chars().find(|c| !is_good(*c)) {
        Some(c) => Err(format!(
            "the names of queues have letters, digits, - and _, and {full:?} has {c:?}"
        )),
        None => Ok(()),
    }
}

/// Says why SQS would refuse this as a group or as a deduplication id, if so.
pub fn check_token(what: &str, token: &str) -> Result<(), String> {
    match (1..=128).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(format!(
            "{what} {token:?}: it has 1 to 128 letters, digits and punctuation marks, no spaces"
        )),
    }
}

/// The first character of a body that SQS refuses: it takes those of XML 1.0.
pub fn unsendable(body: &str) -> Option<char> {
    let is_good = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    body.chars().find(|c| !is_good(*c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_alone_makes_a_fifo() {
        for (given, plain, fifo) in [
            ("a", "a", "a.fifo"),
            ("a.fifo", "a", "a.fifo"),
            ("a.fifo.fifo", "a.fifo", "a.fifo.fifo"),
            ("a*", "a*", "a*"),
            ("*", "*", "*"),
        ] {
            assert_eq!(
                (meant(given, false), meant(given, true)),
                (plain.to_owned(), fifo.to_owned())
            );
        }
    }

    #[test]
    fn fail_and_dead_queues_are_named_after_theirs() {
        let names = QueueNames::default();
        for (name, failed, dead) in [
            ("a", "a_failed", "a_dead"),
            ("a.fifo", "a_failed.fifo", "a_dead.fifo"),
            ("a_failed", "a_failed", "a_dead"),
            ("a_failed.fifo", "a_failed.fifo", "a_dead.fifo"),
            ("a_dead", "a_dead_failed", "a_dead"),
        ] {
            assert_eq!(
                (names.failed(name), names.dead(name)),
                (failed.to_owned(), dead.to_owned())
            );
        }
        assert!(names.is_failed("a_failed") && names.is_failed("a_failed.fifo"));
        assert!(
            names.is_failed("a_dead") && !names.is_failed("a_failed_b") && !names.is_failed("a")
        );
        assert_eq!(names.full("a"), "qdone_a");
        assert_eq!((names.short("qdone_a"), names.short("b")), ("a", "b"));
    }

    #[test]
    fn names_that_sqs_refuses_are_refused() {
        for good in ["a", "qdone_a-1.fifo", &"x".repeat(80)] {
            assert_eq!(check(good), Ok(()));
        }
        for bad in ["", ".fifo", "a.b", "a b", "a*", "ä", &"x".repeat(81)] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check_token("the group", "A-z_.!").is_ok());
        for bad in ["", "a b", "ä", &"x".repeat(129)] {
            assert!(check_token("the group", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bodies_have_the_characters_of_xml() {
        assert_eq!(unsendable("a\tb\r\nä\u{10ffff}\u{fffd}"), None);
        for bad in ['\0', '\u{1b}', '\u{fffe}', '\u{ffff}'] {
            assert_eq!(unsendable(&format!("a{bad}b")), Some(bad));
        }
    }
}
