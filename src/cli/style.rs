//! Colours, the width of the terminal, and text that fits into it.

use crate::core::record::State;
use crate::os::terminal;
use clap::ColorChoice;
use std::borrow::Cow;
use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The choice of the command line, known before anything is printed.
static CHOICE: OnceLock<ColorChoice> = OnceLock::new();

/// Sets what the command line says about colours.
pub fn choose(choice: ColorChoice) {
    CHOICE.get_or_init(|| choice);
}

/// A colour of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Headings.
    Bold,
    /// Things that matter least.
    Dim,
    /// Failures.
    Red,
    /// Success.
    Green,
    /// Things that wait, and warnings.
    Yellow,
    /// Things that run.
    Cyan,
}

impl Ink {
    /// The colour of a state.
    pub fn of_state(state: State) -> Self {
        match state {
            State::Pending | State::Held => Self::Yellow,
            State::Active => Self::Cyan,
            State::Complete => Self::Green,
            State::Failed => Self::Red,
        }
    }

    /// The number of the colour in an escape sequence (ECMA-48, SGR).
    fn code(self) -> u8 {
        match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Cyan => 36,
        }
    }
}

/// How to write to stdout or stderr.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Texts may have colours.
    pub has_colours: bool,
    /// Columns of the terminal; `None` if it is none.
    pub width: Option<usize>,
    /// The terminal's locale names a charset other than UTF-8.
    pub is_ascii: bool,
}

impl Style {
    /// Looks at stdout, the command line and the environment.
    pub fn of_stdout() -> Self {
        Self::of(&io::stdout())
    }

    /// Looks at stderr, the command line and the environment.
    pub fn of_stderr() -> Self {
        Self::of(&io::stderr())
    }

    fn of(stream: &(impl IsTerminal + AsFd)) -> Self {
        let is_terminal = stream.is_terminal();
        let choice = CHOICE.get().copied().unwrap_or(ColorChoice::Auto);
        let variable = |name: &str| env::var(name).ok();
        Self {
            has_colours: has_colours(choice, is_terminal, &variable),
            width: is_terminal.then(|| terminal::width(stream)),
            is_ascii: is_terminal && has_other_charset(&variable),
        }
    }

    /// True on a terminal that can go back in what it shows.
    pub fn can_redraw(self) -> bool {
        self.width.is_some() && env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// The text with characters that the terminal has, which take as many columns.
    pub fn spell<'t>(self, text: impl Into<Cow<'t, str>>) -> Cow<'t, str> {
        let text = text.into();
        match self.is_ascii {
            true => text.chars().map(in_ascii).collect(),
            false => text,
        }
    }

    /// As [`fit`], with an ellipsis that the terminal has.
    pub fn fit(self, text: &str, room: usize) -> Cow<'_, str> {
        match fit(text, room) {
            Cow::Owned(mut cut) if self.is_ascii => {
                cut.pop();
                cut.push(in_ascii('…'));
                cut.into()
            }
            text => text,
        }
    }

    /// The text in this colour, where there are colours.
    pub fn paint(self, ink: Ink, text: &str) -> Cow<'_, str> {
        match self.has_colours && !text.is_empty() {
            true => format!("\x1b[{}m{text}\x1b[0m", ink.code()).into(),
            false => text.into(),
        }
    }
}

/// Decides on colours: what the command line says, then NO_COLOR, CLICOLOR_FORCE, CLICOLOR, and at last the terminal
/// (no-color.org, bixense.com/clicolors).
fn has_colours(
    choice: ColorChoice,
    is_terminal: bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> bool {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let is = |name: &str, wanted: &str| variable(name).is_some_and(|value| value == wanted);
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if is_set("NO_COLOR") => false,
        ColorChoice::Auto if is_set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0") => true,
        ColorChoice::Auto => is_terminal && !is("CLICOLOR", "0") && !is("TERM", "dumb"),
    }
}

/// True if the locale names a charset other than UTF-8. As for setlocale(3), the first variable that is set decides.
/// Without any, UTF-8 is taken for granted, as systemctl(1) does: cron, containers and sshd often set none.
fn has_other_charset(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let mut set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().map(variable);
    let Some(locale) = set.find_map(|value| value.filter(|value| !value.is_empty())) else {
        return false;
    };
    let (locale, _) = locale.split_once('@').unwrap_or((&locale, ""));
    match locale.split_once('.') {
        None => ["C", "POSIX"].contains(&locale),
        Some((_, charset)) => !["utf-8", "utf8"].contains(&&*charset.to_lowercase()),
    }
}

/// The character of ASCII that stands for one of those that pirn prints.
fn in_ascii(c: char) -> char {
    match c {
        '…' => '~',
        '○' => 'o',
        '●' => '*',
        '✓' => '+',
        '×' => 'x',
        '─' => '-',
        '█' => '#',
        '░' => '.',
        other => other,
    }
}

/// The columns that a text takes.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// The text, or so much of its beginning as fits into these columns together with an ellipsis.
pub fn fit(text: &str, room: usize) -> Cow<'_, str> {
    if text.len() <= room || columns(text) <= room {
        return text.into();
    }
    let mut left = room.saturating_sub(1);
    let end = text.char_indices().find(|(_, c)| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        !fits
    });
    let end = end.map_or(text.len(), |(end, _)| end);
    format!("{}…", &text[..end]).into()
}

/// The spaces that bring a text to these columns.
pub fn padding(text: &str, room: usize) -> String {
    " ".repeat(room.saturating_sub(columns(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_speaks_decides_on_colours() {
        let decided = |choice, is_terminal, variables: &[(&str, &str)]| {
            has_colours(choice, is_terminal, &|name| {
                let found = variables.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let all = [
            ("NO_COLOR", "1"),
            ("CLICOLOR_FORCE", "1"),
            ("CLICOLOR", "0"),
            ("TERM", "dumb"),
        ];
        assert!(decided(ColorChoice::Always, false, &all));
        for (n, expected) in [false, true, false, false].into_iter().enumerate() {
            assert_eq!(decided(ColorChoice::Auto, true, &all[n..]), expected, "{n}");
        }
        assert!(decided(ColorChoice::Auto, true, &[("NO_COLOR", "")]));
        assert!(decided(ColorChoice::Auto, true, &[("CLICOLOR", "1")]));
        assert!(decided(ColorChoice::Auto, false, &all[1..]));
        for (name, value) in [("CLICOLOR_FORCE", "0"), ("CLICOLOR", "1")] {
            assert!(!decided(ColorChoice::Auto, false, &[(name, value)]));
        }
        assert!(!decided(ColorChoice::Never, true, &all[1..2]));
    }

    #[test]
    fn the_first_locale_that_is_set_names_the_charset() {
        let other = |all: &str, ctype: &str, lang: &str| {
            has_other_charset(&|name| match name {
                "LC_ALL" => Some(all.to_owned()),
                "LC_CTYPE" => Some(ctype.to_owned()),
                _ => (!lang.is_empty()).then(|| lang.to_owned()),
            })
        };
        for locale in [
            "C",
            "POSIX",
            "de_DE.ISO-8859-15@euro",
            "ja_JP.eucJP",
            "C.ascii",
        ] {
            assert!(other("", "", locale), "{locale}");
            assert!(other(locale, "C.UTF-8", "C.UTF-8"), "{locale}");
        }
        for locale in [
            "",
            "C.UTF-8",
            "C.utf8",
            "de_DE.UTF-8@euro",
            "de_DE",
            "de_DE@euro",
        ] {
            assert!(!other("", "", locale), "{locale}");
        }
        assert!(!other("", "en_US.UTF-8", "C"));
    }

    #[test]
    fn texts_are_cut_by_the_columns_they_take() {
        assert_eq!(columns("日本 é"), 6);
        for (text, room, cut) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("e\u{301}e\u{301}e\u{301}", 3, "e\u{301}e\u{301}e\u{301}"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
            ("abc", 0, "…"),
        ] {
            assert_eq!(fit(text, room), cut, "{text} in {room}");
        }
        assert_eq!(padding("日", 3), " ");
    }
}
