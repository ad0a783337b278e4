//! `sidegate token`: tokens for development, and what a token says.

mod inspect;
mod key;
mod mint;

use crate::app::App;
use crate::console::{Console, Status};
use clap::Subcommand;
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Sign a token for development with a key of your own, and print it.
    ///
    /// It is good for an hour unless --ttl or the claims say otherwise. Secrets are read from the environment or a file, so that
    /// they stand in no history and no list of processes.
    #[command(after_help = "Examples:\n  \
        sidegate token mint --secret-env DEV_SECRET --sub user-1 --aud api --claim 'roles=[\"admin\"]'\n  \
        sidegate token mint --key-file dev.pem --kid dev --iss https://dev.example/ --claims claims.json --ttl 5m")]
    Mint(Box<mint::Mint>),
    /// Show what a token says; with --config also whether it would pass, and why not.
    ///
    /// Read from standard input (-) it stands in no history. With --config each jwt authenticator is asked, with keys that are read
    /// or fetched as the gate would: 0 if one of them takes the token, 1 if none does.
    #[command(after_help = "Examples:\n  echo \"$TOKEN\" | sidegate token inspect\n  \
        sidegate token inspect --config sidegate.toml - < token.txt")]
    Inspect(inspect::Inspect),
}

impl Token {
    /// The configuration that the command needs, if it does.
    pub(super) fn config(&self) -> Option<&Path> {
        match self {
            Self::Mint(_) => None,
            Self::Inspect(arguments) => arguments.config(),
        }
    }
}

/// Mints, or inspects as a gate of the configuration would.
pub(super) fn token(command: &Token, gate: Option<App>, console: &mut Console<'_>) -> Status {
    match command {
        Token::Mint(arguments) => mint::mint(arguments, console),
        Token::Inspect(arguments) => inspect::inspect(arguments, gate, console),
    }
}
