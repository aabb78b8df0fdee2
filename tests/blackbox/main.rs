//! The binary from outside: every test runs it in a folder of its own, with an environment of its own, and looks at what
//! it prints, how it ends and what it leaves. None needs a network; those that need a real server say so.
// A test ends by panicking; nothing of this goes into the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::too_many_lines
)]

mod support;
mod web;

mod boundaries;
mod codes;
mod fixtures;
mod formats;
mod http;
mod keys;
mod lint;
mod output;
mod quickstart;
mod resume;
mod secrecy;
mod selection;
mod selective;
mod servers;
mod shapes;
mod verify;
