//! The command `sidegate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sidegate::cli::main()
}
