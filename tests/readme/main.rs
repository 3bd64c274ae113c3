//! README.md and the pages of `doc/` that show commands, run: every `sh` block of a page, in order, in one bash session,
//! with the output that it says.
//!
//! `# => text` lines give the whole standard output of the commands since the last such lines (or since the block
//! began); `...` in them stands for anything within the line. Blocks marked `sh sqs` need moto, which stands in for AWS,
//! those marked `sh redis` a redis-server, those marked `sh inotify` need inotifywait, and those marked `sh landlock` a
//! kernel that can enforce sandboxes. Those marked `sh mail` get a `mail` that sends nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tools::{has, install};

mod compat;
mod session;
mod tools;

const README: &str = include_str!("../../README.md");
const COMING_FROM: &str = include_str!("../../doc/COMING-FROM.md");
const MIGRATION: &str = include_str!("../../doc/MIGRATION.md");
const RECIPES: &str = include_str!("../../doc/RECIPES.md");

fn has_moto() -> bool {
    let imported = Command::new("python3")
        .args(["-c", "import moto.server, moto.moto_server.werkzeug_app"])
        .stderr(Stdio::null())
        .status();
    cfg!(feature = "sqs") && imported.is_ok_and(|status| status.success())
}

fn has_landlock() -> bool {
    let confined = Command::new(env!("CARGO_BIN_EXE_pirn"))
        .args(["launch", "--system", "true"])
        .stderr(Stdio::null())
        .status();
    confined.is_ok_and(|status| status.success())
}

/// The marks of the blocks that can be run here; none, if no block can. On Debian, root installs missing programs.
fn marks() -> &'static [&'static str] {
    static MARKS: OnceLock<Vec<&str>> = OnceLock::new();
    MARKS.get_or_init(|| {
        let wanted = ["bash", "curl", "jq", "redis-server"];
        if !install(&wanted, &wanted)
            && let Some(program) = wanted[..3].iter().find(|program| !has(program))
        {
            eprintln!("skipped: {program} is not installed");
            return Vec::new();
        }
        let has_redis = cfg!(feature = "redis") && has("redis-server");
        let mut marks = vec!["```sh", "```sh mail"];
        for (mark, is_there) in [
            ("```sh redis", has_redis),
            ("```sh sqs", has_moto()),
            ("```sh landlock", has_landlock()),
            ("```sh inotify", has("inotifywait")),
        ] {
            match is_there {
                true => marks.push(mark),
                false => eprintln!("skipped: blocks `{}`: this machine lacks it", &mark[3..]),
            }
        }
        marks
    })
}

/// Runs a page, if its blocks can be run here.
fn page(name: &str, text: &str) -> Option<tempfile::TempDir> {
    let marks = marks();
    (!marks.is_empty()).then(|| session::run(name, text, marks))
}

#[test]
fn the_first_block_is_what_a_fresh_machine_needs() {
    let block = README.split("```sh\n").nth(1).unwrap();
    let commands: Vec<&str> = block
        .split("```")
        .next()
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(
        commands,
        [
            "cargo run --release -- run 'echo hello from job $PIRN_ID'",
            "cargo test"
        ]
    );
}

#[test]
fn the_readme() {
    page("README.md", README);
}

#[test]
fn the_recipes() {
    if let Some(home) = page("doc/RECIPES.md", RECIPES) {
        let letter = fs::read_to_string(home.path().join("letter")).unwrap();
        assert_eq!(letter, "-s note: complete alice\nnoted\n");
    }
}

#[test]
fn the_page_for_users_of_other_servers() {
    page("doc/MIGRATION.md", MIGRATION);
}

#[test]
fn the_page_for_users_of_other_tools() {
    page("doc/COMING-FROM.md", COMING_FROM);
}
