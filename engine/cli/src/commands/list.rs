//! `restow list`.

use std::fmt::Write;

use restow_spec::catalogue::Kind;
use restow_spec::schema::component_options_schema;
use restow_spec::suggest;
use serde::Serialize;
use serde_json::Value;

use crate::app::App;
use crate::args::ListArgs;
use crate::error::CliError;
use crate::exit;
use crate::render::table::Table;

/// The row stages, which are part of the language and not of the catalogue.
const ROW_STAGES: [(&str, &str, &str); 2] = [
    (
        "filter",
        "keeps the rows for which an SQL predicate is true",
        "filter: \"population > 100000 AND country = 'FR'\"\n",
    ),
    (
        "transform",
        "changes columns: rename, drop, keep, cast, set, and one SELECT from input",
        "transform:\n  rename: { headline: title }\n  drop: [draft_notes]\n  cast: { year: int }\n  set: { length: \"char_length(title)\" }\n",
    ),
];

#[derive(Debug, Serialize)]
struct Entry {
    kind: String,
    name: String,
    summary: String,
    example: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    schema: Value,
}

/// Lists all stages, those of a kind, or explains those of a name.
pub fn list(app: &App, arguments: &ListArgs) -> Result<u8, CliError> {
    let entries = entries(app);
    let Some(what) = &arguments.what else {
        print_list(app, &entries);
        return Ok(exit::DONE);
    };
    let singular = what.strip_suffix('s').unwrap_or(what);
    let of_kind: Vec<Entry> =
        self::entries(app).into_iter().filter(|entry| entry.kind == *what || entry.kind == singular).collect();
    if of_kind.len() > 1 || Kind::ALL.iter().any(|kind| kind.as_str() == what || kind.as_str() == singular) {
        print_list(app, &of_kind);
        return Ok(exit::DONE);
    }
    let named: Vec<&Entry> = entries.iter().filter(|entry| entry.name == *what).collect();
    if named.is_empty() {
        let known = entries.iter().map(|entry| entry.name.as_str()).chain(Kind::ALL.iter().map(|kind| kind.as_str()));
        let hint = suggest::nearest(what, known).map(|name| format!("did you mean {name:?}? "));
        let hint = format!("{}`restow list` shows all", hint.unwrap_or_default());
        return Err(CliError::NotFound { message: format!("this build has no stage {what:?}"), hint });
    }
    for (index, entry) in named.into_iter().enumerate() {
        app.console.result("stage", entry, || {
            let gap = if index > 0 { "\n" } else { "" };
            format!("{gap}{}", explain(entry))
        });
    }
    Ok(exit::DONE)
}

fn entries(app: &App) -> Vec<Entry> {
    let catalogue = app.registry.catalogue();
    let of_kind = |kind: Kind| {
        catalogue.iter().filter(move |component| component.kind == kind).map(move |component| Entry {
            kind: kind.to_string(),
            name: component.name.to_owned(),
            summary: component.summary.to_owned(),
            example: component.example.to_owned(),
            schema: component_options_schema(catalogue, kind, component.name).unwrap_or_default(),
        })
    };
    let rows = ROW_STAGES.iter().map(|(name, summary, example)| Entry {
        kind: (*name).to_owned(),
        name: (*name).to_owned(),
        summary: (*summary).to_owned(),
        example: (*example).to_owned(),
        schema: Value::Null,
    });
    let mut entries: Vec<Entry> = of_kind(Kind::Source).chain(rows).collect();
    for kind in [Kind::Reshape, Kind::Codec, Kind::Encrypt, Kind::Sink, Kind::Connection] {
        entries.extend(of_kind(kind));
    }
    entries
}

fn print_list(app: &App, entries: &[Entry]) {
    if app.console.is_json() {
        return entries.iter().for_each(|entry| app.console.record("stage", entry));
    }
    let mut table = Table::new(&["kind", "name", "summary"]);
    for entry in entries {
        table.row([entry.kind.clone(), entry.name.clone(), entry.summary.clone()]);
    }
    app.console.raw(table.render().as_bytes());
}

/// Summary, options with their docs, example.
fn explain(entry: &Entry) -> String {
    let mut out = format!("{} {}: {}\n", entry.kind, entry.name, entry.summary);
    let properties = entry.schema.get("properties").and_then(Value::as_object);
    let required: Vec<&str> = entry
        .schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if let Some(properties) = properties.filter(|properties| !properties.is_empty()) {
        out.push_str("\noptions\n");
        for (name, schema) in properties {
            let needed = if required.contains(&name.as_str()) { " (required)" } else { "" };
            let _ = writeln!(out, "  {name}{needed}");
            let text = schema.get("description").and_then(Value::as_str).unwrap_or("");
            for line in wrap(&text.split_whitespace().collect::<Vec<_>>().join(" "), 90) {
                let _ = writeln!(out, "      {line}");
            }
        }
    }
    out.push_str("\nexample\n");
    let (head, indent) = match entry.kind == entry.name {
        true => (String::new(), "  "),
        false if entry.kind == "connection" => (format!("  my_{0}:\n    {0}:\n", entry.name), "      "),
        false => (format!("  - {}:\n      {}:\n", entry.kind, entry.name), "          "),
    };
    out.push_str(&head);
    for (index, line) in entry.example.trim_end().lines().enumerate() {
        let dash = match (entry.kind == entry.name, index) {
            (true, 0) => "- ",
            (true, _) => "  ",
            _ => "",
        };
        let _ = writeln!(out, "{indent}{dash}{line}");
    }
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_explanation() {
        let entry = Entry {
            kind: "sink".into(),
            name: "demo".into(),
            summary: "writes nothing".into(),
            example: "url: x\n".into(),
            schema: json!({ "properties": { "url": { "description": "Where\nto." } }, "required": ["url"] }),
        };
        let expected = "sink demo: writes nothing\n\noptions\n  url (required)\n      Where to.\n\nexample\n  - sink:\n      demo:\n          url: x\n";
        assert_eq!(explain(&entry), expected);
    }

    #[test]
    fn lines_are_wrapped() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
    }
}
