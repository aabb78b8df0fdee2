//! The program: the stages of this build, handed to the command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    restow_cli::main(restow_stages::registry())
}
