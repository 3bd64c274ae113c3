//! The command line. A shell script could make the same changes to the spool with `printf`, `mv` and `rm`.

mod add;
mod admission;
mod as_user;
mod bar;
mod batch;
mod clean;
mod complete;
mod config;
mod confined;
#[cfg(feature = "url")]
mod deliver;
mod describe;
mod edit;
mod ends;
mod existing;
mod exit;
mod follow;
mod follow_running;
mod help;
mod history;
mod inputs;
mod job;
mod kill;
mod launch;
mod lease_rows;
mod lines;
mod logging;
mod logs;
mod ls;
mod ls_args;
#[cfg(all(test, feature = "sqs"))]
mod manual;
#[cfg(all(test, feature = "sqs"))]
mod mdoc;
mod new_id;
mod output;
mod pause;
mod pull;
mod push;
#[cfg(feature = "sqs")]
mod qdone;
mod remote;
mod report;
mod resources;
mod result;
mod rows;
mod run;
mod sandbox;
mod schedule;
mod select;
mod serve;
mod serve_plan;
mod served;
mod settings;
mod show;
mod slots;
mod start;
mod status;
mod steer;
mod stop;
mod style;
mod surroundings;
mod table;
mod tail;
mod timespec;
mod token;
mod tries;
mod users;
mod wait;
mod watch;
mod when;

use crate::os::{signals, user};
use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::CommandResult;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// A job queue that is a directory: drop a file in, it runs. Without a command: `pirn ls`.
#[derive(Debug, Parser)]
#[command(name = "pirn", version, disable_help_subcommand = true)]
struct Cli {
    /// The spool [default: $PIRN_SPOOL, else `/var/spool/pirn` for root, else `/var/spool/pirn-users/NAME` if root has
    /// made it, else `$XDG_STATE_HOME/pirn`, else `~/.local/state/pirn`]
    ///
    /// While the spool that root has made is the default, and jobs that have not ended are left in the one that it
    /// stands in the place of, standard error says so.
    #[arg(
        short = 'S',
        long,
        global = true,
        value_name = "DIR",
        display_order = 900
    )]
    spool: Option<PathBuf>,
    /// Become this user first; root only
    ///
    /// Stands before the command, and root cannot become root again. The process has the user's groups, the umask 077,
    /// the home directory as its working directory, and an environment of $HOME, $USER, $LOGNAME, $SHELL and $PATH,
    /// which are new, and $LANG, `LC_*`, $TZ, $TERM, $NO_COLOR, $CLICOLOR, $CLICOLOR_FORCE, $PIRN_LOG and
    /// $PIRN_USER_SPOOLS, which are kept. It has root's standard input, output and terminal: as with su(1), that takes
    /// some trust in the user's other processes. Without effect for those who are that user.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// When to print in colours: `always`, `never` or `auto`
    ///
    /// With `auto`, a $NO_COLOR that is not empty means no colours; else a $CLICOLOR_FORCE that is neither empty nor 0
    /// means colours; else there are colours on a terminal, unless $CLICOLOR is 0 or $TERM is `dumb`. Standard output
    /// and standard error are looked at apart.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        display_order = 901
    )]
    color: ColorChoice,
    /// Check the options and settings of `serve` without serving: a daemon does this before an upgrade
    #[arg(long, hide = true)]
    prove: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the jobs of a spool
    Serve(serve::ServeArgs),
    /// Add a job; prints its id
    Add(add::AddArgs),
    /// Add a job that runs at a time; without CMD, a script on standard input
    At(add::AtArgs),
    /// Add a job, show its output, exit as it does; needs no daemon
    Run(run::RunArgs),
    /// Run a command in a sandbox, without a spool
    Launch(launch::LaunchArgs),
    /// List jobs
    #[command(alias = "list")]
    Ls(ls_args::LsArgs),
    /// Show what is known of a job, and the end of its log
    Show(show::ShowArgs),
    /// Show a job's output
    Log(logs::LogArgs),
    /// Wait for jobs to end; exits as they did
    Wait(wait::WaitArgs),
    /// Show the spool as it changes, on the whole terminal
    Watch,
    /// Cancel waiting or running jobs; their records go to failed/
    Cancel(steer::SteerArgs),
    /// Send a signal to running jobs
    Kill(kill::KillArgs),
    /// Run finished jobs again
    Retry(steer::RetryArgs),
    /// Remove waiting or finished jobs, with their logs
    Rm(steer::RmArgs),
    /// Keep waiting jobs from being started
    Hold(steer::SteerArgs),
    /// Let held jobs go, back to their queues
    Release(steer::SteerArgs),
    /// Let waiting jobs go before all others of their queues
    Urgent(steer::SteerArgs),
    /// Move waiting jobs to another queue
    Move(steer::MoveArgs),
    /// Edit waiting jobs with $EDITOR
    Edit(edit::EditArgs),
    /// Remove jobs that have ended [default: those in complete/]
    Clean(clean::CleanArgs),
    /// Show or change how many jobs run at a time
    Slots(slots::SlotsArgs),
    /// Start nothing more, in one queue or in all
    Pause(pause::QueueArgs),
    /// Start jobs again
    Resume(pause::QueueArgs),
    /// Tell the daemon to end when running jobs have; waits until it has
    Stop(stop::StopArgs),
    /// Tell the daemon to end when nothing is left to run; waits until it has
    Drain,
    /// Show the daemon, the number of jobs in each state, the queues, and any trouble
    Status(status::StatusArgs),
    /// Send a job to a queue on another server; prints its id
    Push(push::PushArgs),
    /// Show the record of a job that was sent and has ended; exits as it did
    Result(result::ResultArgs),
    /// Take jobs from queues on SQS or Redis
    Pull(pull::PullArgs),
    /// Print an id that no job has, to name a file in pending/ with
    NewId,
    /// Make the spools of users; root only
    Users(users::UsersArgs),
    /// Make tokens for HTTP
    Token(token::TokenArgs),
    /// Check or change the settings
    Config(config::ConfigArgs),
    /// Print what makes a shell complete words after TAB
    Completions(complete::CompletionsArgs),
    /// Say what may stand at the cursor: used by the shells
    #[command(hide = true)]
    Complete(complete::CompleteArgs),
    /// Print the help of a command, or a part of the manual
    Help(help::HelpArgs),
    /// Commands in queues on SQS, as qdone keeps them
    #[cfg(feature = "sqs")]
    Qdone(qdone::QdoneArgs),
    /// Call the URL of a job: used by the daemon
    #[cfg(feature = "url")]
    #[command(hide = true)]
    Deliver,
}

/// [`Cli`] with `add` alone. Scripts call `add` in loops, and building the parser for all commands takes half as long
/// as adding a job.
#[derive(Debug, Parser)]
#[command(name = "pirn")]
struct AddCli {
    #[arg(short = 'S', long, global = true)]
    spool: Option<PathBuf>,
    #[command(subcommand)]
    command: AddCommand,
}

#[derive(Debug, Subcommand)]
enum AddCommand {
    Add(add::AddArgs),
}

/// The command line with the commands of qdone, which are parsed apart.
fn whole_command() -> clap::Command {
    let command = Cli::command();
    #[cfg(feature = "sqs")]
    let command = command.mut_subcommand("qdone", |_| qdone::command());
    command
}

impl Cli {
    /// Parses the command line. If [`AddCli`] does not accept it, [`Cli`] parses it again and reports any mistake.
    fn parse_quickly() -> Result<Self, clap::Error> {
        let words = sandbox::with_long_flags(std::env::args_os().collect(), Self::command);
        if words.iter().any(|word| word == "add")
            && let Ok(AddCli { spool, command }) = AddCli::try_parse_from(&words)
        {
            let AddCommand::Add(args) = command;
            return Ok(Self {
                spool,
                user: None,
                color: ColorChoice::Auto,
                prove: false,
                command: Some(Command::Add(args)),
            });
        }
        let mut parser = help::dressed(Self::command());
        let matches = parser
            .try_get_matches_from_mut(words)
            .map_err(kill::with_tip)?;
        Self::from_arg_matches(&matches).map_err(|e| e.format(&mut parser))
    }
}

/// The words of the standard library for a text that is no number.
const NO_DIGIT: &str = "invalid digit found in string";

/// Parses the command line, carries it out, returns the exit code.
pub fn main() -> ExitCode {
    signals::keep_ended_children();
    #[cfg(feature = "sqs")]
    if let Some(args) = qdone::of_command_line() {
        return exit::finish(qdone::qdone(&default_spool(), args));
    }
    let cli = match Cli::parse_quickly() {
        Ok(cli) => cli,
        Err(e) => {
            let text = e.render().to_string();
            let _ = match text.contains(NO_DIGIT) {
                true => {
                    let text = text.replace(NO_DIGIT, "expected a whole number");
                    io::stderr().write_all(text.as_bytes())
                }
                false => e.print(),
            };
            return ExitCode::from(if e.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            });
        }
    };
    style::choose(cli.color);
    if let Some(name) = &cli.user {
        match as_user::account(name) {
            Ok(None) => {}
            Ok(Some(account)) => return exit::finish(as_user::as_user(&account)),
            Err(failure) => return exit::finish(Err(failure)),
        }
    }
    let spool = match &cli.command {
        Some(Command::Serve(args)) if args.path.is_some() => args.path.clone(),
        _ => cli.spool,
    };
    let spool = spool.unwrap_or_else(default_spool);
    exit::finish(match cli.command {
        Some(Command::Serve(args)) if cli.prove => serve::prove(spool, args),
        Some(command) => {
            let path = spool.clone();
            carry_out(spool, command).map_err(|failure| failure.in_place(&path))
        }
        None => ls::ls(&spool, Default::default()).map_err(|failure| failure.in_place(&spool)),
    })
}

/// The spool if none is named. Says so if root has made it and jobs wait in the one that it stands in the place of.
fn default_spool() -> PathBuf {
    let spool = user::default_spool();
    if let Some(old) = spool.old
        && let Ok(left @ 1..) = existing::count_unfinished(&old)
    {
        let (old, new) = (old.display(), spool.path.display());
        eprintln!(
            "pirn: your spool is now {new}; jobs that have not ended are left in {old}: {left}; pirn serve --drain \
             {old} runs them"
        );
    }
    spool.path
}

fn carry_out(spool: PathBuf, command: Command) -> CommandResult {
    match command {
        Command::Serve(args) => serve::serve(spool, args),
        Command::Add(args) => add::add(&spool, args),
        Command::At(args) => add::at(&spool, args),
        Command::Run(args) => run::run(&spool, args),
        Command::Launch(args) => launch::launch(args),
        Command::Ls(args) => ls::ls(&spool, args),
        Command::Show(args) => show::show(&spool, &args),
        Command::Log(args) => logs::log(&spool, &args),
        Command::Wait(args) => wait::wait(&spool, &args),
        Command::Watch => watch::watch(&spool),
        Command::Cancel(args) => steer::cancel(&spool, &args),
        Command::Kill(args) => kill::kill(&spool, &args),
        Command::Urgent(args) => steer::urgent(&spool, &args),
        Command::Move(args) => steer::move_to(&spool, args),
        Command::Edit(args) => edit::edit(&spool, &args),
        Command::Clean(args) => clean::clean(&spool, &args),
        Command::Slots(args) => slots::slots(&spool, &args),
        Command::Stop(args) => stop::stop(&spool, &args),
        Command::Drain => stop::drain(&spool),
        Command::Retry(args) => steer::retry(&spool, &args),
        Command::Rm(args) => steer::rm(&spool, &args),
        Command::Hold(args) => steer::hold(&spool, &args),
        Command::Release(args) => steer::release(&spool, &args),
        Command::Pause(args) => pause::pause(&spool, &args),
        Command::Resume(args) => pause::resume(&spool, &args),
        Command::Status(args) => status::status(&spool, &args),
        Command::Push(args) => push::push(&spool, args),
        Command::Result(args) => result::result(&spool, &args),
        Command::Pull(args) => pull::pull(&spool, args),
        Command::NewId => new_id::new_id(&spool),
        Command::Users(args) => users::users(&args),
        Command::Token(args) => token::token(&spool, args),
        Command::Config(args) => config::config(&spool, args),
        Command::Completions(args) => complete::completions(&args),
        Command::Complete(args) => complete::complete(&args, whole_command()),
        Command::Help(args) => help::help(&args, help::dressed(whole_command())),
        #[cfg(feature = "sqs")]
        Command::Qdone(args) => qdone::qdone(&spool, args),
        #[cfg(feature = "url")]
        Command::Deliver => deliver::deliver(),
    }
}
