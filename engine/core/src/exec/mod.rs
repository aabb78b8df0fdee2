//! The plan nodes of restow: the scan, the counters, and the sink that gives every split its own file and receipt.

mod attempt;
mod count;
mod descriptor;
mod ids;
mod scan;
mod shape;
mod sink;
mod table;

pub use attempt::{Attempt, Point, RejectBudget, Totals};
pub use count::{CountExec, CountPoint, CountedPlan, count_plan};
pub use descriptor::{SPLIT_COLUMN, descriptor_leaf};
pub use ids::IdFilter;
pub use scan::ScanExec;
pub use shape::{Shape, rebind, shape_of};
pub use sink::{RetryPolicy, SinkExec, SplitJob, receipt_of, receipts_in};
pub use table::SourceTable;
