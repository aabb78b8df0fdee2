//! The store's protocols on stores that fail: crash sweeps, lost replies, races, damage, and conformance of every
//! layer.
//!
//! Everything is in-process, on sets of some hundred kilobytes; `--nocapture` prints what was tried, how often.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::indexing_slicing,
    reason = "tests may panic and print, and tables of cases are long"
)]

mod backup;
mod conformance;
mod crashes;
mod errors;
mod flips;
mod keys;
mod lies;
mod place;
mod races;
