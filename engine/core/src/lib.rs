//! The engine: the contract that every stage implements, the compilation of a checked pipeline into DataFusion plans,
//! and the run with its receipts, counts, retries and resume. It names no database and never imports `stages`.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::too_many_lines, reason = "tables of cases are long"))]

pub mod compile;
pub mod error;
pub mod exec;
pub mod plan;
pub mod progress;
pub mod record;
pub mod run;
pub mod session;
pub mod stage;
pub mod testing;

pub use error::{EngineError, ExitClass, Result, Retry};
