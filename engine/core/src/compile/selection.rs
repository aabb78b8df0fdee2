//! `--objects` and `--properties`: what of a source is wanted at all, before any stage.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::error::{EngineError, Result};
use crate::exec::IdFilter;
use crate::record::{RESERVED_PREFIX, Role};
use crate::stage::{Dataset, Rows};

/// What of the source is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// `--objects [dataset/]id,...`: pairs of dataset (or none for all) and id.
    pub objects: Vec<(Option<String>, String)>,
    /// `--properties a,b`: these payload columns, and all columns with a role.
    pub properties: Vec<String>,
}

impl Selection {
    /// Reads the texts of `--objects` (`[dataset/]id,...`) and `--properties` (`a,b`).
    pub fn parse(objects: &[String], properties: &[String]) -> Self {
        let mut selection = Self::default();
        for text in objects {
            let (dataset, ids) = match text.split_once('/') {
                Some((dataset, ids)) => (Some(dataset.to_owned()), ids),
                None => (None, text.as_str()),
            };
            let ids = ids.split(',').map(str::trim).filter(|id| !id.is_empty());
            selection.objects.extend(ids.map(|id| (dataset.clone(), id.to_owned())));
        }
        let names = properties.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty());
        selection.properties.extend(names.map(str::to_owned));
        selection
    }

    /// Whether anything of this dataset is wanted.
    pub fn wants(&self, dataset: &str) -> bool {
        self.objects.is_empty() || self.objects.iter().any(|(of, _)| of.as_deref().is_none_or(|of| of == dataset))
    }

    /// The ids wanted of this dataset; `None` for all.
    ///
    /// # Errors
    /// Ids are asked for and the dataset has no id column.
    pub fn ids(&self, dataset: &Dataset) -> Result<Option<Arc<IdFilter>>> {
        if self.objects.is_empty() {
            return Ok(None);
        }
        let Some(column) = dataset.roles.column(Role::Id) else {
            return Err(EngineError::usage(format!("--objects: dataset {:?} has no id column", dataset.name))
                .with_hint("declare it at the source with `id: <column>`; nothing is guessed"));
        };
        let wanted = self.objects.iter().filter(|(of, _)| of.as_deref().is_none_or(|of| of == dataset.name));
        Ok(Some(Arc::new(IdFilter::new(column, wanted.map(|(_, id)| id.clone())))))
    }

    /// Keeps the properties asked for, and every column with a role.
    ///
    /// # Errors
    /// A property does not exist in this dataset.
    pub fn project(&self, dataset: &Dataset, rows: Rows) -> Result<Rows> {
        if self.properties.is_empty() {
            return Ok(rows);
        }
        for property in &self.properties {
            if dataset.schema.field_with_name(property).is_err() {
                let known: Vec<&str> = dataset.schema.fields().iter().map(|field| field.name().as_str()).collect();
                return Err(EngineError::usage(format!(
                    "--properties: dataset {:?} has no column {property:?}",
                    dataset.name
                ))
                .with_hint(format!("its columns are {}", known.join(", "))));
            }
        }
        let kept = dataset.schema.fields().iter().map(|field| field.name()).filter(|name| self.keeps(dataset, name));
        let columns: Vec<Expr> = kept.map(|name| Expr::Column(Column::new_unqualified(name))).collect();
        let Rows { frame, roles, mut lineage } = rows;
        lineage.retain(|column, _| self.keeps(dataset, column));
        Ok(Rows { frame: frame.select(columns)?, roles, lineage })
    }

    fn keeps(&self, dataset: &Dataset, column: &str) -> bool {
        let of_property = |property: &String| column == property || column == format!("_restow_text_{property}");
        let own = column.starts_with(RESERVED_PREFIX) && !column.starts_with(crate::record::TEXT_PREFIX);
        dataset.roles.get(column) != Role::Payload || own || self.properties.iter().any(of_property)
    }
}

/// Which output columns of a plan's top node are input columns under the same or another name: output -> input.
/// Aliases are followed; casts and computations end the lineage.
pub fn lineage_of(plan: &LogicalPlan) -> BTreeMap<String, String> {
    fn origin(expr: &Expr) -> Option<&str> {
        match expr {
            Expr::Column(column) => Some(&column.name),
            Expr::Alias(alias) => origin(&alias.expr),
            _ => None,
        }
    }
    match plan {
        LogicalPlan::Projection(projection) => projection
            .expr
            .iter()
            .zip(projection.schema.fields())
            .filter_map(|(expr, field)| Some((field.name().clone(), origin(expr)?.to_owned())))
            .collect(),
        other => other.schema().fields().iter().map(|field| (field.name().clone(), field.name().clone())).collect(),
    }
}
