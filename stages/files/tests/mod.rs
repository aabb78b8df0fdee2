//! The files source and sink through the contract, without the engine.

mod exports;
mod folders;
mod harness;
mod names;
mod partitioned;
mod sources;
