//! JSON text with other white space. Numbers and strings keep theirs: to read and print them would change some.

/// The text without white space between values.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    tokens(json, |token| out.push_str(token));
    out
}

/// The most bytes of white space that are added: lists in lists would grow to a hundred times their size.
const MOST_SPACE: usize = 8 << 20;

/// The text indented by two spaces, until [`MOST_SPACE`] was added.
pub fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut is_empty) = (0usize, false);
    let mut left = MOST_SPACE;
    let mut line = |out: &mut String, depth: usize| {
        let space = 1 + 2 * depth;
        left = left.saturating_sub(space);
        if left > 0 {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', space - 1));
        }
    };
    tokens(json, |token| {
        let closes = matches!(token, "}" | "]");
        if closes {
            depth = depth.saturating_sub(1);
        }
        if closes != is_empty {
            // The first value within brackets, or their end behind values.
            line(&mut out, depth);
        }
        is_empty = false;
        match token {
            "{" | "[" => {
                depth += 1;
                is_empty = true;
                out.push_str(token);
            }
            "," => {
                out.push(',');
                line(&mut out, depth);
            }
            ":" => out.push_str(": "),
            token => out.push_str(token),
        }
    });
    out
}

/// Calls `each` with the parts of a valid JSON text.
fn tokens<'a>(json: &'a str, mut each: impl FnMut(&'a str)) {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let length = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => {
                let mut escaped = false;
                let end = rest.iter().skip(1).position(|byte| {
                    let is_end = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    is_end
                });
                end.map_or(rest.len(), |end| end + 2)
            }
            _ => rest
                .iter()
                .position(|byte| b" \t\r\n{}[],:\"".contains(byte))
                .unwrap_or(rest.len()),
        };
        each(json.get(at..at + length).unwrap_or_default());
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_only() {
        let text = "{ \"a \\\" b\\\\\" : [ 1.50 , -2e+30,true ] ,\n\"c\":{ },\"d\":[ ],\"e\":{\"f\":null}}";
        let small = "{\"a \\\" b\\\\\":[1.50,-2e+30,true],\"c\":{},\"d\":[],\"e\":{\"f\":null}}";
        assert_eq!(compact(text), small);
        let large = "{\n  \"a \\\" b\\\\\": [\n    1.50,\n    -2e+30,\n    true\n  ],\n  \"c\": {},\n  \"d\": [],\n  \"e\": {\n    \"f\": null\n  }\n}";
        assert_eq!(pretty(text), large);
        assert_eq!(compact(large), small);
        assert_eq!((compact("1"), pretty("[]")), ("1".into(), "[]".into()));
    }

    #[test]
    fn white_space_has_an_end() {
        let ones = vec!["1"; 500_000].join(",");
        let deep = format!("{}{ones}{}", "[".repeat(90), "]".repeat(90));
        let shown = pretty(&deep);
        assert!(shown.starts_with("[\n  [\n") && shown.len() < deep.len() + MOST_SPACE);
        assert_eq!(compact(&shown), deep);
    }
}
