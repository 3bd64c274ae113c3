//! The files in which AWS's tools keep settings: sections of `name = value` lines.

use std::collections::BTreeMap;

/// The settings of one section, by name in lower case.
pub type Section = BTreeMap<String, String>;

/// The sections by name. Lines that are indented belong to the setting above them and are for other tools. A section that
/// comes twice is one. Text before the first section is ignored, as are lines without `=`.
pub fn parse(text: &str) -> BTreeMap<String, Section> {
    let mut sections = BTreeMap::<String, Section>::new();
    let mut current = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || line.starts_with(['#', ';', ' ', '\t']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default();
            let words: Vec<&str> = name.split_whitespace().collect();
            let name = words.join(" ");
            current = Some(sections.entry(name).or_default());
        } else if let (Some(section), Some((name, value))) = (&mut current, trimmed.split_once('='))
        {
            section.insert(name.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sections_and_settings() {
        let text = "lost = 1\n# [no]\n[default]\nAWS_Access_Key_Id = a = b \nregion=x\n  s3 =\n    k = v\nnothing\n\
             [ profile  two ] \n; c\nrole_arn = r\n[default]\nregion = y\n";
        let sections = parse(text);
        let get = |section: &str, name: &str| sections.get(section)?.get(name).cloned();
        assert_eq!(
            get("default", "aws_access_key_id").as_deref(),
            Some("a = b")
        );
        assert_eq!(get("default", "region").as_deref(), Some("y"));
        assert_eq!(get("default", "k"), None);
        assert_eq!(get("profile two", "role_arn").as_deref(), Some("r"));
        assert_eq!(sections.len(), 2);
    }
}
