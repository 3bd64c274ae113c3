//! Where the cursor is in a command line: what the words before it mean to the parser.

use clap::{Arg, ArgAction, Command};

/// The place of the cursor.
pub struct CursorPlace<'a> {
    /// The program.
    pub parser: &'a Command,
    /// The command that the words before name.
    pub command: &'a Command,
    /// The kind of word that stands there.
    pub awaits: Awaits<'a>,
    /// The beginning of the word that belongs to it: with `--queue=ma`, this is `--queue=`.
    pub head: String,
    /// The beginning of the value: `ma`.
    pub typed: String,
    /// The spool that the line names.
    pub spool: Option<String>,
}

/// The kinds of words that may stand at a place of a command line.
pub enum Awaits<'a> {
    /// The value of an option, or a word of the command; the number of those before it.
    Value(&'a Arg, usize),
    /// The name of a command.
    Subcommand,
    /// An option.
    Option,
    /// Words of another program.
    Foreign,
    /// Nothing that pirn has.
    Nothing,
}

/// Follows the words of a line, the first of which is the program.
pub fn walk<'a>(parser: &'a Command, words: &[String], typed: &str) -> CursorPlace<'a> {
    let mut place = CursorPlace {
        parser,
        command: parser,
        awaits: Awaits::Nothing,
        head: String::new(),
        typed: typed.to_owned(),
        spool: None,
    };
    let mut words = words.iter().skip(1);
    let (mut is_over, mut count) = (false, 0);
    while let Some(word) = words.next() {
        let (flag, given) = match is_over {
            true => (None, None),
            false => flag_of(place.command, word),
        };
        if word == "--" && !is_over {
            is_over = true;
        } else if let Some(arg) = flag {
            let value = match given {
                Some(at) => &word[at..],
                None if needs_word(arg) => match words.next() {
                    Some(value) => value,
                    None => {
                        place.awaits = Awaits::Value(arg, 0);
                        return place.in_list(arg);
                    }
                },
                None => continue,
            };
            if arg.get_id() == "spool" {
                place.spool = Some(value.to_owned());
            }
        } else if word.starts_with('-') && word.len() > 1 && !is_over {
            // An option without a value, or one that there is not.
        } else if place.command.has_subcommands() {
            match place.command.find_subcommand(word) {
                Some(command) => place.command = command,
                None => return place,
            }
        } else if positional(place.command, count).is_some_and(Arg::is_trailing_var_arg_set) {
            place.awaits = Awaits::Foreign;
            return place;
        } else {
            count += 1;
        }
    }
    place.at_cursor(is_over, count)
}

impl<'a> CursorPlace<'a> {
    fn at_cursor(mut self, is_over: bool, count: usize) -> Self {
        if self.typed.starts_with('-') && !is_over {
            let (flag, given) = flag_of(self.command, &self.typed);
            let Some((arg, at)) = flag.zip(given) else {
                self.awaits = Awaits::Option;
                return self;
            };
            self.awaits = Awaits::Value(arg, 0);
            self.head = self.typed[..at].to_owned();
            self.typed.drain(..at);
            return self.in_list(arg);
        }
        self.awaits = match positional(self.command, count) {
            _ if self.command.has_subcommands() => Awaits::Subcommand,
            Some(arg) => Awaits::Value(arg, count),
            None => Awaits::Nothing,
        };
        self
    }

    /// Of values with commas between them, only the last is unfinished.
    fn in_list(mut self, arg: &Arg) -> Self {
        if let Some(comma) = arg.get_value_delimiter()
            && let Some(at) = self.typed.rfind(comma)
        {
            let at = at + comma.len_utf8();
            self.head.push_str(&self.typed[..at]);
            self.typed.drain(..at);
        }
        self
    }
}

/// The option that takes a value with this word, and where in the word the value begins, if it is there.
fn flag_of<'a>(command: &'a Command, word: &str) -> (Option<&'a Arg>, Option<usize>) {
    let takers = || {
        command
            .get_arguments()
            .filter(|arg| arg.get_action().takes_values())
    };
    if let Some(long) = word.strip_prefix("--") {
        let (name, at) = match long.split_once('=') {
            Some((name, _)) => (name, Some("--".len() + name.len() + 1)),
            None => (long, None),
        };
        return (takers().find(|arg| arg.get_long() == Some(name)), at);
    }
    let Some(shorts) = word.strip_prefix('-') else {
        return (None, None);
    };
    for (at, letter) in shorts.char_indices() {
        if let Some(arg) = takers().find(|arg| arg.get_short() == Some(letter)) {
            let at = 1 + at + letter.len_utf8();
            return (Some(arg), (at < word.len()).then_some(at));
        }
    }
    (None, None)
}

/// True if the value of an option may be a word of its own.
fn needs_word(arg: &Arg) -> bool {
    arg.get_num_args()
        .is_none_or(|number| number.min_values() > 0)
}

/// The argument to which a word belongs that has `count` others before it.
fn positional(command: &Command, count: usize) -> Option<&Arg> {
    let takes_many = |arg: &Arg| matches!(arg.get_action(), ArgAction::Append);
    let mut last = None;
    for (n, arg) in command.get_positionals().enumerate() {
        last = Some(arg);
        if n == count || takes_many(arg) {
            return last;
        }
    }
    last.filter(|arg| takes_many(arg))
}
