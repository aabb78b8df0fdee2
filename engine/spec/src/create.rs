//! A starter: a commented pipeline that passes `lint`.

use std::fmt::Write;

use serde_json::Value;

use crate::catalogue::{Catalogue, ComponentInfo, Kind, Problem};
use crate::{suggest, yaml};

/// Why no starter could be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Fewer than two parts.
    #[error("{0:?} names no source and sink: write them with a slash between, such as files/repository")]
    TooShort(String),
    /// A part that is nothing.
    #[error("unknown {noun} {name:?}: {help}")]
    Unknown {
        /// What it should be.
        noun: String,
        /// What was written.
        name: String,
        /// The suggestion.
        help: String,
    },
    /// A byte stage before a sink that stores no bytes.
    #[error("{stage:?} needs a sink that stores bytes, and {sink:?} does not")]
    NoByteSink {
        /// The codec or encryption.
        stage: String,
        /// The sink.
        sink: String,
    },
    /// A codec that the sink does not take.
    #[error("{0}")]
    Codec(Problem),
    /// Parts in an order that no pipeline has.
    #[error("{0:?} stands too late: the order is source, filter and transform, codec, encrypt, sink")]
    Order(String),
}

/// Writes a starter from an expression such as `files/filter/parquet/repository`: the source, what comes between, the
/// sink. Between stand `filter`, `transform`, `codec` and `encrypt` (the first of each kind), or the name of one.
pub fn create(expression: &str, catalogue: &Catalogue) -> Result<String, CreateError> {
    let words: Vec<&str> = expression.split('/').map(str::trim).collect();
    let [first, middle @ .., last] = words.as_slice() else {
        return Err(CreateError::TooShort(expression.into()));
    };
    let source = find(catalogue, Kind::Source, first)?;
    let sink = find(catalogue, Kind::Sink, last)?;
    let mut stages = vec![Stage::Component(source)];
    for word in middle {
        stages.push(between(catalogue, word)?);
    }
    stages.push(Stage::Component(sink));
    check_order(&stages, sink)?;
    check_codec(&stages, sink, catalogue)?;
    Ok(render(&words, &stages, catalogue))
}

enum Stage<'a> {
    Filter,
    Transform,
    Component(&'a ComponentInfo),
}

impl Stage<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::Filter | Self::Transform => 1,
            Self::Component(component) => match component.kind {
                Kind::Connection | Kind::Source => 0,
                Kind::Reshape => 1,
                Kind::Codec => 2,
                Kind::Encrypt => 3,
                Kind::Sink => 4,
            },
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Filter => "filter",
            Self::Transform => "transform",
            Self::Component(component) => component.name,
        }
    }
}

fn find<'a>(catalogue: &'a Catalogue, kind: Kind, name: &str) -> Result<&'a ComponentInfo, CreateError> {
    catalogue.get(kind, name).ok_or_else(|| CreateError::Unknown {
        noun: kind.to_string(),
        name: name.into(),
        help: catalogue.suggest(kind, name).unwrap_or_default(),
    })
}

fn between<'a>(catalogue: &'a Catalogue, word: &str) -> Result<Stage<'a>, CreateError> {
    let of_kind = |kind| catalogue.iter().find(|component| component.kind == kind).map(Stage::Component);
    let named = |kind| catalogue.get(kind, word).map(Stage::Component);
    let found = match word {
        "filter" => Some(Stage::Filter),
        "transform" => Some(Stage::Transform),
        "codec" => of_kind(Kind::Codec),
        "encrypt" => of_kind(Kind::Encrypt),
        _ => named(Kind::Reshape).or_else(|| named(Kind::Codec)).or_else(|| named(Kind::Encrypt)),
    };
    found.ok_or_else(|| {
        let mut known = vec!["filter", "transform", "codec", "encrypt"];
        let kinds = [Kind::Reshape, Kind::Codec, Kind::Encrypt];
        known.extend(kinds.into_iter().flat_map(|kind| catalogue.names(kind)));
        let help = suggest::help(word, "stages", known).unwrap_or_default();
        CreateError::Unknown { noun: "stage".into(), name: word.into(), help }
    })
}

fn check_order(stages: &[Stage<'_>], sink: &ComponentInfo) -> Result<(), CreateError> {
    for pair in stages.windows(2) {
        if let [before, after] = pair
            && (after.rank() < before.rank() || (after.rank() == before.rank() && after.rank() != 1))
        {
            return Err(CreateError::Order(after.name().into()));
        }
    }
    match stages.iter().find(|stage| matches!(stage.rank(), 2 | 3)) {
        Some(stage) if !sink.byte_sink => {
            Err(CreateError::NoByteSink { stage: stage.name().into(), sink: sink.name.into() })
        }
        _ => Ok(()),
    }
}

fn check_codec(stages: &[Stage<'_>], sink: &ComponentInfo, catalogue: &Catalogue) -> Result<(), CreateError> {
    let codec = stages.iter().find(|stage| stage.rank() == 2);
    match codec.and_then(|stage| catalogue.refused_codec(sink, stage.name())) {
        Some(problem) => Err(CreateError::Codec(problem)),
        None => Ok(()),
    }
}

/// A connection that an example names.
struct Connection<'a> {
    name: String,
    component: &'a ComponentInfo,
}

fn render(words: &[&str], stages: &[Stage<'_>], catalogue: &Catalogue) -> String {
    let mut connections: Vec<Connection<'_>> = Vec::new();
    let mut chain = String::new();
    for stage in stages {
        match stage {
            Stage::Filter => chain
                .push_str("  # Keeps the rows for which an SQL predicate is true.\n  - filter: \"id IS NOT NULL\"\n"),
            Stage::Transform => chain.push_str(
                "  # Changes columns: rename, drop, keep, cast, set, sql.\n  - transform:\n      drop: [draft_notes]\n",
            ),
            Stage::Component(component) => {
                let example = with_connection(component, catalogue, &mut connections);
                let _ = writeln!(chain, "  # {}", component.summary);
                let _ = writeln!(chain, "  - {}:", component.kind);
                chain.push_str(&nested(component.name, &example, 6));
            }
        }
    }
    let mut out = String::from("# yaml-language-server: $schema=../schemas/pipeline.schema.json\n");
    out.push_str(
        "# Check it with `restow lint`, see what it would do with `restow plan`, and run it with `restow run`.\n",
    );
    let _ = writeln!(out, "version: 1\nname: {}", words.join("-"));
    if !connections.is_empty() {
        out.push_str("\n# How to reach databases and repositories, by the names that the stages use.\nconnections:\n");
    }
    for connection in connections {
        let _ = writeln!(out, "  # {}\n  {}:", connection.component.summary, connection.name);
        out.push_str(&nested(connection.component.name, connection.component.example, 4));
    }
    out.push_str("\nstages:\n");
    out.push_str(&chain);
    out.push_str("\n# What happens to rows that fail: none is tolerated, and operations are tried five times.\n");
    out.push_str("on_error: { max_rejects: 0, retry: { attempts: 5, max_delay: 30s } }\n");
    out
}

/// A component's example, its connection renamed where another component has the name already.
fn with_connection<'a>(
    component: &ComponentInfo,
    catalogue: &'a Catalogue,
    connections: &mut Vec<Connection<'a>>,
) -> String {
    let example = component.example.to_owned();
    let options = yaml::parse("example", &example, 1).document.value();
    let Some(name) = options.get("connection").and_then(Value::as_str) else {
        return example;
    };
    let Some(info) = catalogue.get(Kind::Connection, component.name) else {
        return example;
    };
    match connections.iter().find(|known| known.name == name) {
        Some(known) if known.component.name == component.name => example,
        Some(_) => {
            let new = format!("{name}_{}", component.kind);
            let renamed = rename_connection(&example, name, &new);
            connections.push(Connection { name: new, component: info });
            renamed
        }
        None => {
            connections.push(Connection { name: name.into(), component: info });
            example
        }
    }
}

fn rename_connection(example: &str, old: &str, new: &str) -> String {
    let lines = example.lines().map(|line| match line.trim().strip_prefix("connection:") {
        Some(value) if value.trim() == old => line.replacen(old, new, 1),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `name:` and its options below, each line indented.
fn nested(name: &str, example: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    if example.trim().is_empty() || example.trim() == "{}" {
        return format!("{pad}{name}: {{}}\n");
    }
    let mut out = format!("{pad}{name}:\n");
    for line in example.trim_end().lines() {
        if line.trim().is_empty() {
            out.push('\n');
        } else {
            let _ = writeln!(out, "{pad}  {line}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn starters_pass_lint() {
        let catalogue = fake::catalogue();
        for expression in [
            "files/repository",
            "files/filter/transform/codec/encrypt/repository",
            "demo/files",
            "demo/parquet/aes-256-gcm/repository",
            "files/jsonl/files",
            "repository/demo",
            "repository/repository",
        ] {
            let text = create(expression, &catalogue).unwrap();
            let (pipeline, diagnostics) = fake::load_with(&text, &catalogue);
            assert!(
                pipeline.is_some() && diagnostics.iter().all(|found| !found.is_error()),
                "{text}\n{diagnostics:#?}"
            );
        }
    }

    #[test]
    fn what_is_refused() {
        let catalogue = fake::catalogue();
        let message = |expression: &str| create(expression, &catalogue).unwrap_err().to_string();
        assert_eq!(
            message("files"),
            "\"files\" names no source and sink: write them with a slash between, such as files/repository"
        );
        assert_eq!(message("fiels/repository"), "unknown source \"fiels\": did you mean \"files\"?");
        assert_eq!(message("files/fliter/repository"), "unknown stage \"fliter\": did you mean \"filter\"?");
        assert_eq!(message("files/parquet/demo"), "\"parquet\" needs a sink that stores bytes, and \"demo\" does not");
        assert_eq!(
            message("files/jsonl/repository"),
            "a repository stores Parquet, and the codec stage says jsonl (use `codec: { parquet: {} }` here; a files sink takes every codec)"
        );
        assert_eq!(
            message("files/parquet/filter/repository"),
            "\"filter\" stands too late: the order is source, filter and transform, codec, encrypt, sink"
        );
    }
}
