//! From a checked pipeline and an opened source to one plan a dataset.

mod selection;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::prelude::SessionContext;
use restow_spec::pipeline::RowStage;
use serde::Serialize;

pub use selection::{Selection, lineage_of};

use crate::error::{EngineError, Result};
use crate::exec::{CountedPlan, IdFilter, ScanExec, Shape, SourceTable, count_plan, shape_of};
use crate::record::{Role, check_reserved};
use crate::session::physical;
use crate::stage::{Dataset, Pushdown, Registry, RowContext, Rows, Sink, SinkDataset, Source, Split};

/// One dataset, ready to be run.
#[derive(Debug, Clone)]
pub struct CompiledDataset {
    /// As the source has it.
    pub source: Dataset,
    /// As the sink gets it.
    pub sink: SinkDataset,
    /// The plan below the sink, counted.
    pub plan: CountedPlan,
    /// Whether splits are written by themselves.
    pub shape: Shape,
    /// What each stage makes of the columns, for `plan`.
    pub stages: Vec<StageColumns>,
    /// The filters that the source takes part in, and how far.
    pub pushed: Vec<(String, Pushdown)>,
    /// What the source reads because of them, in its words.
    pub at_source: Vec<String>,
    /// The filters that are evaluated here, on every row that the source gives.
    pub here: Vec<String>,
    /// The columns that are read from the source.
    pub columns_read: Vec<String>,
    /// The splits.
    pub splits: Vec<Split>,
    /// The ids of `--objects` in this dataset.
    pub ids: Option<Arc<IdFilter>>,
}

/// The columns after a stage.
#[derive(Debug, Clone, Serialize)]
pub struct StageColumns {
    /// The stage: `source`, `filter`, `transform`.
    pub stage: String,
    /// What it does, in a few words.
    pub detail: String,
    /// Name, type and role of every column after it.
    pub columns: Vec<ColumnInfo>,
}

/// One column for a person to read.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct ColumnInfo {
    /// The name.
    pub name: String,
    /// The type in short, for example `vector(384)`.
    #[serde(rename = "type")]
    pub data_type: String,
    /// The role, where it is not payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// What compiling needs beside the dataset.
#[derive(Clone)]
pub struct Compiler<'a> {
    /// The stages of this build.
    pub registry: &'a Registry,
    /// The session of the run.
    pub session: SessionContext,
    /// The row stages of the pipeline, in order.
    pub stages: &'a [RowStage],
    /// `--objects` and `--properties`.
    pub selection: &'a Selection,
    /// What `now()` means.
    pub now: DateTime<Utc>,
    /// The parallelism of scans.
    pub parallel: usize,
}

impl Compiler<'_> {
    /// Applies the row stages to a table (of a source, or in memory for tests).
    ///
    /// # Errors
    /// A stage does not fit the columns.
    pub fn rows(&self, dataset: &Dataset, table: Arc<dyn TableProvider>) -> Result<(Rows, Vec<StageColumns>)> {
        let frame = self.session.read_table(table)?;
        let lineage =
            dataset.schema.fields().iter().map(|field| (field.name().clone(), field.name().clone())).collect();
        let mut rows = Rows { frame, roles: dataset.roles.clone(), lineage };
        let mut seen = vec![columns_after("source", &dataset.name, &rows)];
        rows = self.selection.project(dataset, rows)?;
        let context = RowContext { dataset: dataset.name.clone(), session: self.session.clone() };
        for stage in self.stages {
            let factory = self
                .registry
                .row_stages()
                .iter()
                .find(|factory| factory.takes(stage))
                .ok_or_else(|| EngineError::usage("this build has no code for a row stage of the pipeline"))?;
            rows = factory.apply(stage, rows, &context).map_err(|error| error.at(stage.pointer()))?;
            let (kind, detail) = describe(stage);
            seen.push(columns_after(kind, &detail, &rows));
        }
        Ok((rows, seen))
    }

    /// Compiles one dataset down to a counted physical plan.
    ///
    /// # Errors
    /// A stage does not fit the columns, or the rows lose their identity on the way to a sink that needs it.
    pub async fn dataset(
        &self,
        source: &Arc<dyn Source>,
        dataset: &Dataset,
        splits: Vec<Split>,
        sink: Option<&dyn Sink>,
    ) -> Result<CompiledDataset> {
        check_reserved(&dataset.name, &dataset.schema)?;
        let ids = self.selection.ids(dataset)?;
        let table =
            SourceTable::new(Arc::clone(source), dataset.clone(), splits.clone(), self.parallel).with_ids(ids.clone());
        let (rows, stages) = self.rows(dataset, Arc::new(table))?;
        check_identity(dataset, &rows, sink)?;
        let plan = physical(&self.session, rows.frame.logical_plan(), self.now).await?;
        let shape = shape_of(&plan);
        let schema = stored_schema(&plan.schema(), dataset, &rows)?;
        let down = pushed_down(&plan, source.as_ref(), dataset);
        let sink_dataset = SinkDataset {
            name: dataset.name.clone(),
            schema,
            roles: rows.roles.clone(),
            source_schema: Arc::clone(&dataset.schema),
            lineage: rows.lineage.clone(),
        };
        let plan = count_plan(plan)?;
        Ok(CompiledDataset {
            source: dataset.clone(),
            sink: sink_dataset,
            plan,
            shape,
            stages,
            pushed: down.pushed,
            at_source: down.at_source,
            here: down.here,
            columns_read: down.columns,
            splits,
            ids,
        })
    }
}

/// The columns as the sink gets them: types of the plan, field metadata of the source followed by lineage, roles
/// stamped, all nullable (a plan's nullability is no promise of the data's).
fn stored_schema(plan: &SchemaRef, dataset: &Dataset, rows: &Rows) -> Result<SchemaRef> {
    let mut fields = Vec::with_capacity(plan.fields().len());
    for field in plan.fields() {
        if matches!(field.data_type(), DataType::Union(..)) {
            return Err(EngineError::usage(format!(
                "dataset {:?}: column {:?} has no single type (a JSON function gave it)",
                dataset.name,
                field.name()
            ))
            .with_hint("use json_get_str, json_get_int, json_get_float or json_get_bool, or cast it"));
        }
        let origin = rows.lineage.get(field.name()).and_then(|origin| dataset.schema.field_with_name(origin).ok());
        let metadata = origin.map_or_else(|| field.metadata().clone(), |origin| origin.metadata().clone());
        fields.push(Field::new(field.name(), field.data_type().clone(), true).with_metadata(metadata));
    }
    Ok(rows.roles.stamp(&Schema::new(fields)))
}

fn check_identity(dataset: &Dataset, rows: &Rows, sink: Option<&dyn Sink>) -> Result<()> {
    let Some(id) = dataset.roles.column(Role::Id) else { return Ok(()) };
    let needed = sink.is_none_or(Sink::needs_identity);
    if needed && rows.roles.column(Role::Id).is_none() {
        return Err(EngineError::usage(format!("dataset {:?} loses its id column {id:?} on the way", dataset.name))
            .with_hint(format!("keep {id:?} in every transform: rows without an id cannot be restored or compared")));
    }
    Ok(())
}

/// Where the filters of a plan are evaluated.
#[derive(Debug, Default)]
struct PushedDown {
    pushed: Vec<(String, Pushdown)>,
    at_source: Vec<String>,
    here: Vec<String>,
    columns: Vec<String>,
}

fn pushed_down(plan: &Arc<dyn ExecutionPlan>, source: &dyn Source, dataset: &Dataset) -> PushedDown {
    if let Some(scan) = plan.downcast_ref::<ScanExec>() {
        let filters = scan.pushed_filters();
        let pushed = filters.iter().map(|filter| (filter.to_string(), source.pushdown(dataset, filter)));
        return PushedDown {
            pushed: pushed.collect(),
            at_source: if filters.is_empty() { Vec::new() } else { source.explain(dataset, filters) },
            here: Vec::new(),
            columns: scan.columns().fields().iter().map(|field| field.name().clone()).collect(),
        };
    }
    let below = plan.children().into_iter().map(|child| pushed_down(child, source, dataset));
    let mut found = below.max_by_key(|found| found.columns.len()).unwrap_or_default();
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        found.here.push(fmt_sql(filter.predicate().as_ref()).to_string());
    }
    found
}

fn columns_after(stage: &str, detail: &str, rows: &Rows) -> StageColumns {
    let columns = rows.frame.schema().fields().iter().map(|field| ColumnInfo {
        name: field.name().clone(),
        data_type: type_name(field.data_type()),
        role: Some(rows.roles.get(field.name())).filter(|role| *role != Role::Payload),
    });
    StageColumns { stage: stage.to_owned(), detail: detail.to_owned(), columns: columns.collect() }
}

fn describe(stage: &RowStage) -> (&'static str, String) {
    match stage {
        RowStage::Filter(filter) => ("filter", filter.sql.clone()),
        RowStage::Transform(transform) => {
            let verbs = [
                ("rename", transform.rename.len()),
                ("drop", transform.drop.len()),
                ("keep", transform.keep.as_ref().map_or(0, Vec::len)),
                ("cast", transform.cast.len()),
                ("set", transform.set.len()),
                ("sql", usize::from(transform.sql.is_some())),
            ];
            let used = verbs.iter().filter(|(_, count)| *count > 0).map(|(verb, count)| format!("{verb} {count}"));
            ("transform", used.collect::<Vec<_>>().join(", "))
        }
        RowStage::Reshape(component) => ("reshape", component.name.clone()),
    }
}

/// A type in the words that pipelines use.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Int64 => "int".to_owned(),
        DataType::Float64 => "float".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        DataType::FixedSizeList(item, length) if *item.data_type() == DataType::Float32 => format!("vector({length})"),
        DataType::FixedSizeList(item, length) => format!("list({}, {length})", type_name(item.data_type())),
        DataType::List(item) | DataType::LargeList(item) => format!("list({})", type_name(item.data_type())),
        other => other.to_string().to_lowercase(),
    }
}
