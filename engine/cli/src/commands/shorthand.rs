//! `restow backup` and `restow migrate`, and what `restow restore` shares with them: commands that stand for a pipeline, which
//! `--print` shows. A database is recognised by the scheme of its address, which is the name of its stages.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use restow_core::compile::Selection;
use restow_spec::catalogue::{Catalogue, Kind};
use restow_spec::environment::Environment;
use restow_spec::load::{LoadOptions, load};
use restow_spec::pipeline::VerifyLevel;
use serde_json::{Value, json};

use super::run::{execute, report};
use crate::app::App;
use crate::args::{BackupArgs, MigrateArgs};
use crate::context::{self, KEY_VARIABLE, Limits};
use crate::error::CliError;
use crate::exit;

/// What every such pipeline begins with.
pub const HEAD: &str = "# yaml-language-server: $schema=../schemas/pipeline.schema.json\nversion: 1\n";

/// Backs up a database into a repository.
pub async fn backup(app: &App, arguments: &BackupArgs) -> Result<u8, CliError> {
    let source = Database::at(app, Kind::Source, &arguments.source, &arguments.from)?;
    let mut text = format!("{HEAD}name: backup\nconnections:\n");
    source.connection(&mut text, "source");
    text.push_str("stages:\n");
    source.stage(&mut text, "source");
    let create = arguments.create;
    if let Some(file) = &arguments.key_file {
        let create = if create { ", create: true" } else { "" };
        let _ = writeln!(
            text,
            "  - encrypt: {{ aes-256-gcm: {{ key_file: {}{create} }} }}",
            quoted(&file.display().to_string())
        );
    } else if app.environment.get(KEY_VARIABLE).is_some_and(|key| !key.is_empty()) {
        let _ = writeln!(text, "  - encrypt: {{ aes-256-gcm: {{ key: \"${{secret:env:{KEY_VARIABLE}}}\" }} }}");
    }
    let create = if create { ", create: if_missing" } else { "" };
    let _ = writeln!(text, "  - sink: {{ repository: {{ url: {}{create} }} }}", quoted(&arguments.repository));
    run(app, &text, "backup.yaml", arguments.print, Arc::clone(&app.environment)).await
}

/// Moves what one database has into another.
pub async fn migrate(app: &App, arguments: &MigrateArgs) -> Result<u8, CliError> {
    let source = Database::at(app, Kind::Source, &arguments.source, &arguments.from)?;
    let target = Database::at(app, Kind::Sink, &arguments.target, &arguments.into)?;
    let mut text = format!("{HEAD}name: migrate\nconnections:\n");
    source.connection(&mut text, "source");
    target.connection(&mut text, "target");
    text.push_str("stages:\n");
    source.stage(&mut text, "source");
    target.stage(&mut text, "target");
    target.verification(&mut text, arguments.no_verify);
    run(app, &text, "migrate.yaml", arguments.print, Arc::clone(&app.environment)).await
}

/// Prints the pipeline, or runs it.
pub async fn run(
    app: &App,
    text: &str,
    file: &str,
    print: bool,
    environment: Arc<dyn Environment + Send + Sync>,
) -> Result<u8, CliError> {
    if print {
        app.console.result("pipeline", &json!({ "text": text }), || text.to_owned());
        return Ok(exit::DONE);
    }
    let vars = BTreeMap::new();
    let options = LoadOptions {
        catalogue: app.registry.catalogue(),
        env: environment.as_ref(),
        vars: &vars,
        unset_is_error: true,
    };
    let (pipeline, diagnostics) = load(file, text, &options);
    app.console.diagnostics(&diagnostics);
    let Some(pipeline) = pipeline else {
        return Err(CliError::Diagnostics { errors: "errors".into(), files: "the pipeline of this command".into() });
    };
    let settings = context::no_settings(app.environment.as_ref())?;
    let limits = Limits::of(&settings);
    let context = context::open_context(pipeline.connections.clone(), environment, limits);
    let summary = execute(app, &pipeline, context, Selection::default(), false).await?;
    report(app, &summary, 1);
    Ok(exit::of_status(summary.status))
}

/// A database of a command line.
pub struct Database {
    name: String,
    /// Options of the connection and of the stage, as YAML.
    connection: Vec<(String, String)>,
    stage: Vec<(String, String)>,
    kind: Kind,
    /// Whether it can compare what it was given with what it has.
    compares: bool,
}

impl Database {
    /// The name of the stages that an address belongs to, where there are any.
    pub fn scheme<'a>(catalogue: &Catalogue, kind: Kind, address: &'a str) -> Option<&'a str> {
        let (scheme, _) = address.split_once("://")?;
        (catalogue.get(kind, scheme).is_some() && catalogue.get(Kind::Connection, scheme).is_some()).then_some(scheme)
    }

    /// The database of an address. Each option goes where the schemas have it: to the connection, else to the stage. An API key is
    /// taken from the environment where it has one.
    pub fn at(app: &App, kind: Kind, address: &str, options: &[(String, String)]) -> Result<Self, CliError> {
        let catalogue = app.registry.catalogue();
        let Some(name) = Self::scheme(catalogue, kind, address) else {
            let known: Vec<String> = catalogue
                .names(kind)
                .filter(|name| {
                    catalogue.get(Kind::Connection, name).is_some() && *name != "files" && *name != "repository"
                })
                .map(|name| format!("{name}://"))
                .collect();
            let message = format!("{address:?} is no database that this version knows as a {kind}");
            return Err(CliError::usage(message, format!("an address begins with {}", known.join(" or "))));
        };
        let has = |option: &str| {
            let schema = catalogue.get(Kind::Connection, name).map(|info| info.schema.as_value());
            schema.and_then(|schema| schema.pointer(&format!("/properties/{option}"))).is_some()
        };
        let mut connection = vec![("url".to_owned(), quoted(address))];
        let mut stage = Vec::new();
        for (option, value) in options {
            let place = if has(option) { &mut connection } else { &mut stage };
            place.push((option.clone(), value.clone()));
        }
        let variable = format!("{}_API_KEY", name.to_ascii_uppercase());
        let named = connection.iter().any(|(option, _)| option == "api_key");
        if has("api_key") && !named && app.environment.get(&variable).is_some_and(|key| !key.is_empty()) {
            connection.push(("api_key".to_owned(), format!("\"${{secret:env:{variable}}}\"")));
        }
        let compares = catalogue.get(Kind::Sink, name).is_some_and(|info| info.verifies.contains(&VerifyLevel::Rows));
        Ok(Self { name: name.to_owned(), connection, stage, kind, compares })
    }

    /// Its connection under a name.
    pub fn connection(&self, text: &mut String, name: &str) {
        let _ = writeln!(text, "  {name}:\n    {}:", self.name);
        for (option, value) in &self.connection {
            let _ = writeln!(text, "      {option}: {value}");
        }
    }

    /// Every row is read back and compared, where the database can and nobody said otherwise.
    pub fn verification(&self, text: &mut String, unwanted: bool) {
        if self.compares && !unwanted {
            text.push_str("verify: { after: rows }\n");
        }
    }

    /// Its stage, over the connection of that name.
    pub fn stage(&self, text: &mut String, connection: &str) {
        let _ = writeln!(text, "  - {}:\n      {}:\n        connection: {connection}", self.kind, self.name);
        for (option, value) in &self.stage {
            let _ = writeln!(text, "        {option}: {value}");
        }
    }
}

/// A text of the user's as a YAML scalar that is not interpolated.
pub fn quoted(text: &str) -> String {
    Value::from(text.replace('$', "$$")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted() {
        assert_eq!(quoted("a: \"b\" ${env:X}"), r#""a: \"b\" $${env:X}""#);
    }
}
