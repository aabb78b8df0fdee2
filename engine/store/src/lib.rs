//! Where restow keeps bytes: layers over `object_store`, the encryption container, the repository format and its
//! protocols. No DataFusion here: this crate builds and tests in seconds.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::too_many_lines, reason = "tables of cases are long"))]

pub mod blocks;
pub mod container;
pub mod keys;
pub mod local;
pub mod location;
pub mod repository;
pub mod run_state;

#[cfg(test)]
pub(crate) mod vectors;
