//! The layout of Weaviate's own export, for rows of any source: `- reshape: { weaviate_export: {} }` before a sink that writes
//! Parquet. What the server keeps in the metadata of its files, collection and tenant, becomes the columns `class_name` and `_tenant`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::Column;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
    lit,
};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use restow_core::record::{EXPLICIT_NULLS, Role, Roles, TEXT_PREFIX};
use restow_core::stage::{RowContext, RowStageFactory, Rows};
use restow_core::{EngineError, Result};
use restow_spec::pipeline::RowStage;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::class::Kind;
use super::super::sink::{Columns, Datum, Mapping, Object, Use, kind_of, vector_kind, vector_name};
use super::NAME;
use super::files::{CLASS, CREATED, ID, NAMED, PROPERTIES, SEVERAL, TENANT, UPDATED, VECTOR};
use super::vectors;

/// `reshape: { weaviate_export: {} }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LayoutOptions {}

/// Brings rows into the layout.
#[derive(Debug, Clone, Copy)]
pub struct Layout;

impl RowStageFactory for Layout {
    fn takes(&self, stage: &RowStage) -> bool {
        matches!(stage, RowStage::Reshape(component) if component.name == NAME)
    }

    fn apply(&self, _stage: &RowStage, rows: Rows, context: &RowContext) -> Result<Rows> {
        let found = Found::of(&rows, &context.dataset)?;
        let mut roles = Roles::default();
        roles.set(ID.to_owned(), Role::Id);
        let text = |column: &Column| cast(Expr::Column(column.clone()), DataType::Utf8);
        let mut outputs = vec![text(&found.id).alias(ID), lit(context.dataset.as_str()).alias(CLASS)];
        if let Some(tenant) = &found.tenant {
            outputs.push(text(tenant).alias(TENANT));
            roles.set(TENANT.to_owned(), Role::Tenant);
        }
        outputs.push(time(found.created.as_ref()).alias(CREATED));
        outputs.push(time(found.updated.as_ref()).alias(UPDATED));
        for part in [Part::Vector, Part::Named, Part::Several, Part::Properties] {
            outputs.push(found.expr(part).alias(part.name()));
        }
        let mut lineage = rows.lineage.clone();
        lineage.retain(|column, _| *column == found.id.name);
        let lineage = lineage.into_values().map(|origin| (ID.to_owned(), origin)).collect();
        let (state, plan) = rows.frame.into_parts();
        let plan = LogicalPlanBuilder::from(plan).project(outputs)?.build()?;
        Ok(Rows { frame: DataFrame::new(state, plan), roles, lineage })
    }
}

/// Milliseconds since 1970.
fn time(column: Option<&Column>) -> Expr {
    let Some(column) = column else { return lit(ScalarValue::Int64(None)) };
    let millis = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    cast(cast(Expr::Column(column.clone()), millis), DataType::Int64)
}

/// What the columns of a dataset are in the layout.
struct Found {
    id: Column,
    tenant: Option<Column>,
    created: Option<Column>,
    updated: Option<Column>,
    /// The others, each with its use.
    others: Vec<(Column, Field, Use)>,
}

impl Found {
    fn of(rows: &Rows, dataset: &str) -> Result<Self> {
        let (mut id, mut tenant, mut created, mut updated, mut others) = (None, None, None, None, Vec::new());
        for (qualifier, field) in rows.frame.schema().iter() {
            let name = field.name().as_str();
            let column = Column::new(qualifier.cloned(), name);
            let refused = |what: &str| {
                EngineError::usage(format!("dataset {dataset:?}, column {name:?}: {what}"))
                    .with_hint("rename, cast or drop it in a transform before `reshape`; nothing was written")
            };
            let role = rows.roles.get(name);
            let use_ = match role {
                _ if name == EXPLICIT_NULLS => continue,
                _ if name.starts_with(TEXT_PREFIX) => {
                    Use::DateText(name.strip_prefix(TEXT_PREFIX).unwrap_or_default().to_owned())
                }
                Role::Id => {
                    id = Some(column);
                    continue;
                }
                Role::Tenant => {
                    tenant = Some(column);
                    continue;
                }
                Role::CreatedAt | Role::UpdatedAt => {
                    if !matches!(field.data_type(), DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, _)) {
                        return Err(refused("times of exports are whole milliseconds"));
                    }
                    *(if role == Role::CreatedAt { &mut created } else { &mut updated }) = Some(column);
                    continue;
                }
                _ => match vector_kind(field.data_type()).filter(|_| is_vector(role, field)) {
                    Some(multi) => {
                        let name = vector_name(name);
                        if multi && name.is_none() {
                            return Err(refused("a value of several vectors needs a name: _vector_NAME"));
                        }
                        Use::Vector { name, multi }
                    }
                    None if role == Role::Reference => Use::Property { name: name.to_owned(), kind: Kind::Json },
                    None => {
                        let kind = kind_of(field).ok_or_else(|| {
                            refused(&format!("there is no property of the type {}", field.data_type()))
                        })?;
                        Use::Property { name: name.to_owned(), kind }
                    }
                },
            };
            others.push((column, field.as_ref().clone(), use_));
        }
        let id = id.ok_or_else(|| {
            EngineError::usage(format!("dataset {dataset:?} has no id column"))
                .with_hint("declare it at the source, for example `files: { path: .., id: uuid }`")
        })?;
        Ok(Self { id, tenant, created, updated, others })
    }

    fn expr(&self, part: Part) -> Expr {
        let mut args = vec![Expr::Column(self.id.clone())];
        let (mut fields, mut uses) = (vec![Field::new(ID, DataType::Utf8, true)], vec![Use::Id]);
        for (column, field, use_) in self.others.iter().filter(|(_, _, use_)| part.takes(use_)) {
            args.push(Expr::Column(column.clone()));
            fields.push(field.clone().with_nullable(true));
            uses.push(use_.clone());
        }
        if uses.len() == 1 && part != Part::Properties {
            return lit(ScalarValue::Binary(None));
        }
        // The text of an id, whatever column it comes from.
        if let Some(id) = args.first_mut() {
            *id = cast(id.clone(), DataType::Utf8);
        }
        let mapping = Mapping::of_uses(uses);
        let signature = Signature::variadic_any(Volatility::Immutable);
        let function = Function { part, schema: Arc::new(Schema::new(fields)), mapping, signature };
        ScalarUDF::new_from_impl(function).call(args)
    }
}

/// Whether a list of floats is a vector. A property may be called like a column of ours: only its role tells, or a fixed length.
fn is_vector(role: Role, field: &Field) -> bool {
    role == Role::Vector || matches!(field.data_type(), DataType::FixedSizeList(..))
}

/// A column of the layout that is made of several columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Vector,
    Named,
    Several,
    Properties,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Vector => VECTOR,
            Self::Named => NAMED,
            Self::Several => SEVERAL,
            Self::Properties => PROPERTIES,
        }
    }

    fn takes(self, use_: &Use) -> bool {
        match use_ {
            Use::Vector { name: None, .. } => self == Self::Vector,
            Use::Vector { multi: false, .. } => self == Self::Named,
            Use::Vector { multi: true, .. } => self == Self::Several,
            Use::Property { .. } | Use::DateText(_) => self == Self::Properties,
            _ => false,
        }
    }

    /// The value of an object.
    fn of(self, object: &Object) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Vector => Ok(object.vectors.first().map(|(_, bytes, _)| bytes.to_vec())),
            Self::Named | Self::Several => Ok(named(object)),
            Self::Properties => properties(object).map(Some),
        }
    }
}

fn named(object: &Object) -> Option<Vec<u8>> {
    let mut text = String::from("{");
    for (index, (name, bytes, length)) in object.vectors.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        // Names of vectors need no escapes.
        text.push_str(&format!("\"{}\":", name.as_deref().unwrap_or_default()));
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        match length {
            None => vectors::print(values.into_iter(), &mut text),
            Some(length) => {
                text.push('[');
                for (row, vector) in values.chunks(usize::from(*length).max(1)).enumerate() {
                    if row > 0 {
                        text.push(',');
                    }
                    vectors::print(vector.iter().copied(), &mut text);
                }
                text.push(']');
            }
        }
    }
    text.push('}');
    (!object.vectors.is_empty()).then(|| text.into_bytes())
}

fn properties(object: &Object) -> Result<Vec<u8>, String> {
    let mut text = String::from("{");
    for (index, (name, datum)) in object.properties.iter().enumerate() {
        let value = json(datum).map_err(|error| format!("property {name:?}: {error}"))?;
        let name = serde_json::to_string(name).map_err(|error| error.to_string())?;
        if index > 0 {
            text.push(',');
        }
        text.push_str(&name);
        text.push(':');
        text.push_str(value.get());
    }
    text.push('}');
    Ok(text.into_bytes())
}

fn json(datum: &Datum) -> serde_json::Result<Box<RawValue>> {
    use serde_json::value::to_raw_value;
    match datum {
        Datum::Text(value) => to_raw_value(value),
        Datum::Int(value) => to_raw_value(value),
        Datum::Number(value) => to_raw_value(value),
        Datum::Bool(value) => to_raw_value(value),
        Datum::Json(value) => Ok(value.clone()),
        Datum::Texts(values) => to_raw_value(values),
        Datum::Ints(values) => to_raw_value(values),
        Datum::Numbers(values) => to_raw_value(values),
        Datum::Bools(values) => to_raw_value(values),
    }
}

/// Makes one column of the layout.
#[derive(Debug)]
struct Function {
    part: Part,
    /// The arguments.
    schema: SchemaRef,
    mapping: Mapping,
    signature: Signature,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.part == other.part && self.schema == other.schema && self.mapping.uses == other.mapping.uses
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.part.hash(state);
        self.schema.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.part.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays: Vec<ArrayRef> = ColumnarValue::values_to_arrays(&args.args)?;
        let fields: Vec<Field> = self
            .schema
            .fields()
            .iter()
            .zip(&arrays)
            .map(|(field, array)| field.as_ref().clone().with_data_type(array.data_type().clone()))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(args.number_rows));
        // A literal argument is one row, however many there are.
        let arrays = arrays.into_iter().zip(&args.args).map(|(array, value)| match value {
            ColumnarValue::Scalar(value) => value.to_array_of_size(args.number_rows),
            ColumnarValue::Array(_) => Ok(array),
        });
        let arrays = arrays.collect::<DataFusionResult<Vec<_>>>()?;
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
        let failed = |error: EngineError| DataFusionError::External(Box::new(error));
        let columns = Columns::new(&self.mapping, &batch).map_err(failed)?;
        let mut values = Vec::with_capacity(columns.len());
        for row in 0..columns.len() {
            let value = columns.object(row).and_then(|object| self.part.of(&object));
            values.push(value.map_err(|reason| {
                let id = batch.column(0).as_string_opt::<i32>().map_or("", |ids| ids.value(row));
                failed(EngineError::failed(format!("the row with the id {id:?}: {reason}")))
            })?);
        }
        Ok(ColumnarValue::Array(Arc::new(BinaryArray::from_iter(values))))
    }
}
