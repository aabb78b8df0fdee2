//! Pipeline files: from text to a checked [`Pipeline`], or to every problem in it with its place.
//!
//! This crate does no input or output beyond the environment and secrets, has no runtime, and knows no database: what
//! stages exist is told by a [`Catalogue`].

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::too_many_lines, reason = "tables of cases are long"))]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod catalogue;
mod check;
pub mod create;
pub mod diagnostic;
pub mod environment;
mod finding;
mod interpolate;
pub mod load;
pub mod pipeline;
pub mod schedule;
pub mod schema;
pub mod secret;
pub mod settings;
pub mod sql;
pub mod suggest;
pub mod types;
pub mod units;
pub mod yaml;

pub use catalogue::{Catalogue, ComponentInfo, Kind, Problem};
pub use create::create;
pub use diagnostic::{Diagnostic, Severity};
pub use environment::{Environment, ProcessEnvironment};
pub use load::{Block, LoadOptions, load, load_markdown};
pub use pipeline::{
    Component, DatasetFailure, Filter, Missing, OnError, Pipeline, PipelineTest, Retention, Retry, RowStage, Transform,
    Verify, VerifyLevel,
};
pub use schedule::{Overlap, Schedule};
pub use schema::pipeline_schema;
pub use secret::{Secret, SecretError};
pub use settings::Settings;
pub use types::TypeName;
pub use units::{ByteSize, HumanDuration};
pub use yaml::Document;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod fuzz_tests;
