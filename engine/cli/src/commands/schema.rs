//! `restow schema`.

use std::path::Path;

use restow_spec::schema::{component_options_schema, pipeline_schema};
use serde_json::{Value, json};

use crate::app::App;
use crate::args::SchemaArgs;
use crate::error::CliError;
use crate::exit;

/// Prints the schema of pipeline files, or writes it and one schema a component into a folder.
pub fn schema(app: &App, arguments: &SchemaArgs) -> Result<u8, CliError> {
    let catalogue = app.registry.catalogue();
    let pipeline = pipeline_schema(catalogue);
    let Some(folder) = &arguments.write else {
        app.console.result("schema", &json!({ "schema": pipeline }), || text(&pipeline));
        return Ok(exit::DONE);
    };
    let failed = |source| CliError::Write { path: folder.clone(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    write(app, folder, "pipeline", &pipeline)?;
    for component in catalogue.iter() {
        let Some(schema) = component_options_schema(catalogue, component.kind, component.name) else { continue };
        write(app, folder, &format!("{}-{}", component.kind, component.name), &schema)?;
    }
    Ok(exit::DONE)
}

fn write(app: &App, folder: &Path, name: &str, schema: &Value) -> Result<(), CliError> {
    let path = folder.join(format!("{name}.schema.json"));
    std::fs::write(&path, text(schema)).map_err(|source| CliError::Write { path: path.clone(), source })?;
    app.console.note(&format!("wrote {}", path.display()));
    Ok(())
}

fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}
