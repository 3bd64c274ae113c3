//! The service files and packages in `contrib/`: systemd and sh can read them, pirn has the options that they use, and
//! the package holds the files that it should.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PIRN: &str = env!("CARGO_BIN_EXE_pirn");

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The files in a directory of `contrib/`.
fn files(dir: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(top().join("contrib").join(dir)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// The output of a command; none, if it is not installed.
fn run(command: &mut Command) -> Option<Output> {
    let output = command.output();
    if output.is_err() {
        eprintln!(
            "skipped: {} is not installed",
            command.get_program().display()
        );
    }
    output.ok()
}

/// The lines of systemd that are about these units.
fn verify(args: &[&str], dir: &str, change: impl Fn(String) -> String) -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).args(args);
    let mut n = 0;
    for file in files(dir) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".service") || name.ends_with(".socket") || name.ends_with(".path") {
            let unit = change(
                fs::read_to_string(&file)
                    .unwrap()
                    .replace("/usr/bin/pirn", PIRN),
            );
            let copy = place.path().join(name);
            fs::write(&copy, unit).unwrap();
            command.arg(copy);
            n += 1;
        }
    }
    assert!(n > 0, "no unit in {dir}");
    let said = text(&run(&mut command)?.stderr);
    let is_ours = |line: &&str| line.contains("pirn") && !line.contains("'DelegateSubgroup'");
    Some(said.lines().filter(is_ours).collect())
}

#[test]
fn systemd_has_nothing_against_the_units() {
    for (args, dir) in [(&[][..], "systemd"), (&["--user"], "systemd/user")] {
        let Some(said) = verify(args, dir, |unit| unit) else {
            return;
        };
        assert_eq!(said, "", "{dir}");
    }
    let said = verify(&[], "systemd", |unit| {
        unit.replace("KillMode=", "KillMood=")
    });
    assert!(said.unwrap().contains("KillMood"));
}

#[test]
fn shells_can_read_the_completions() {
    let mut n = 0;
    for (shell, name) in [
        ("bash", "pirn.bash"),
        ("zsh", "_pirn"),
        ("fish", "pirn.fish"),
    ] {
        let path = top().join("contrib/completions").join(name);
        let printed = Command::new(PIRN)
            .args(["completions", shell])
            .output()
            .unwrap();
        assert_eq!(
            text(&printed.stdout),
            fs::read_to_string(&path).unwrap(),
            "{shell}"
        );
        if let Some(output) = run(Command::new(shell).arg("-n").arg(&path)) {
            assert!(output.status.success(), "{}", text(&output.stderr));
            n += 1;
        }
    }
    assert!(n > 0, "there is no shell");
}

#[test]
fn sh_can_read_the_scripts() {
    let dirs = ["deb", "openrc", "runit/pirn", "s6/pirn", "apk", "service"];
    let mut n = 0;
    for path in dirs.iter().flat_map(|dir| files(dir)) {
        let script = fs::read_to_string(&path).unwrap();
        if script.starts_with("#!") || script.starts_with("# ") {
            n += 1;
            let output = Command::new("sh").arg("-n").arg(&path).output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
    }
    assert!(n > 5, "only {n} scripts were found");
}

#[test]
fn pirn_has_the_options_of_the_service_files() {
    let mut n = 0;
    let dirs = ["systemd", "systemd/user", "runit/pirn", "s6/pirn"];
    for path in dirs.iter().flat_map(|dir| files(dir)) {
        for line in fs::read_to_string(&path).unwrap().lines() {
            let command = line
                .trim_start_matches("ExecStart=")
                .trim_start_matches("exec ");
            if let Some(args) = command.strip_prefix("/usr/bin/pirn ") {
                n += 1;
                let words = args.split(' ').chain(["--help"]);
                let output = Command::new(PIRN).args(words).output().unwrap();
                assert!(
                    output.status.success(),
                    "{}: {}",
                    path.display(),
                    text(&output.stderr)
                );
            }
        }
    }
    assert!(n > 5, "only {n} commands were found");
}

/// The quoted words of a line, or of a field of Cargo.toml.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

#[test]
fn packages_name_files_that_are_there() {
    let manifest = read("Cargo.toml");
    let assets = manifest.split("\nassets = [").nth(1).unwrap();
    let assets: Vec<&str> = assets
        .lines()
        .take_while(|line| *line != "]")
        .skip(1)
        .collect();
    assert!(assets.len() > 5, "{assets:?}");
    for asset in assets {
        let source = quoted(asset).next().unwrap();
        assert!(
            source == "target/release/pirn" || top().join(source).is_file(),
            "{source}"
        );
    }
    let build = read("contrib/apk/APKBUILD");
    for word in build
        .split_whitespace()
        .filter(|word| word.starts_with("doc/") || word.starts_with("contrib/"))
    {
        assert!(
            word.ends_with(".tar.gz") || top().join(word).is_file(),
            "{word}"
        );
    }
    let version = format!("\npkgver={}\n", env!("CARGO_PKG_VERSION"));
    assert!(build.contains(&version), "no {version:?} in the APKBUILD");
}

/// Packs the binary of this test as if it were the release, and compares modes and names of the files.
#[test]
fn the_deb_has_the_listed_files() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("release")).unwrap();
    fs::copy(PIRN, place.path().join("release/pirn")).unwrap();
    let has = Command::new("cargo").args(["deb", "--version"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: cargo-deb is not installed");
        return;
    }
    let deb = place.path().join("pirn.deb");
    let mut pack = Command::new("cargo");
    pack.args(["deb", "--no-build", "--no-strip", "--fast", "--output"])
        .arg(&deb);
    pack.env("CARGO_TARGET_DIR", place.path())
        .current_dir(top());
    let output = pack.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let Some(output) = run(Command::new("dpkg-deb").arg("--contents").arg(&deb)) else {
        return;
    };
    let listing = text(&output.stdout);
    let mut lines: Vec<String> = listing
        .lines()
        .filter(|line| !line.ends_with('/'))
        .map(|line| {
            let mut words = line.split_whitespace();
            format!("{} {}\n", words.next().unwrap(), words.last().unwrap())
        })
        .collect();
    lines.sort_by(|a, b| a.split(' ').next_back().cmp(&b.split(' ').next_back()));
    assert_eq!(
        lines.concat(),
        read("contrib/deb/files"),
        "contrib/deb/files has other files"
    );
}
