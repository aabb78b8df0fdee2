//! `restow test`: the `tests:` of a pipeline, run by the same compile over tables in memory.

mod table;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::datasource::MemTable;
use restow_spec::pipeline::{Pipeline, PipelineTest};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::compile::{Compiler, Selection};
use crate::error::Result;
use crate::record::Roles;
use crate::session::{DEFAULT_MEMORY, SessionLimits, physical, session};
use crate::stage::{Dataset, Registry};

/// The dataset's name where a test names none.
const DEFAULT_DATASET: &str = "test";

/// How one test ended.
#[derive(Debug, Clone, Serialize)]
pub struct TestOutcome {
    /// Its name.
    pub name: String,
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
    /// Whether the rows were the expected ones.
    pub passed: bool,
    /// What differs, a line each.
    pub differences: Vec<String>,
}

/// Runs all tests of a pipeline; an error of a stage is a failed test.
///
/// # Errors
/// The session cannot be made.
pub async fn run_tests(pipeline: &Pipeline, registry: &Registry, now: DateTime<Utc>) -> Result<Vec<TestOutcome>> {
    let limits = SessionLimits { memory: DEFAULT_MEMORY, parallel: 1, batch_rows: 1024 };
    let session = session(registry, limits)?;
    let selection = Selection::default();
    let compiler = Compiler { registry, session, stages: &pipeline.rows, selection: &selection, now, parallel: 1 };
    let mut outcomes = Vec::new();
    for test in &pipeline.tests {
        let differences = match rows_of(&compiler, test).await {
            Ok(rows) => differences(&rows, &test.expect),
            Err(error) => vec![format!("the stages failed: {error}")],
        };
        outcomes.push(TestOutcome {
            name: test.name.clone(),
            pointer: test.pointer.clone(),
            passed: differences.is_empty(),
            differences,
        });
    }
    Ok(outcomes)
}

async fn rows_of(compiler: &Compiler<'_>, test: &PipelineTest) -> Result<Vec<Value>> {
    let batch = table::batch_of(&test.given)?;
    let dataset = Dataset {
        name: test.dataset.clone().unwrap_or_else(|| DEFAULT_DATASET.to_owned()),
        schema: batch.schema(),
        roles: Roles::default(),
        rows: Some(batch.num_rows() as u64),
        bytes: None,
    };
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    let (rows, _) = compiler.rows(&dataset, Arc::new(table))?;
    let plan = physical(&compiler.session, rows.frame.logical_plan(), compiler.now).await?;
    let batches = datafusion::physical_plan::collect(plan, compiler.session.task_ctx()).await?;
    table::rows_of(&batches)
}

/// Compares in order; of every expected row only the columns that it names.
fn differences(rows: &[Value], expected: &[Value]) -> Vec<String> {
    let mut differences = Vec::new();
    if rows.len() != expected.len() {
        differences.push(format!("expected {} rows, got {}", expected.len(), rows.len()));
    }
    for (index, expected) in expected.iter().enumerate() {
        let Some(row) = rows.get(index) else {
            differences.push(format!("row {}: expected {expected}, got none", index + 1));
            continue;
        };
        let empty = Map::new();
        let (row, wanted) = (row.as_object().unwrap_or(&empty), expected.as_object().unwrap_or(&empty));
        for (column, value) in wanted {
            let got = row.get(column).unwrap_or(&Value::Null);
            if !same(got, value) {
                differences.push(format!("row {}: {column} is {got}, expected {value}", index + 1));
            }
        }
    }
    for row in rows.iter().skip(expected.len()) {
        differences.push(format!("unexpected row {row}"));
    }
    differences
}

/// Numbers are equal by value (1 and 1.0), JSON text equals the value it stands for.
fn same(got: &Value, expected: &Value) -> bool {
    match (got, expected) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::String(text), Value::Object(_) | Value::Array(_)) => {
            serde_json::from_str::<Value>(text).is_ok_and(|value| value == *expected)
        }
        _ => got == expected,
    }
}
