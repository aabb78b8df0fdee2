//! SQL text of a pipeline file against the columns of a dataset.

mod dialect;
mod fault;
mod planner;

pub(crate) use fault::{Fault, Nulls, Text, pointer_to, settle};
pub(crate) use planner::{INPUT, InputTable, Planner};
