//! Row stages: plan to plan.

use std::collections::BTreeMap;

use datafusion::prelude::{DataFrame, SessionContext};
use restow_spec::pipeline::RowStage;

use crate::error::Result;
use crate::record::Roles;

/// Applies one kind of row stage (`filter`, `transform`).
pub trait RowStageFactory: Send + Sync {
    /// Whether this factory is for the stage.
    fn takes(&self, stage: &RowStage) -> bool;

    /// Puts the stage on top of the rows' plan. Nothing is run, collected or fetched.
    ///
    /// # Errors
    /// The SQL does not fit the columns; the error carries its place in the pipeline file.
    fn apply(&self, stage: &RowStage, rows: Rows, context: &RowContext) -> Result<Rows>;
}

/// A dataset on its way: the plan so far, and what its columns are.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The plan.
    pub frame: DataFrame,
    /// The roles of the current columns.
    pub roles: Roles,
    /// Current column -> column of the source that it holds unchanged but for its name. A cast or computed column has
    /// no entry.
    pub lineage: BTreeMap<String, String>,
}

/// What a row stage may know.
#[derive(Clone)]
pub struct RowContext {
    /// The dataset's name, for messages and `datasets:` globs.
    pub dataset: String,
    /// The session: functions, options. Tables may be registered only under names that are unique to the call.
    pub session: SessionContext,
}
