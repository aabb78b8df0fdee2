//! The declarative verbs. Each works on the columns as the verb before it left them.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use datafusion::scalar::ScalarValue;
use restow_core::EngineError;
use restow_core::record::{EXPLICIT_NULLS, Role, TEXT_PREFIX};
use restow_core::stage::Rows;
use restow_spec::pipeline::Transform;

use super::draft::{Draft, Output, project, refuse_reserved, text_name};
use super::functions::{cast_call, cast_target, plain_call};
use super::sql::{Fault, Nulls, Planner, Text, pointer_to};

/// `rename: { old: new }`, all at once: two columns can swap their names.
pub(super) fn rename(draft: &mut Draft, transform: &Transform, nulls: &Nulls) -> Result<(), Fault> {
    let known = draft.known();
    let mut moves = Vec::new();
    for (old, new) in &transform.rename {
        let pointer = pointer_to(&transform.pointer, "rename", old);
        refuse_reserved(old, &pointer)?;
        refuse_reserved(new, &pointer)?;
        if new.is_empty() {
            return Err(EngineError::usage(format!("column {old:?} cannot be renamed to an empty name"))
                .at(pointer)
                .into());
        }
        match draft.position(old) {
            Some(at) => moves.push((at, old, new)),
            None if nulls.contains(old) => draft.push(null_column(new)),
            None => return Err(Fault::missing(old, pointer, &known)),
        }
    }
    for (_, old, new) in &moves {
        draft.gone.add(old, format!("renamed to {new:?}"));
    }
    let texts: Vec<_> = moves.iter().map(|(_, old, new)| (draft.position(&text_name(old)), text_name(new))).collect();
    let names = moves.iter().map(|(at, _, new)| (Some(*at), (*new).clone())).chain(texts);
    for (at, name) in names.collect::<Vec<_>>() {
        if let Some(output) = at.and_then(|at| draft.outputs.get_mut(at)) {
            output.name = name;
            draft.touch();
        }
    }
    for (_, _, new) in &moves {
        draft.gone.remove(new);
    }
    refuse_collisions(draft, transform)
}

fn refuse_collisions(draft: &Draft, transform: &Transform) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    let Some(twice) = draft.outputs.iter().find(|output| !seen.insert(output.name.as_str())) else { return Ok(()) };
    let rename = transform.rename.iter().find(|(_, new)| **new == twice.name);
    let pointer =
        rename.map_or_else(|| transform.pointer.clone(), |(old, _)| pointer_to(&transform.pointer, "rename", old));
    let error = EngineError::usage(format!("rename gives two columns the name {:?}", twice.name));
    Err(error.with_hint("rename the other column too, or choose another name").at(pointer).into())
}

/// `drop: [column]`.
pub(super) fn drop(draft: &mut Draft, transform: &Transform, nulls: &Nulls) -> Result<(), Fault> {
    for (index, name) in transform.drop.iter().enumerate() {
        let pointer = pointer_to(&transform.pointer, "drop", index);
        refuse_reserved(name, &pointer)?;
        let Some(output) = draft.outputs.iter().find(|output| output.name == *name) else {
            if nulls.contains(name) {
                continue;
            }
            return Err(draft.gone.explain(Fault::missing(name, pointer, &draft.known())));
        };
        if output.role == Some(Role::Id) {
            let error = EngineError::usage(format!("column {name:?} is the id of the rows and cannot be dropped"));
            return Err(error
                .with_hint("it is needed as their identity; `rename` can give it another name")
                .at(pointer)
                .into());
        }
        draft.remove(name);
        draft.gone.add(name, "dropped");
    }
    Ok(())
}

/// `keep: [column]`: these columns in this order, with what restow keeps beside them.
pub(super) fn keep(draft: &mut Draft, transform: &Transform, nulls: &Nulls) -> Result<(), Fault> {
    let Some(names) = &transform.keep else { return Ok(()) };
    let known = draft.known();
    let mut kept: Vec<Output> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let pointer = pointer_to(&transform.pointer, "keep", index);
        refuse_reserved(name, &pointer)?;
        if kept.iter().any(|output| output.name == *name) {
            return Err(EngineError::usage(format!("column {name:?} is listed twice")).at(pointer).into());
        }
        match draft.outputs.iter().find(|output| output.name == *name) {
            Some(output) => kept.push(output.clone()),
            None if nulls.contains(name) => kept.push(null_column(name)),
            None => return Err(draft.gone.explain(Fault::missing(name, pointer, &known))),
        }
    }
    let id = draft.outputs.iter().find(|output| output.role == Some(Role::Id) && !names.contains(&output.name));
    if let Some(id) = id {
        let error = EngineError::usage(format!("`keep` leaves out column {:?}, the id of the rows", id.name));
        let hint = format!("it is needed as their identity: add {:?} to `keep`", id.name);
        return Err(error.with_hint(hint).at(format!("{}/keep", transform.pointer)).into());
    }
    let own = draft.outputs.iter().filter(|output| {
        output.name == EXPLICIT_NULLS
            || output.name.strip_prefix(TEXT_PREFIX).is_some_and(|of| names.iter().any(|name| name == of))
    });
    kept.extend(own.cloned().collect::<Vec<_>>());
    for name in known.iter().filter(|name| !names.contains(name)) {
        draft.gone.add(name, "not kept");
    }
    draft.outputs = kept;
    draft.touch();
    Ok(())
}

/// `cast: { column: type }`. A value that does not fit fails the run; `try_cast` in `set` makes it null instead.
pub(super) fn cast(draft: &mut Draft, transform: &Transform, nulls: &Nulls, below: &DFSchema) -> Result<(), Fault> {
    for (name, type_name) in &transform.cast {
        let pointer = pointer_to(&transform.pointer, "cast", name);
        refuse_reserved(name, &pointer)?;
        let target = cast_target(name, type_name).map_err(|error| error.at(pointer.clone()))?;
        if draft.position(name).is_none() && nulls.contains(name) {
            draft.push(null_column(name));
        }
        let known = draft.known();
        let text = draft.outputs.iter().find(|output| output.name == text_name(name)).map(|output| output.expr.clone());
        let Some(output) = draft.outputs.iter_mut().find(|output| output.name == *name) else {
            return Err(draft.gone.explain(Fault::missing(name, pointer, &known)));
        };
        let cast = cast_call(output.expr.clone(), name, type_name);
        cast.get_type(below).map_err(|error| EngineError::from(error).at(pointer.clone()))?;
        output.expr = match text {
            Some(text) if matches!(target.data_type(), DataType::Utf8) => coalesce(vec![text, cast]),
            _ => cast,
        };
        output.from = None;
        output.role = output.role.or_else(|| Role::parse(target.metadata().get(restow_core::record::ROLE_KEY)?));
        draft.remove_text(name);
        draft.touch();
    }
    Ok(())
}

/// `set: { column: expression }`, all at once: the expressions see the columns before this verb. A column that is
/// replaced keeps its role, since the role says what the column is for; one that is added has none.
pub(super) fn set(rows: &Rows, transform: &Transform, planner: &Planner, nulls: &Nulls) -> Result<Rows, Fault> {
    let schema = rows.frame.schema();
    let before = Draft::of(rows);
    let mut draft = Draft::of(rows);
    for (name, sql) in &transform.set {
        let pointer = pointer_to(&transform.pointer, "set", name);
        refuse_reserved(name, &pointer)?;
        if name.is_empty() {
            return Err(EngineError::usage("a column needs a name").at(pointer).into());
        }
        let text = Text { sql, pointer: &pointer };
        let expr = planner.row_expression(&text, schema, nulls, "a `set` expression")?;
        let data_type = planner.type_of(&expr, schema).map_err(|error| text.fault(error, schema))?;
        check_vector(name, &data_type, &expr, schema).map_err(|error| error.at(pointer.clone()))?;
        let from = identity(&expr);
        draft.remove_text(name);
        let expr =
            if from.is_some() { expr } else { plain(expr, schema).map_err(|error| text.fault(error, schema))? };
        let text_of =
            from.as_ref().and_then(|from| before.outputs.iter().find(|output| output.name == text_name(from)));
        if let Some(kept) = text_of {
            draft.outputs.push(Output { name: text_name(name), ..kept.clone() });
        }
        match draft.outputs.iter_mut().find(|output| output.name == *name) {
            Some(output) => (output.expr, output.from) = (expr, from),
            None => draft.push(Output { name: name.clone(), expr, from, role: None }),
        }
    }
    project(rows, draft.outputs).map_err(|error| error.at(format!("{}/set", transform.pointer)).into())
}

/// The column that an expression is, but for its name.
pub(super) fn identity(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) => Some(column.name.clone()),
        Expr::Alias(alias) => identity(&alias.expr),
        _ => None,
    }
}

/// A computed column without the field metadata that DataFusion passes on from its inputs (a cast or a negative keeps
/// it): the metadata says things about values that these no longer are.
pub(super) fn plain(expr: Expr, schema: &DFSchema) -> datafusion::error::Result<Expr> {
    let (_, field) = expr.to_field(schema)?;
    let stale = field.metadata().keys().any(|key| key.starts_with("restow."));
    Ok(if stale { plain_call(expr) } else { expr })
}

/// A vector stays a vector, and its elements do not silently become wider: DataFusion's list functions compute in 64
/// bits and give lists without a fixed length.
fn check_vector(name: &str, after: &DataType, expr: &Expr, schema: &DFSchema) -> Result<(), EngineError> {
    let before = schema.fields().iter().find(|field| field.name() == name).map(|field| field.data_type());
    let hint = "use normalize, truncate and the other vector functions of `restow list`, or name the type: \
                arrow_cast(..., 'FixedSizeList(384, Float32)')";
    if let Some(before) = before
        && element(before).is_some()
        && element(after) != element(before)
    {
        let message = format!("the expression for the vector {name:?} gives {after} where the column is {before}");
        return Err(EngineError::usage(message).with_hint(hint));
    }
    check_widened(name, after, expr, schema, hint)
}

pub(super) fn check_widened(
    name: &str,
    after: &DataType,
    expr: &Expr,
    schema: &DFSchema,
    hint: &str,
) -> Result<(), EngineError> {
    let wide = match after {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            *item.data_type() == DataType::Float64
        }
        _ => false,
    };
    if !wide || asked_for(expr) {
        return Ok(());
    }
    let narrow = expr.column_refs().into_iter().find(|column| {
        let field = schema.fields().iter().find(|field| *field.name() == column.name);
        field.and_then(|field| element(field.data_type())).is_some_and(|element| *element != DataType::Float64)
    });
    match narrow {
        None => Ok(()),
        Some(column) => Err(EngineError::usage(format!(
            "the expression for {name:?} widens the vector {:?} to 64-bit floats ({after})",
            column.name
        ))
        .with_hint(hint)),
    }
}

/// Whether the type was named by the user.
fn asked_for(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => asked_for(&alias.expr),
        Expr::Cast(_) | Expr::TryCast(_) => true,
        Expr::ScalarFunction(call) => matches!(call.func.name(), "arrow_cast" | "arrow_try_cast"),
        _ => false,
    }
}

/// The element type of a dense float vector.
fn element(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::FixedSizeList(item, _) if item.data_type().is_floating() => Some(item.data_type()),
        _ => None,
    }
}

fn null_column(name: &str) -> Output {
    Output { name: name.to_owned(), expr: lit(ScalarValue::Null), from: None, role: None }
}
