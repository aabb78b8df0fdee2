//! The stages: one folder each. [`registry`] is the list of what this build can do.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::too_many_lines, reason = "tables of cases are long"))]

pub mod codec;
pub mod encrypt;
pub mod files;
pub mod filter;
pub mod repository;
pub mod transform;
pub mod weaviate;

#[cfg(test)]
mod round_trip;

use restow_core::stage::Registry;

/// All stages of this build.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    files::register(&mut registry);
    repository::register(&mut registry);
    weaviate::register(&mut registry);
    filter::register(&mut registry);
    transform::register(&mut registry);
    codec::register(&mut registry);
    encrypt::register(&mut registry);
    registry
}
