//! Parquet, with the settings that embeddings need. Row groups are sized in bytes, because a row with an embedding is wide.

mod file;
mod levels;
mod pieces;
mod properties;
mod vectors;

pub(super) use file::{ParquetFile, batch_bytes};
pub(super) use properties::unsupported;
pub(crate) use vectors::VectorPage;
