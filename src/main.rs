//! The pirn binary: see `pirn::cli`.

fn main() -> std::process::ExitCode {
    pirn::cli::main()
}
