//! The program: the stages of this build, handed to the command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// glibc keeps up to twice the largest buffer that was freed, in an arena for each thread: a quarter of the memory of a backup or a restore.
/// jemalloc has one arena here (`.cargo/config.toml`), and hands back what was not used for seconds.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    restow_cli::main(restow_stages::registry())
}
