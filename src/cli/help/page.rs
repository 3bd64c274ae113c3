//! A part of a manual page as plain text: of mdoc(7), what these pages use.

/// The sections of a page that begin with this heading, as text of this width; `None` if there is none.
pub fn render(page: &str, heading: &str, width: usize) -> Option<String> {
    let is_heading = |line: &&str| {
        [".Sh ", ".Ss "]
            .iter()
            .any(|level| line.strip_prefix(level) == Some(heading))
    };
    // A backslash at its end continues a line.
    let page = page.replace("\\\n", "");
    let mut lines = page.lines().skip_while(|line| !is_heading(line));
    let first = lines.next()?;
    let is_part = |line: &&str| {
        !line.starts_with(".Sh ") && (first.starts_with(".Sh ") || !line.starts_with(".Ss "))
    };
    let mut out = Text::new(width);
    out.heading(heading);
    let mut is_literal = false;
    for line in lines.take_while(is_part) {
        match line.split_once(' ').unwrap_or((line, "")) {
            (".Ed", _) => {
                is_literal = false;
                out.blank();
            }
            _ if is_literal => out.line(&format!("    {}", plain(line))),
            (".Bd", _) => {
                out.end();
                is_literal = true;
            }
            (".Dl" | ".D1", rest) => {
                out.end();
                out.line(&format!("    {}", inline(rest)));
            }
            (".Pp", _) => out.blank(),
            (".Ss", rest) => out.heading(rest),
            (".Bl", rest) => out.begin(rest),
            (".It", rest) => out.item(rest),
            (".El", _) => out.finish(),
            (".\\\"", _) => {}
            _ => match line.strip_prefix('.') {
                Some(call) => out.words(&inline(call)),
                None => out.words(&plain(line)),
            },
        }
    }
    out.end();
    Some(out.done)
}

/// Breaks a text into lines of this width, the first of which begins with `first`, and the others with as many blanks.
pub fn wrapped(text: &str, first: &str, width: usize) -> String {
    let indent = first.chars().count();
    let (mut out, mut column) = (first.to_owned(), indent);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

/// A list that is under way.
enum ListKind {
    /// Items under a head each.
    Tagged,
    /// Items behind a mark each.
    Marked,
    /// The rows of a table.
    Table(Vec<Vec<String>>),
}

struct Text {
    done: String,
    /// The paragraph that is not written yet, and what stands before it.
    paragraph: String,
    before: String,
    lists: Vec<ListKind>,
    width: usize,
}

impl Text {
    fn new(width: usize) -> Self {
        Self {
            done: String::new(),
            paragraph: String::new(),
            before: String::new(),
            lists: Vec::new(),
            width,
        }
    }

    fn indent(&self) -> String {
        " ".repeat(4 * self.lists.len())
    }

    fn line(&mut self, text: &str) {
        let indent = self.indent();
        self.done.push_str(format!("{indent}{text}").trim_end());
        self.done.push('\n');
    }

    fn words(&mut self, text: &str) {
        if let Some(ListKind::Table(rows)) = self.lists.last_mut() {
            if let Some(cell) = rows.last_mut().and_then(|row| row.last_mut()) {
                cell.push_str(&format!(" {text}"));
            }
            return;
        }
        if text.starts_with(')') {
            self.paragraph.truncate(self.paragraph.trim_end().len());
        }
        self.paragraph.push_str(text);
        if !text.ends_with('(') {
            self.paragraph.push(' ');
        }
    }

    /// Writes the paragraph.
    fn end(&mut self) {
        let first = match self.before.is_empty() {
            true => self.indent(),
            false => std::mem::take(&mut self.before),
        };
        if !self.paragraph.is_empty() {
            self.done
                .push_str(&wrapped(&self.paragraph, &first, self.width));
            self.paragraph.clear();
        }
    }

    fn blank(&mut self) {
        self.end();
        if !self.done.ends_with("\n\n") {
            self.done.push('\n');
        }
    }

    fn heading(&mut self, text: &str) {
        if !self.done.is_empty() {
            self.blank();
        }
        self.done.push_str(&format!("{text}\n\n"));
    }

    fn begin(&mut self, kind: &str) {
        self.end();
        self.lists.push(match kind.split(' ').next() {
            Some("-column") => ListKind::Table(Vec::new()),
            Some("-bullet" | "-enum") => ListKind::Marked,
            Some(_) | None => ListKind::Tagged,
        });
    }

    fn item(&mut self, head: &str) {
        self.end();
        let outer = " ".repeat(4 * self.lists.len().saturating_sub(1));
        match self.lists.last_mut() {
            Some(ListKind::Table(rows)) => {
                let cells = head.split(" Ta ").map(inline);
                rows.push(cells.collect());
            }
            Some(ListKind::Marked) => self.before = format!("{outer}  - "),
            Some(ListKind::Tagged) | None => {
                let head = wrapped(&inline(head), &outer, self.width);
                self.done.push_str(&head);
            }
        }
    }

    fn finish(&mut self) {
        self.end();
        let Some(ListKind::Table(rows)) = self.lists.pop() else {
            return;
        };
        let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
        let length = |cell: Option<&String>| cell.map_or(0, |cell| cell.chars().count());
        let widest = |n: usize| {
            rows.iter()
                .map(|row| length(row.get(n)))
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        for row in &rows {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            self.line(&cells.collect::<Vec<_>>().join("  "));
        }
    }
}

/// Text without the escapes of roff.
fn plain(text: &str) -> String {
    let text = text
        .replace("\\&", "")
        .replace("\\(dq", "\"")
        .replace("\\(en", "-");
    text.replace("\\e", "\\").replace("\\-", "-")
}

/// Between the pieces of a text: no blank.
const GLUE: &str = "\u{1}";

/// A line of macros as text.
fn inline(call: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for (n, part) in call.split('"').enumerate() {
        match n % 2 {
            0 => words.extend(
                part.split(' ')
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned),
            ),
            _ => words.push(part.to_owned()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (mut out, mut is_glued) = (String::new(), true);
    for piece in pieces(&words) {
        if piece == GLUE {
            is_glued = true;
            continue;
        }
        if !is_glued && !is_closing(&piece) {
            out.push(' ');
        }
        out.push_str(&plain(&piece));
        is_glued = matches!(piece.as_str(), "(" | "[");
    }
    out
}

fn is_closing(word: &str) -> bool {
    matches!(word, "." | "," | ";" | ":" | "?" | "!" | ")" | "]")
}

fn pieces(words: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut macro_name = "";
    let mut n = 0;
    while let Some(&word) = words.get(n) {
        n += 1;
        let pair = match word {
            "Pq" => Some(("(", ")")),
            "Op" => Some(("[", "]")),
            "Qq" | "Dq" => Some(("\"", "\"")),
            _ => None,
        };
        if let Some((open, close)) = pair {
            let mut rest = &words[n..];
            while rest.last().is_some_and(|last| is_closing(last)) {
                rest = &rest[..rest.len() - 1];
            }
            out.extend([open.to_owned(), GLUE.to_owned()]);
            out.extend(pieces(rest));
            out.extend([GLUE.to_owned(), close.to_owned()]);
            n += rest.len();
            macro_name = "";
            continue;
        }
        match (word, macro_name) {
            ("Ns", _) => out.push(GLUE.to_owned()),
            ("Pf", _) => {
                out.extend(words.get(n).map(|word| (*word).to_owned()));
                out.push(GLUE.to_owned());
                n += 1;
            }
            ("Oo", _) => out.extend(["[".to_owned(), GLUE.to_owned()]),
            ("Po", _) => out.extend(["(".to_owned(), GLUE.to_owned()]),
            ("Qo", _) => out.extend(["\"".to_owned(), GLUE.to_owned()]),
            ("Oc", _) => out.extend([GLUE.to_owned(), "]".to_owned()]),
            ("Pc", _) => out.extend([GLUE.to_owned(), ")".to_owned()]),
            ("Qc", _) => out.extend([GLUE.to_owned(), "\"".to_owned()]),
            ("Nm", _) => {
                macro_name = "Nm";
                if words
                    .get(n)
                    .is_none_or(|next| is_closing(next) || is_macro(next))
                {
                    out.push("pirn".to_owned());
                }
            }
            ("Xr", _) => {
                if let [name, section, ..] = words[n..] {
                    out.push(format!("{name}({section})"));
                    n += 2;
                }
            }
            ("Ql", _) => {
                let length = words[n..]
                    .iter()
                    .take_while(|word| !is_closing(word) && !is_macro(word))
                    .count();
                out.push(format!("'{}'", words[n..n + length].join(" ")));
                n += length;
            }
            (word, _) if is_macro(word) => {
                macro_name = word;
                let has_none = words
                    .get(n)
                    .is_none_or(|next| is_closing(next) || is_macro(next));
                if word == "Fl" && has_none {
                    out.push("-".to_owned());
                }
            }
            (word, "Fl") if !is_closing(word) && word != "|" => out.push(format!("-{word}")),
            (word, _) => out.push(word.to_owned()),
        }
    }
    out
}

fn is_macro(word: &str) -> bool {
    const NAMES: [&str; 22] = [
        "Ar", "Cm", "Dq", "Dv", "Em", "Ev", "Fl", "Li", "Nm", "No", "Ns", "Oc", "Oo", "Op", "Pa",
        "Pq", "Ql", "Qq", "Sx", "Sy", "Va", "Xr",
    ];
    NAMES.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_become_text() {
        for (call, text) in [
            ("Fl q , -tag , -name", "-q, --tag, --name"),
            ("Op Fl -use Ar token Ns Op = Ns Ar n", "[--use token[=n]]"),
            ("Pq Xr sd_notify 3 ,", "(sd_notify(3)),"),
            ("Ql now + 5 minutes ;", "'now + 5 minutes';"),
            ("Nm Cm add Fl -at", "pirn add --at"),
            ("Ev ( PIRN_TMP ) .", "(PIRN_TMP)."),
            ("Ar n Ns - Ns Ar m", "n-m"),
            ("Ql \\&* .", "'*'."),
        ] {
            assert_eq!(inline(call), text, "{call}");
        }
    }

    #[test]
    fn sections_become_text() {
        let page = ".Sh A\nfirst\n.Sh B\nOne\n.Po\n.Em two , \\\nor\n.Pc .\n.Bl -tag -width Ds\n.It Fl x\nIs it.\n.El\n.Bl -bullet\n.It\nA mark\n\
                    .El\n.Bd -literal\n$ x \\en\n.Ed\n.Ss C\nEnd\n.Sh D\nno\n";
        let text = "B\n\nOne (two, or).\n-x\n    Is it.\n  - A mark\n    $ x \\n\n\nC\n\nEnd\n";
        assert_eq!(render(page, "B", 60).as_deref(), Some(text));
        assert_eq!(render(page, "C", 60).as_deref(), Some("C\n\nEnd\n"));
        assert_eq!(render(page, "E", 60), None);
        assert_eq!(wrapped("aa bb cc", "- ", 8), "- aa bb\n  cc\n");
    }
}
