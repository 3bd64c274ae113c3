//! Measures pirn beside the bare limits of the machine, in the same minute, and beside other queues.
//!
//! Every repetition measures a limit and pirn right after each other, in fresh folders, and gives one ratio; the
//! tables show the median of these ratios and their spread. Start it with `contrib/bench/run`.

mod beanstalkd;
mod cpu;
mod daemon;
mod demands;
mod drain;
mod enqueue;
mod features;
mod floor;
mod ground;
mod group;
mod growth;
mod idle;
mod latency;
mod limits;
mod ls;
mod peers;
mod report;
mod start;
mod stats;
mod sys;

use ground::Grounds;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const HELP: &str = "\
contrib/bench/run [OPTIONS] [FIGURE...]

Figures: limits floor drain latency group start enqueue growth demands idle cpu features peers (default: all).
start is what confining a job costs.
floor is what the protocol's file operations cost by themselves.
growth is drain rate, memory, restart and `pirn ls` with 1 k to 1 M jobs waiting.
demands is drain rate and memory with many jobs waiting for several slots or for tokens.

  --quick          few repetitions, at most 100 k waiting: under 3 minutes
  --reps N         repetitions (default 7)
  --most N         the longest queue (default 1000000)
  --dir DIR        measure in a folder of this directory (default /var/tmp)
  --no-image       do not measure on a journaled ext4 image (needs root)
  --install-peers  apt-get install the other queues first
";

type Figure = (&'static str, fn(&Context) -> io::Result<()>);

const FIGURES: [Figure; 13] = [
    ("limits", limits::report),
    ("floor", floor::report),
    ("drain", drain::report),
    ("latency", latency::report),
    ("group", group::report),
    ("start", start::report),
    ("enqueue", enqueue::report),
    ("growth", growth::report),
    ("demands", demands::report),
    ("idle", idle::report),
    ("cpu", cpu::report),
    ("features", features::report),
    ("peers", peers::report),
];

/// The settings of all measurements.
pub struct Context {
    pub pirn: PathBuf,
    pub stamp: PathBuf,
    pub grounds: Grounds,
    pub reps: usize,
    pub quick: bool,
    pub cpus: usize,
    /// The numbers of waiting jobs.
    pub depths: Vec<usize>,
}

impl Context {
    /// A number of jobs, smaller with `--quick`.
    pub fn scaled(&self, count: usize) -> usize {
        if self.quick { count / 2 } else { count }
    }

    /// True if this program is installed.
    pub fn has(&self, program: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
    }
}

/// Shows what is being measured.
pub fn progress(what: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

#[derive(Default)]
struct Args {
    pirn: PathBuf,
    stamp: PathBuf,
    commit: String,
    dir: Option<PathBuf>,
    reps: Option<usize>,
    most: Option<usize>,
    quick: bool,
    no_image: bool,
    install_peers: bool,
    figures: Vec<String>,
}

fn parse() -> Result<Args, String> {
    let mut args = Args::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<usize>().map_err(|e| format!("{text}: {e}"));
        match word.as_str() {
            "--pirn" => args.pirn = value()?.into(),
            "--stamp" => args.stamp = value()?.into(),
            "--commit" => args.commit = value()?,
            "--dir" => args.dir = Some(value()?.into()),
            "--reps" => args.reps = Some(number(value()?)?.max(1)),
            "--most" => args.most = Some(number(value()?)?),
            "--quick" => args.quick = true,
            "--no-image" => args.no_image = true,
            "--install-peers" => args.install_peers = true,
            figure if FIGURES.iter().any(|(name, _)| *name == figure) => args.figures.push(word),
            _ => return Err(format!("{word}: no such option or figure\n\n{HELP}")),
        }
    }
    Ok(args)
}

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let words: Vec<String> = std::env::args().collect();
    if let [_, option, base, name] = words.as_slice()
        && option == floor::ADD
    {
        return match floor::add(base.as_ref(), name) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let args = match parse() {
        Ok(args) => args,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::from(2);
        }
    };
    match measure(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("\ncontrib/bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: Args) -> io::Result<()> {
    if args.install_peers {
        peers::install()?;
    }
    let base = args.dir.unwrap_or_else(|| "/var/tmp".into());
    let most = args
        .most
        .unwrap_or(if args.quick { 100_000 } else { 1_000_000 });
    let begun = sys::now();
    let context = Context {
        pirn: args.pirn,
        stamp: args.stamp,
        grounds: Grounds::prepare(&base, !args.no_image)?,
        reps: args.reps.unwrap_or(if args.quick { 2 } else { 7 }),
        quick: args.quick,
        cpus: std::thread::available_parallelism().map_or(2, usize::from),
        depths: [1000, 10_000, 100_000, 1_000_000]
            .into_iter()
            .filter(|depth| *depth <= most)
            .collect(),
    };
    head(&context, &args.commit);
    for (name, report) in FIGURES {
        if args.figures.is_empty() || args.figures.iter().any(|figure| figure == name) {
            report(&context).map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))?;
        }
    }
    progress("");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    report::remark(&format!(
        "Took {:.0} minutes; load {} at the end.",
        sys::since(begun) / 60.0,
        load.split(' ').next().unwrap_or("")
    ));
    Ok(())
}

/// The head of the report: versions, machine, file systems.
fn head(c: &Context, commit: &str) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?
                .split_once(": ")
                .map(|(_, name)| name.to_owned())
        })
        .unwrap_or_default();
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .split_whitespace()
                .next()?
                .parse::<f64>()
                .ok()
        })
        .unwrap_or(0.0);
    let load = read("/proc/loadavg");
    let version = Command::new(&c.pirn).arg("--version").output();
    let version = version
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default();
    let date = Command::new("date")
        .args(["-u", "+%Y-%m-%d %H:%M UTC"])
        .output();
    let date = date
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default();
    println!("- {version}, commit {commit}, {date}");
    println!("- {} × {model}, {:.0} GiB", c.cpus, memory / 1_048_576.0);
    println!(
        "- Linux {}, load {} before",
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or("")
    );
    for ground in &c.grounds.list {
        println!("- {}: {}", ground.name, ground.kind);
    }
    println!(
        "- {} repetitions{}; median (least-most)",
        c.reps,
        if c.quick { ", quick" } else { "" }
    );
}
