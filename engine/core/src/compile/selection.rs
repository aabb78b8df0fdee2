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
    ///
    /// # Errors
    /// A text names nothing (an unset variable of a shell, mostly): it must not come to mean everything.
    pub fn parse(objects: &[String], properties: &[String]) -> Result<Self> {
        let mut selection = Self::default();
        for text in objects {
            let (dataset, ids) = match text.split_once('/') {
                Some((dataset, ids)) => (Some(dataset.to_owned()), ids),
                None => (None, text.as_str()),
            };
            let ids = named("--objects", "id", text, ids)?;
            selection.objects.extend(ids.into_iter().map(|id| (dataset.clone(), id)));
        }
        for text in properties {
            selection.properties.extend(named("--properties", "column", text, text)?);
        }
        Ok(selection)
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
/// The names of a list with commas; at least one.
fn named(flag: &str, what: &str, text: &str, list: &str) -> Result<Vec<String>> {
    let names: Vec<String> =
        list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(EngineError::usage(format!("{flag} {text:?} names no {what}"))
            .with_hint(format!("leave {flag} out to take everything; nothing was read or written")));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_not_everything() {
        let parse = |objects: &str, properties: &str| Selection::parse(&[objects.into()], &[properties.into()]);
        let selection = parse("cities/a, b,", "x,y").unwrap();
        let of = Some("cities".to_owned());
        assert_eq!(selection.objects, [(of.clone(), "a".to_owned()), (of, "b".to_owned())]);
        assert_eq!(selection.properties, ["x", "y"]);
        for (objects, properties) in [("", "x"), (",", "x"), ("cities/", "x"), ("a", ""), ("a", " , ")] {
            assert_eq!(parse(objects, properties).unwrap_err().class(), crate::error::ExitClass::Usage);
        }
    }
}
