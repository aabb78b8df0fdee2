//! How results look to people.

pub mod cells;
pub mod meter;
pub mod number;
pub mod plan;
pub mod progress;
pub mod summary;
pub mod table;
