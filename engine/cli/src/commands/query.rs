//! `restow catalog query`.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use restow_core::exec::{Attempt, RejectBudget, SourceTable};
use restow_core::progress::Progress;
use restow_core::record::batch_rows;
use restow_core::session::{SessionLimits, physical, session};
use restow_core::stage::{OpenContext, Source};
use restow_core::{EngineError, ExitClass};
use restow_spec::catalogue::Kind;
use restow_spec::pipeline::Component;
use serde_json::{Value, json};

use super::target::{REPOSITORY, Target};
use crate::app::App;
use crate::args::{CatalogQueryArgs, QueryFormat};
use crate::context::Limits;
use crate::error::CliError;
use crate::exit;
use crate::render::cells;
use crate::render::number::{counted, seconds};
use crate::render::table::Table;

/// Rows that a table is aligned over; the next page is aligned by itself.
const PAGE: usize = 1000;

/// Runs one SELECT over the datasets of a snapshot, and prints the rows as they come.
pub async fn query(app: &App, arguments: &CatalogQueryArgs) -> Result<u8, CliError> {
    let began = std::time::Instant::now();
    let mut target = Target::of(app, &arguments.repository)?;
    // Opening it here finds a key where none is named, and tells apart what is missing.
    let id = target.open(app).await?.resolve(&arguments.snapshot).await?;
    let flags = Limits { memory: arguments.memory, parallel: None };
    let context = target.open_context(flags.or(Limits::of(&app.settings()?)));
    let component = Component {
        kind: Kind::Source,
        name: REPOSITORY.to_owned(),
        options: json!({ "connection": target.connection_name(), "snapshot": id, "allow_partial": true }),
        pointer: String::new(),
    };
    let source = app.registry.source(REPOSITORY)?.open(&component, &context).await?;
    let session = tables(app, &source, &context).await?;
    let rows = execute(&session, &source, &arguments.sql, &context).await?;
    let mut printer = Printer::new(app, arguments.format, rows.schema());
    let count = printer.print(rows).await?;
    app.console.summarise(&json!({ "snapshot": id, "rows": count, "seconds": began.elapsed().as_secs_f64() }));
    if !app.console.is_json() && arguments.format == QueryFormat::Table {
        app.console.note(&format!("{} in {}", counted(count, "row"), seconds(began.elapsed().as_secs_f64())));
    }
    Ok(exit::DONE)
}

/// A session in which every dataset is a table of its exact name.
async fn tables(app: &App, source: &Arc<dyn Source>, context: &OpenContext) -> Result<SessionContext, CliError> {
    let rows = source.datasets().iter().map(|dataset| batch_rows(&dataset.schema)).min().unwrap_or(1024);
    let limits = SessionLimits { memory: context.memory, parallel: context.parallel, batch_rows: rows };
    let session = session(&app.registry, limits)?;
    for dataset in source.datasets() {
        let splits = source.splits(dataset, context.parallel).await?;
        let table = SourceTable::new(Arc::clone(source), dataset.clone(), splits, context.parallel).with_known_counts();
        session
            .register_table(TableReference::bare(dataset.name.as_str()), Arc::new(table))
            .map_err(EngineError::from)?;
    }
    Ok(session)
}

async fn execute(
    session: &SessionContext,
    source: &Arc<dyn Source>,
    sql: &str,
    context: &OpenContext,
) -> Result<SendableRecordBatchStream, CliError> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = session.sql_with_options(sql, options).await.map_err(|error| wrong(error, source))?;
    let plan = physical(session, frame.logical_plan(), context.now).await?;
    let attempt = Arc::new(Attempt::new(0, Arc::new(RejectBudget::new(0)), Arc::new(Progress::default())));
    Ok(execute_stream(plan, attempt.context(&session.task_ctx())).map_err(EngineError::from)?)
}

/// SQL that does not fit the tables is a wrong argument.
fn wrong(error: DataFusionError, source: &Arc<dyn Source>) -> CliError {
    let error = EngineError::from(error);
    if error.class() != ExitClass::Failed {
        return error.into();
    }
    let names: Vec<String> = source.datasets().iter().map(|dataset| format!("{:?}", dataset.name)).collect();
    let hint = format!("the tables are {}; names are case-sensitive, and only a SELECT is taken", names.join(", "));
    CliError::usage(format!("the query cannot be planned: {}", plain_words(error.message())), hint)
}

/// DataFusion's message without its own class names.
fn plain_words(message: &str) -> String {
    const CLASSES: [&str; 6] = [
        "Error during planning: ",
        "Schema error: ",
        "SQL error: ",
        "This feature is not implemented: ",
        "ParserError(",
        "TokenizerError(",
    ];
    let mut text = message.trim();
    while let Some(rest) = CLASSES.iter().find_map(|class| text.strip_prefix(class)) {
        text = rest;
    }
    // What a parser error quotes.
    if let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix("\")")) {
        text = inner;
    }
    let text = text.trim_end_matches('.').replace("\\\"", "\"");
    let mut letters = text.chars();
    let first = letters.next();
    match first {
        // Not of an abbreviation.
        Some(first) if !letters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text,
    }
}

struct Printer<'a> {
    app: &'a App,
    format: QueryFormat,
    schema: SchemaRef,
    page: Table,
    in_page: usize,
    pages: usize,
}

impl<'a> Printer<'a> {
    fn new(app: &'a App, format: QueryFormat, schema: SchemaRef) -> Self {
        let page = cells::table_of(&schema);
        Self { app, format, schema, page, in_page: 0, pages: 0 }
    }

    async fn print(&mut self, mut rows: SendableRecordBatchStream) -> Result<u64, CliError> {
        let plain = !self.app.console.is_json();
        if plain && self.format == QueryFormat::Csv {
            self.app.console.raw(cells::csv_header(&self.schema).as_bytes());
        }
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(EngineError::from)?;
            count += batch.num_rows() as u64;
            self.batch(&batch)?;
            if self.app.console.is_closed() {
                break;
            }
        }
        if plain && self.format == QueryFormat::Table && (self.pages == 0 || !self.page.is_empty()) {
            self.end_page();
        }
        Ok(count)
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        let console = &self.app.console;
        if console.is_json() || self.format == QueryFormat::Json {
            let lines = cells::json_rows(batch).map_err(EngineError::from)?;
            if !console.is_json() {
                console.raw(&lines);
                return Ok(());
            }
            for row in serde_json::Deserializer::from_slice(&lines).into_iter::<Value>() {
                let row = row.map_err(|error| EngineError::failed(format!("a row cannot be printed: {error}")))?;
                console.record("row", &json!({ "row": row }));
            }
            return Ok(());
        }
        if self.format == QueryFormat::Csv {
            console.raw(cells::csv_rows(batch).map_err(EngineError::from)?.as_bytes());
            return Ok(());
        }
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = (batch.num_rows() - from).min(PAGE - self.in_page);
            cells::add_rows(&mut self.page, &batch.slice(from, rows)).map_err(EngineError::from)?;
            (from, self.in_page) = (from + rows, self.in_page + rows);
            if self.in_page == PAGE {
                self.end_page();
            }
        }
        Ok(())
    }

    fn end_page(&mut self) {
        self.app.console.raw(self.page.render().as_bytes());
        self.page = cells::table_of(&self.schema);
        (self.in_page, self.pages) = (0, self.pages + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_plain_words() {
        let parser = "SQL error: ParserError(\"Expected: an SQL statement, found: SELEC at Line: 1, Column: 1\")";
        assert_eq!(plain_words(parser), "expected: an SQL statement, found: SELEC at Line: 1, Column: 1");
        assert_eq!(plain_words("Schema error: No field named x."), "no field named x");
        assert_eq!(plain_words("Error during planning: DDL not supported: DropTable"), "DDL not supported: DropTable");
    }
}
