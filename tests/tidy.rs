//! The source, read as text: what it imports, how its types are called, how long its files are. What the compiler and
//! clippy can refuse is under `[lints]` in Cargo.toml.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::PathBuf;

/// A layer imports itself and those on its left.
const LAYERS: &str = "core < os < spool < daemon < http | remote < cli";

/// Nothing of this is imported by `core`, and nothing that tells the time.
const IMPURE: &str = "std::fs std::process std::net std::thread std::env std::os libc nix";
const CLOCKS: &str = "Instant SystemTime now";

const MOST_LINES: usize = 600;
const MANY_LINES: usize = 300;

struct Module {
    text: String,
    /// The part before its tests.
    shipped: String,
    /// The paths in that, and the name under which another module's item is exported.
    paths: Vec<(String, Option<String>)>,
}

/// The modules by their paths below the crate, as `core::id`.
type Tree = BTreeMap<String, Module>;

/// A module of a folder, the other one that it imports, and where.
type Import = (String, String, String);

fn tree() -> Tree {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");
    let (mut dirs, mut tree) = (vec![PathBuf::from(root)], Tree::new());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_str().unwrap().strip_prefix(root).unwrap();
            if path.is_dir() {
                dirs.push(path);
            } else if let Some(name) = name.strip_suffix(".rs") {
                let name = name.trim_end_matches("/mod").replace('/', "::");
                tree.insert(name, module(fs::read_to_string(&path).unwrap()));
            }
        }
    }
    tree.retain(|name, _| !matches!(name.rsplit("::").next(), Some("lib" | "main" | "tests")));
    tree
}

fn module(text: String) -> Module {
    let shipped = text.split("#[cfg(test)]").next().unwrap().to_owned();
    let mut paths = Vec::new();
    let mut lines = shipped.lines().map(|line| line.split("//").next().unwrap());
    while let Some(line) = lines.next() {
        let is_export = line.trim_start().starts_with("pub");
        let mut words = line.split_whitespace();
        if words.find(|word| !word.starts_with("pub")) == Some("use") {
            let mut tree = line.split_once("use ").unwrap().1.to_owned();
            while !tree.contains(';') {
                tree.push_str(lines.next().unwrap());
            }
            expand("", tree.split(';').next().unwrap(), is_export, &mut paths);
        } else {
            let tokens = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            let tokens = tokens.map(|token| token.trim_matches(':'));
            let written = tokens.filter(|token| token.contains("::"));
            paths.extend(written.map(|path| (path.to_owned(), None)));
        }
    }
    Module {
        text,
        shipped,
        paths,
    }
}

/// Writes out a `use` tree.
fn expand(head: &str, tree: &str, is_export: bool, paths: &mut Vec<(String, Option<String>)>) {
    let head = format!("{head}{}", tree.split('{').next().unwrap().trim());
    let Some((_, list)) = tree.split_once('{') else {
        let path = head.trim_end_matches("::self");
        let name = path
            .rsplit([' ', ':'])
            .next()
            .filter(|name| !name.is_empty());
        let name = name.filter(|_| is_export).map(str::to_owned);
        return paths.push((path.split(' ').next().unwrap().to_owned(), name));
    };
    let list = list.trim_end().strip_suffix('}').unwrap();
    let (mut depth, mut from) = (0, 0);
    for (i, c) in list.char_indices().chain([(list.len(), ',')]) {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 {
            expand(&head, &list[from..i], is_export, paths);
            from = i + 1;
        }
    }
}

/// The module that a path of `module` leads to, if it is one of ours. A name that is exported again leads to the
/// module that it comes from.
fn target(tree: &Tree, module: &str, path: &str) -> Option<String> {
    let mut at: Vec<&str> = module.split("::").collect();
    for (i, part) in path.split("::").enumerate() {
        match part {
            "self" => {}
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            part if i > 0 || tree.contains_key(&format!("{module}::{part}")) => at.push(part),
            _ => return None,
        }
    }
    let full = at.join("::");
    let (mut owner, mut name) = (full.as_str(), "");
    while !tree.contains_key(owner) {
        (owner, name) = owner.rsplit_once("::")?;
    }
    let mut paths = tree[owner].paths.iter();
    let export = paths.find(|(_, exported)| exported.as_deref() == Some(name));
    let origin = export.and_then(|(path, _)| target(tree, owner, path));
    Some(origin.unwrap_or(owner.to_owned()))
}

/// How the modules of each folder import each other. A folder in it counts as one module. Its own `mod.rs` is none of
/// them: that and the other files are one thing.
fn imports(tree: &Tree) -> BTreeMap<String, Vec<Import>> {
    let mut imports = BTreeMap::<String, Vec<Import>>::new();
    for (name, module) in tree {
        let from: Vec<&str> = name.split("::").collect();
        for (path, _) in &module.paths {
            let target = target(tree, name, path).unwrap_or_default();
            let to: Vec<&str> = target.split("::").collect();
            let n = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if n > 0 && n < from.len() && n < to.len() {
                let folder = imports.entry(from[..n].join("::")).or_default();
                let place = format!("{path} in {name}");
                folder.push((from[n].to_owned(), to[n].to_owned(), place));
            }
        }
    }
    imports
}

/// The shortest way from a module through the imports back to it.
fn cycle(imports: &[Import], start: &str) -> Option<String> {
    let mut ways = VecDeque::from([(start, String::new())]);
    let mut seen = BTreeSet::new();
    while let Some((module, way)) = ways.pop_front() {
        for (from, to, place) in imports {
            if from == module && seen.insert(to) {
                let way = format!("{way}\n    {from} imports {to}: {place}");
                if to == start {
                    return Some(way);
                }
                ways.push_back((to, way));
            }
        }
    }
    None
}

fn upward(tree: &Tree) -> Vec<String> {
    let layer = |module: &str| module.split("::").next().unwrap().to_owned();
    let height = |layer: &str| LAYERS.split('<').position(|names| names.contains(layer));
    let mut found = Vec::new();
    for (name, module) in tree {
        let own = layer(name);
        let targets = module
            .paths
            .iter()
            .map(|(path, _)| target(tree, name, path));
        for other in targets.flatten().map(|target| layer(&target)) {
            if other != own && height(&other) >= height(&own) {
                found.push(format!("{name} imports {other}"));
            }
        }
    }
    found
}

fn impure(tree: &Tree) -> Vec<String> {
    let starts = |path: &str, bad| path == bad || path.starts_with(&format!("{bad}::"));
    let is_clock = |part| CLOCKS.split(' ').any(|name| name == part);
    let is_impure =
        |path| IMPURE.split(' ').any(|bad| starts(path, bad)) || path.split("::").any(is_clock);
    let mut found = Vec::new();
    for (name, module) in tree.iter().filter(|(name, _)| name.starts_with("core")) {
        let paths = module.paths.iter().filter(|(path, _)| is_impure(path));
        found.extend(paths.map(|(path, _)| format!("{path} in {name}")));
    }
    found
}

/// Fails with all that a rule found, at once.
fn none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn layers_import_lower_ones_only() {
    none("imports of a layer that is not lower", &upward(&tree()));
}

#[test]
fn the_core_is_pure() {
    none(
        "core imports a clock, file, process or thread",
        &impure(&tree()),
    );
}

#[test]
fn modules_of_a_folder_import_each_other_one_way() {
    let mut wrong = Vec::new();
    for (folder, imports) in &imports(&tree()) {
        let modules: BTreeSet<&str> = imports.iter().map(|(from, ..)| from.as_str()).collect();
        let cycles = modules.iter().filter_map(|from| cycle(imports, from));
        wrong.extend(cycles.map(|cycle| format!("{folder}: {cycle}")));
    }
    none("modules import each other in a cycle", &wrong);
}

#[test]
fn a_name_means_one_type() {
    let mut types = BTreeMap::<String, Vec<String>>::new();
    for (module, Module { shipped, .. }) in tree() {
        // Types of a function and associated types are indented.
        let lines = shipped.lines();
        for line in lines.filter(|line| line.starts_with(char::is_alphabetic)) {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| matches!(word, "struct" | "enum" | "union" | "trait" | "type")) {
                let name = words.next().unwrap().to_owned();
                types.entry(name).or_default().push(module.clone());
            }
        }
    }
    types.retain(|_, modules| modules.len() > 1);
    let text = types
        .iter()
        .map(|(name, modules)| format!("{name}: {}", modules.join(", ")));
    none(
        "more than one type has this name",
        &text.collect::<Vec<_>>(),
    );
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let tree = tree();
    let lines = |module: &Module| module.text.lines().count();
    let mut wrong = Vec::new();
    for (name, module) in &tree {
        if lines(module) > MOST_LINES {
            wrong.push(format!("{name} is longer than {MOST_LINES} lines"));
        }
        if module.text.contains("allow(unsafe_code") && name != "os" {
            wrong.push(format!("{name} has unsafe code, which belongs in os"));
        }
        if !LAYERS
            .split(' ')
            .any(|layer| Some(layer) == name.split("::").next())
        {
            wrong.push(format!("{name} is in no layer"));
        }
    }
    let long = tree
        .values()
        .filter(|module| lines(module) > MANY_LINES)
        .count();
    if long * 4 > tree.len() {
        wrong.push(format!("{long} files are longer than {MANY_LINES} lines"));
    }
    none("files", &wrong);
}

#[test]
fn the_rules_bite() {
    let text = "
== core
pub use a::{A, deep::Deep as D};
== core::a
use std::{io, fs::File};
use crate::cli; // use crate::http;
== core::a::deep
use crate::core::{
    b::{self, X},
};
== core::b
fn f(d: super::D) {}
#[cfg(test)]
use crate::os;
== core::c
use super::b;
pub(super) use super::super::os::x;
fn f() { Timestamp::now() }
== os
== cli
";
    let parts = text.split("== ").filter_map(|part| part.split_once('\n'));
    let tree = parts.map(|(name, text)| (name.to_owned(), module(text.to_owned())));
    let tree: Tree = tree.collect();
    assert_eq!(upward(&tree), ["core::a imports cli", "core::c imports os"]);
    let impure = impure(&tree);
    assert_eq!(
        impure,
        ["std::fs::File in core::a", "Timestamp::now in core::c"]
    );
    let imports = &imports(&tree)["core"];
    let way =
        "\n    b imports a: super::D in core::b\n    a imports b: crate::core::b in core::a::deep";
    assert_eq!(cycle(imports, "b").unwrap(), way);
    assert_eq!(cycle(imports, "c"), None);
}
