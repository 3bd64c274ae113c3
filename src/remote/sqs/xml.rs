//! Elements of the flat XML that AWS answers with.

/// The text of the first element of this name that has text only.
pub fn text(xml: &str, name: &str) -> Option<String> {
    texts(xml, name).next()
}

/// The texts of all elements of this name.
pub fn texts<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = String> + 'a {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (text, after) = after.split_once(&close)?;
        rest = after;
        Some(unescaped(text))
    })
}

/// The text without the five entities of XML 1.0, section 4.6.
fn unescaped(text: &str) -> String {
    // The ampersand comes last: `&amp;lt;` means `&lt;`.
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_by_name() {
        let xml = "<A><Sum>3.0</Sum><Sums>x</Sums><Sum>a &amp;lt; b &lt;</Sum><Sum>cut";
        assert_eq!(texts(xml, "Sum").collect::<Vec<_>>(), ["3.0", "a &lt; b <"]);
        assert_eq!(text(xml, "Code"), None);
    }
}
