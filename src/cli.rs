//! The command line: which commands there are, what they take, and with which status they end.

mod api_key;
mod check;
mod completions;
mod demo;
mod explain;
mod healthcheck;
mod run;
mod schema;
mod test;
mod token;

#[cfg(test)]
mod tests;

use crate::console::{Console, Status};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

const STATUSES: &str = "Exit status: 0 well, 1 a check or test failed, 64 usage, 66 no such file, \
71 cannot listen, 78 configuration.

Example:
  sidegate demo";

/// An authentication sidecar: checks the token of every request, tells the service who is asking, and
/// forwards the request.
#[derive(Debug, Parser)]
#[command(name = "sidegate", version, after_help = STATUSES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, as the configuration says.
    ///
    /// SIGTERM or SIGINT finishes the requests in flight and ends; a second one ends at once.
    #[command(after_help = "Example:\n  sidegate run --config sidegate.toml")]
    Run {
        /// The configuration.
        #[command(flatten)]
        config: ConfigFile,
        /// For development only: judge nobody, and believe the identity headers that clients send. Works on loopback
        /// addresses only.
        #[arg(long)]
        insecure_bypass: bool,
    },
    /// Try it out: an issuer, an echo service and the gate in one process.
    ///
    /// Prints the configuration, and ready-made curl lines that show each outcome. Everything listens on
    /// 127.0.0.1 only. Ctrl-C ends it.
    #[command(after_help = "Example:\n  sidegate demo --once")]
    Demo {
        /// Send every request of the demo, compare what comes back with what is expected, and end: 0 if all agree, else 1.
        #[arg(long)]
        once: bool,
    },
    /// Report every error and warning of the configuration.
    ///
    /// Warnings alone leave the exit status at 0.
    #[command(after_help = "Example:\n  sidegate check --config sidegate.toml")]
    Check(ConfigFile),
    /// Say what would become of a request, and why: 0 when it is admitted, else 1.
    ///
    /// The same code as the gate's decides. A token is judged with the keys of the configuration, which are fetched if need
    /// be; claims from a file need neither keys nor network.
    #[command(
        after_help = "Example:\n  sidegate explain --config sidegate.toml --path /orders --claims claims.json"
    )]
    Explain(Box<explain::Arguments>),
    /// Run policy tests: 0 when all pass, else 1.
    ///
    /// Each request of the files is decided by the same code as the gate's, and compared with what is expected. Nobody is
    /// asked over the network.
    #[command(after_help = "Example:\n  sidegate test --config sidegate.toml tests.toml")]
    Test {
        #[command(flatten)]
        config: ConfigFile,
        /// Files with [[tests]].
        #[arg(required = true, value_name = "TESTS")]
        files: Vec<PathBuf>,
    },
    /// Ask the running gate whether it is ready: 0 when it is, else 1.
    ///
    /// Reads the address of [admin] from the configuration and waits for at most two seconds. Made for images
    /// without curl.
    #[command(after_help = "Example, in a Dockerfile:\n  HEALTHCHECK CMD [\"sidegate\", \"healthcheck\"]")]
    Healthcheck(ConfigFile),
    /// Make and inspect tokens, for development.
    #[command(
        after_help = "Example:\n  sidegate token mint --secret-env DEV_SECRET --sub user-1 | sidegate token inspect"
    )]
    Token {
        /// What to do.
        #[command(subcommand)]
        command: Box<token::Token>,
    },
    /// Make API keys.
    #[command(after_help = "Example:\n  sidegate api-key new --prefix sb_ --id billing")]
    ApiKey {
        /// What to do.
        #[command(subcommand)]
        command: api_key::ApiKey,
    },
    /// Print the JSON Schema of the configuration.
    #[command(after_help = "Example:\n  sidegate schema > sidegate.schema.json")]
    Schema,
    /// Print the completions for a shell.
    #[command(after_help = "Example:\n  sidegate completions bash > /etc/bash_completion.d/sidegate")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Debug)]
struct ConfigFile {
    /// The configuration.
    #[arg(
        long = "config",
        value_name = "FILE",
        env = "SIDEGATE_CONFIG",
        default_value = "/etc/sidegate/config.toml"
    )]
    file: PathBuf,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    dispatch(std::env::args_os(), &mut Console::new(&mut io::stdout(), &mut io::stderr())).into()
}

fn dispatch(arguments: impl IntoIterator<Item = OsString>, console: &mut Console<'_>) -> Status {
    let status = match Cli::try_parse_from(arguments) {
        Ok(cli) => obey(&cli.command, console),
        Err(answer) => answered(&answer, console),
    };
    console.conclude(status)
}

fn obey(command: &Command, console: &mut Console<'_>) -> Status {
    match command {
        Command::Run { config, insecure_bypass } => {
            match check::check(&config.file, *insecure_bypass, console) {
                Ok(app) => run::run(app, console),
                Err(status) => status,
            }
        }
        Command::Demo { once } => demo::demo(*once, console),
        Command::Check(config) => match check::check(&config.file, false, console) {
            Ok(_) => {
                console.say(format_args!("{}: ok", config.file.display()));
                Status::Well
            }
            Err(status) => status,
        },
        Command::Explain(arguments) => explain::explain(arguments, console),
        Command::Test { config, files } => test::test(&config.file, files, console),
        Command::Healthcheck(config) => healthcheck::healthcheck(&config.file, console),
        Command::Token { command } => {
            match command.config().map(|file| check::check(file, false, console)).transpose() {
                Ok(gate) => token::token(command, gate, console),
                Err(status) => status,
            }
        }
        Command::ApiKey { command } => api_key::api_key(command, console),
        Command::Schema => schema::schema(console),
        Command::Completions { shell } => completions::completions(*shell, Cli::command(), console),
    }
}

/// `--help` and `--version` are answers too: what clap has to say need not be a complaint.
fn answered(answer: &clap::Error, console: &mut Console<'_>) -> Status {
    let text = answer.render().to_string();
    if answer.use_stderr() {
        console.complain(text.trim_end());
        Status::Usage
    } else {
        console.say(text.trim_end());
        Status::Well
    }
}
