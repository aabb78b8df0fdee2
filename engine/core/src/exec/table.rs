//! A dataset of a source as a table of DataFusion.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType, lit};
use datafusion::physical_plan::ExecutionPlan;

use super::scan::ScanSpec;
use super::{IdFilter, ScanExec, descriptor_leaf};
use crate::record::batch_rows;
use crate::stage::{Dataset, Pushdown, Source, Split};

/// One dataset of an opened source, with the splits that are to be read.
#[derive(Debug)]
pub struct SourceTable {
    source: Arc<dyn Source>,
    dataset: Dataset,
    splits: Vec<Split>,
    partitions: usize,
    ids: Option<Arc<IdFilter>>,
    counts_known: bool,
}

impl SourceTable {
    /// The table; `partitions` is the parallelism of its scan.
    pub fn new(source: Arc<dyn Source>, dataset: Dataset, splits: Vec<Split>, partitions: usize) -> Self {
        Self { source, dataset, splits, partitions, ids: None, counts_known: false }
    }

    /// Only these ids.
    #[must_use]
    pub fn with_ids(mut self, ids: Option<Arc<IdFilter>>) -> Self {
        self.ids = ids;
        self
    }

    /// Takes the rows that the splits name for proven, so that `count(*)` reads nothing. Never for a run, whose counts come
    /// from what was read.
    #[must_use]
    pub fn with_known_counts(mut self) -> Self {
        self.counts_known = true;
        self
    }

    /// The rows of a scan without filters, where they are known.
    fn rows(&self, filters: &[Expr], limit: Option<usize>) -> Option<usize> {
        if !self.counts_known || self.ids.is_some() || !filters.is_empty() || limit.is_some() {
            return None;
        }
        let rows = self.splits.iter().try_fold(0u64, |sum, split| sum.checked_add(split.rows?))?;
        usize::try_from(rows).ok()
    }

    /// What the node gives, and what the source is asked for.
    fn schemas(&self, projection: Option<&Vec<usize>>) -> PlanResult<(SchemaRef, SchemaRef)> {
        let schema = match projection {
            Some(columns) => Arc::new(self.dataset.schema.project(columns)?),
            None => Arc::clone(&self.dataset.schema),
        };
        let read = match &self.ids {
            Some(ids) if schema.index_of(&ids.column).is_err() => {
                let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
                fields.push(Arc::new(self.dataset.schema.field_with_name(&ids.column)?.clone()));
                Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
            }
            _ => Arc::clone(&schema),
        };
        Ok((schema, read))
    }

    /// How far the source evaluates a filter. Where ids are asked for it gets the ids alone: an id that another filter
    /// stops must still be seen, or it would be named as not found.
    fn pushdown(&self, filter: &Expr) -> Pushdown {
        if self.ids.is_some() { Pushdown::No } else { self.source.pushdown(&self.dataset, filter) }
    }

    /// The filters that the source can use, or the ids.
    fn usable(&self, filters: &[Expr]) -> Vec<Expr> {
        let mut usable: Vec<Expr> =
            filters.iter().filter(|filter| self.pushdown(filter) != Pushdown::No).cloned().collect();
        if let Some(ids) = &self.ids {
            let wanted = ids.wanted().into_iter().map(lit).collect();
            let column = Expr::Column(datafusion::common::Column::new_unqualified(&ids.column));
            let is_text =
                self.dataset.schema.field_with_name(&ids.column).is_ok_and(|field| field.data_type().is_string());
            let filter = column.in_list(wanted, false);
            if is_text && self.source.pushdown(&self.dataset, &filter) != Pushdown::No {
                usable.push(filter);
            }
        }
        usable
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.dataset.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        let answers = filters.iter().map(|filter| match self.pushdown(filter) {
            Pushdown::Exact => TableProviderFilterPushDown::Exact,
            Pushdown::Inexact => TableProviderFilterPushDown::Inexact,
            Pushdown::No => TableProviderFilterPushDown::Unsupported,
        });
        Ok(answers.collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let (schema, read_schema) = self.schemas(projection)?;
        let spec = ScanSpec {
            source: Arc::clone(&self.source),
            dataset: self.dataset.name.clone(),
            batch_rows: batch_rows(&read_schema),
            schema,
            read_schema,
            filters: self.usable(filters),
            ids: self.ids.clone(),
            limit,
            rows: self.rows(filters, limit),
        };
        let leaf = descriptor_leaf(&self.splits, self.partitions)?;
        Ok(Arc::new(ScanExec::new(leaf, Arc::new(spec))))
    }
}
