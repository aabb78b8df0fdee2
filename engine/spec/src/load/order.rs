//! Which stage may stand where: one source, row stages, codec, encrypt, one sink.

use serde_json::Value;

use super::{Context, only_entry};
use crate::catalogue::{ComponentInfo, Kind};
use crate::finding::Finding;
use crate::yaml::escape;

/// A stage of the chain with a known key.
struct Stage<'a> {
    key: &'a str,
    pointer: String,
    value: &'a Value,
}

/// Row stages come before byte stages; a codec before the encryption that seals what it made.
fn rank(key: &str) -> u8 {
    match key {
        "source" => 0,
        "filter" | "transform" | "reshape" => 1,
        "codec" => 2,
        "encrypt" => 3,
        _ => 4,
    }
}

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    if !context.value.get("stages").is_some_and(Value::is_array) {
        return Vec::new();
    }
    let list = context.stages();
    let known = ["source", "filter", "transform", "reshape", "codec", "encrypt", "sink"];
    let mut stages = Vec::new();
    for (index, item) in list.iter().enumerate() {
        if let Some((key, value)) = only_entry(item).filter(|(key, _)| known.contains(key)) {
            stages.push(Stage { key, pointer: format!("/stages/{index}/{key}"), value });
        }
    }
    let mut findings = Vec::new();
    // A stage with a misspelt key may be the source or the sink that is missed.
    let all_known = stages.len() == list.len();
    for (key, code) in [("source", "E301"), ("sink", "E302")] {
        if all_known && !stages.iter().any(|stage| stage.key == key) {
            let kind = if key == "source" { Kind::Source } else { Kind::Sink };
            findings.push(missing(context, key, code, kind));
        }
    }
    findings.extend(repeated(context, &stages));
    findings.extend(misplaced(context, &stages));
    findings.extend(byte_stages(context, &stages));
    findings.extend(refused_codecs(context, &stages));
    findings
}

fn missing(context: &Context<'_>, key: &str, code: &'static str, kind: Kind) -> Finding {
    let name = context.catalogue.names(kind).next().unwrap_or("files");
    let place = if key == "source" { "first" } else { "last" };
    Finding::new(code, context.document.key_place("/stages"), format!("the pipeline has no {key}"))
        .help(format!("the {place} stage must be a {key}, such as: - {key}: {{ {name}: {{ ... }} }}"))
}

fn repeated(context: &Context<'_>, stages: &[Stage<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let once = matches!(stage.key, "source" | "codec" | "encrypt" | "sink");
        let first = stages.iter().take(index).find(|earlier| earlier.key == stage.key);
        if let Some(first) = first.filter(|_| once) {
            let line = context.document.locate(&first.pointer).0;
            let message = format!("a second {}: a pipeline has one", stage.key);
            let place = context.document.key_place(&stage.pointer);
            findings.push(Finding::new("E304", place, message).help(format!("the first is at line {line}")));
        }
    }
    findings
}

fn misplaced(context: &Context<'_>, stages: &[Stage<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut highest: Option<&Stage<'_>> = None;
    for (index, stage) in stages.iter().enumerate() {
        let doubled = matches!(stage.key, "source" | "codec" | "encrypt" | "sink")
            && stages.iter().take(index).any(|earlier| earlier.key == stage.key);
        if doubled {
            continue;
        }
        match highest {
            Some(before) if rank(stage.key) < rank(before.key) => {
                let rule = match stage.key {
                    "source" => "the source is the first stage",
                    _ if before.key == "sink" => "the sink is the last stage",
                    "codec" => "a codec stands before encrypt",
                    "reshape" => "layouts are made of rows, before codec and encrypt",
                    _ => "filters and transforms work on rows and stand before codec and encrypt",
                };
                let line = context.document.locate(&before.pointer).0;
                let message = format!("{} may not stand after {}: {rule}", stage.key, before.key);
                let help = format!("move it before the {} at line {line}", before.key);
                findings.push(Finding::new("E303", context.document.key_place(&stage.pointer), message).help(help));
            }
            _ => highest = Some(stage),
        }
    }
    findings
}

/// Codecs that the sink does not take.
fn refused_codecs(context: &Context<'_>, stages: &[Stage<'_>]) -> Vec<Finding> {
    let Some(sink) = sink(context, stages).filter(|info| info.byte_sink) else {
        return Vec::new();
    };
    let codecs = stages.iter().filter(|stage| stage.key == "codec");
    let named = codecs.filter_map(|stage| only_entry(stage.value).map(|(name, _)| (stage, name)));
    named
        .filter(|(_, name)| context.catalogue.get(Kind::Codec, name).is_some())
        .filter_map(|(stage, name)| {
            let problem = context.catalogue.refused_codec(sink, name)?;
            let place = context.document.key_place(&format!("{}/{}", stage.pointer, escape(name)));
            Some(Finding::new("E305", place, problem.message).maybe_help(problem.help))
        })
        .collect()
}

/// What is known of the pipeline's sink, wherever it stands.
pub(super) fn sink_of<'a>(context: &Context<'a>) -> Option<&'a ComponentInfo> {
    let mut sinks = context.stages().iter().rev().filter_map(only_entry).filter(|(key, _)| *key == "sink");
    let (name, _) = only_entry(sinks.next()?.1)?;
    context.catalogue.get(Kind::Sink, name)
}

/// What is known of the pipeline's sink.
fn sink<'a>(context: &Context<'a>, stages: &[Stage<'_>]) -> Option<&'a ComponentInfo> {
    let stage = stages.iter().rev().find(|stage| stage.key == "sink")?;
    let (name, _) = only_entry(stage.value)?;
    context.catalogue.get(Kind::Sink, name)
}

fn byte_stages(context: &Context<'_>, stages: &[Stage<'_>]) -> Vec<Finding> {
    let Some(info) = sink(context, stages).filter(|info| !info.byte_sink) else {
        return Vec::new();
    };
    let able: Vec<&str> = context
        .catalogue
        .iter()
        .filter(|other| other.kind == Kind::Sink && other.byte_sink)
        .map(|other| other.name)
        .collect();
    let help = format!("remove the stage, or write to a sink that stores bytes: {}", able.join(", "));
    let bytes = stages.iter().filter(|stage| matches!(stage.key, "codec" | "encrypt"));
    bytes
        .map(|stage| {
            let message = format!("{} needs a sink that stores bytes, and {:?} does not", stage.key, info.name);
            Finding::new("E305", context.document.key_place(&stage.pointer), message).help(help.clone())
        })
        .collect()
}
