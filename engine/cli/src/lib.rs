//! The command line: the only crate that prints or exits. It parses arguments, calls the engine, and renders what came
//! of it for people or, with `--json`, for programs.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::too_many_lines, reason = "tables of cases are long"))]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod app;
mod args;
mod ask;
mod commands;
mod console;
mod context;
mod error;
mod exit;
mod interrupt;
mod render;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use restow_core::stage::Registry;
use restow_spec::environment::{Environment, ProcessEnvironment};

use app::App;
use args::Cli;
use console::Console;
use error::CliError;

/// Stack of the threads that parse, plan and run, in bytes: nested SQL and schemas recurse.
const STACK: usize = 16 << 20;
/// Worker threads, at most: a run is bounded by its store or server long before this.
const MAX_THREADS: usize = 32;
/// How long work that cannot be cancelled (a write of a file) may take to end after an interruption.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Runs the program with the arguments and the environment of this process.
pub fn main(registry: Registry) -> ExitCode {
    let work = std::thread::Builder::new().name("restow".into()).stack_size(STACK).spawn(move || start(registry));
    match work.map(std::thread::JoinHandle::join) {
        Ok(Ok(code)) => ExitCode::from(code),
        // The panic has printed itself.
        Ok(Err(_)) => ExitCode::from(exit::FAILED),
        Err(error) => {
            Console::plain().error(&CliError::Thread(error));
            ExitCode::from(exit::FAILED)
        }
    }
}

fn start(registry: Registry) -> u8 {
    let environment: Arc<dyn Environment + Send + Sync> = Arc::new(ProcessEnvironment);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let console = Console::new(&cli.global, environment.as_ref());
    let app = App::new(registry, console, cli.global.settings.clone(), environment);
    let ended = runtime().and_then(|runtime| {
        let ended = runtime.block_on(commands::dispatch(&app, cli.command));
        runtime.shutdown_timeout(SHUTDOWN);
        ended
    });
    app.console.end(ended)
}

/// Help and version are no errors; with `--json` a wrong argument is told like every other error.
fn refuse(error: &clap::Error) -> u8 {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && json {
        return Console::json().end(Err(CliError::Arguments(error.to_string())));
    }
    // Nothing can be said where neither stream can be written.
    let _ = error.print();
    u8::try_from(error.exit_code()).unwrap_or(exit::USAGE)
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, MAX_THREADS);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("restow-worker")
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .map_err(CliError::Thread)
}
