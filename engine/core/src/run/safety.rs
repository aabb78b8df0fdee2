//! Keeps what a run is about to overwrite or remove: a snapshot of its own, made once, before the first change.

use std::sync::Arc;

use restow_spec::catalogue::Kind;
use restow_spec::pipeline::{Component, Pipeline};
use serde_json::json;

use super::{RunRequest, run};
use crate::compile::Selection;
use crate::error::{EngineError, ExitClass, Result};
use crate::stage::{Database, ItemReceipt, PutBack, Work};

/// The phase and item under which its receipt is kept.
pub(super) const PHASE: &str = "safety";
const SERVER: &str = "server";

/// Makes the safety snapshot, unless nothing is endangered, none is wanted, or it is made.
pub(super) async fn keep(request: &RunRequest<'_>, database: &dyn Database, work: &Work) -> Result<()> {
    let Some(source) = database.endangered(work)? else { return Ok(()) };
    let Some(sink) = database.safety()? else { return Ok(()) };
    if work.receipt(PHASE, SERVER, PHASE).is_some() {
        return Ok(());
    }
    request.progress.say("keeping what is about to be overwritten: making the safety snapshot");
    let summary = nested(request, source, sink, "safety", &work.run)
        .await
        .map_err(|error| error.context("safety snapshot").with_hint("nothing was changed at the target"))?;
    let Some(snapshot) = summary
        .snapshot
        .clone()
        .filter(|_| summary.counts.rejected == 0 && summary.datasets.iter().all(|d| d.failure.is_none()))
    else {
        return Err(EngineError::new(ExitClass::Refused, "the safety snapshot is not whole")
            .with_hint("nothing was changed at the target; `safety: none` goes without one"));
    };
    request.progress.say(&format!("safety snapshot {snapshot}: {}", summary.report.made));
    record(work, &snapshot).await
}

/// Puts back what the safety snapshot of a run has of what the run changed.
pub(super) async fn put_back(
    request: &RunRequest<'_>,
    database: &dyn Database,
    work: &Work,
    wanted: PutBack,
) -> Result<()> {
    let kept = work.receipt(PHASE, SERVER, PHASE);
    let snapshot = kept.as_ref().and_then(|kept| kept.value.get("snapshot")?.as_str());
    let (Some(snapshot), Some(safety)) = (snapshot, database.safety()?) else {
        request.progress.say("what the run had overwritten cannot come back: it was run without a safety snapshot");
        return Ok(());
    };
    let mut options = safety.options.clone();
    if let Some(options) = options.as_object_mut() {
        options.insert("snapshot".to_owned(), json!(snapshot));
        let globs: Vec<String> = wanted.datasets.iter().map(|name| literal(name)).collect();
        options.insert("datasets".to_owned(), json!(globs));
    }
    let source = Component { kind: Kind::Source, options, ..safety };
    let summary = nested(request, source, wanted.sink, "undo", &work.run)
        .await
        .map_err(|error| error.context("putting back the safety snapshot"))?;
    request.progress.say(&format!("put back safety snapshot {snapshot}: {}", summary.report.made));
    Ok(())
}

/// A glob that stands for this name alone.
fn literal(name: &str) -> String {
    let mut glob = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '*' | '?' | '[' | '{' | '}' => glob.extend(['[', c, ']']),
            '\\' => glob.push_str("\\\\"),
            c => glob.push(c),
        }
    }
    glob
}

/// A run inside of a run, over the same connections.
pub(super) async fn nested(
    request: &RunRequest<'_>,
    source: Component,
    sink: Component,
    what: &str,
    of: &str,
) -> Result<super::RunSummary> {
    let outer = request.pipeline;
    let pipeline = Pipeline {
        name: format!("{} of {}", what, outer.name),
        source,
        sink,
        rows: Vec::new(),
        codec: None,
        encrypt: None,
        schedule: None,
        retention: None,
        verify: None,
        tests: Vec::new(),
        on_error: restow_spec::pipeline::OnError { retry: outer.on_error.retry.clone(), ..Default::default() },
        // Once for each run that it belongs to, and taken up with it.
        redacted: json!({ what: of }),
        ..outer.clone()
    };
    let inner = RunRequest {
        pipeline: &pipeline,
        registry: request.registry,
        context: request.context.clone(),
        selection: Selection::default(),
        fresh: false,
        progress: Arc::default(),
    };
    Box::pin(run(inner)).await
}

/// The receipt of the safety snapshot.
async fn record(work: &Work, snapshot: &str) -> Result<()> {
    let receipt = ItemReceipt {
        phase: PHASE.to_owned(),
        dataset: SERVER.to_owned(),
        item: PHASE.to_owned(),
        done: 1,
        rejected: 0,
        rejects: None,
        value: json!({ "snapshot": snapshot }),
    };
    let stored = restow_store::run_state::Receipt {
        phase: format!("item-{PHASE}"),
        dataset: SERVER.to_owned(),
        split: PHASE.to_owned(),
        n: 1,
        rows: 1,
        evidence: json!({ "item": receipt }),
        created: Some(chrono::Utc::now()),
        ..restow_store::run_state::Receipt::default()
    };
    work.state.put_receipt(&work.run, &stored).await?;
    work.add(receipt);
    Ok(())
}

#[cfg(test)]
mod tests {
    use globset::GlobBuilder;
    use proptest::prelude::*;

    use super::literal;

    fn matches(glob: &str, name: &str) -> bool {
        // As the source `repository` builds the globs of `datasets`.
        GlobBuilder::new(glob).literal_separator(false).build().unwrap().compile_matcher().is_match(name)
    }

    #[test]
    fn the_glob_of_a_name_stands_for_no_other() {
        for name in ["*", "a*b", "what?", "[ab]", "{a,b}", "a]", "a}", "!a", "[!a]", "back\\slash", "a/b", "Ünïcode"]
        {
            assert!(matches(&literal(name), name), "{name}: {}", literal(name));
            for other in ["", "a", "b", "ab", "a_b", "whats", "[a]", "backslash"] {
                assert!(!matches(&literal(name), other), "{name}: {} matches {other}", literal(name));
            }
        }
    }

    proptest! {
        #[test]
        fn any_name_is_matched_by_its_glob_alone(name in "[a-c*?\\[\\]{},!\\\\/-]{1,6}", other in "[a-c*?\\[\\]{},!\\\\/-]{1,6}") {
            prop_assert!(matches(&literal(&name), &name));
            prop_assert_eq!(matches(&literal(&name), &other), name == other);
        }
    }
}
