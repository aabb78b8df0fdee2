//! Whole runs through the engine, with the real stages: files to a repository and back.

mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use restow_core::compile::Selection;
use restow_core::progress::Progress;
use restow_core::run::{RunRequest, RunSummary, run};
use restow_core::stage::OpenContext;
use restow_spec::environment::ProcessEnvironment;
use restow_spec::load::{LoadOptions, load};

async fn run_text(directory: &Path, text: &str, selection: Selection) -> restow_core::Result<RunSummary> {
    let registry = crate::registry();
    let vars = BTreeMap::new();
    let options =
        LoadOptions { catalogue: registry.catalogue(), env: &ProcessEnvironment, vars: &vars, unset_is_error: true };
    let (pipeline, diagnostics) = load("test.yaml", text, &options);
    let pipeline = pipeline.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    let context = OpenContext {
        connections: Arc::new(pipeline.connections.clone()),
        environment: Arc::new(ProcessEnvironment),
        directory: directory.to_path_buf(),
        now: Utc::now(),
        parallel: 2,
        memory: 512 << 20,
        anchors: None,
    };
    let progress = Arc::new(Progress::default());
    let request = RunRequest {
        pipeline: &pipeline,
        registry: &registry,
        context,
        selection,
        fresh: false,
        progress: Arc::clone(&progress),
    };
    run(request).await
}

const BACKUP: &str = r#"
version: 1
name: backup
stages:
  - source: { files: { path: in.jsonl, id: id } }
  - filter: "n >= 2"
  - codec: { parquet: {} }
  - encrypt: { aes-256-gcm: { key_file: key, create: true } }
  - sink: { repository: { url: repo, create: if_missing } }
"#;

const RESTORE: &str = r#"
version: 1
name: restore
stages:
  - source: { repository: { url: repo, unlock: { key_file: key } } }
  - codec: { jsonl: {} }
  - sink: { files: { path: out, layout: single } }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_backed_up_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..10)
        .map(|n| format!(r#"{{"id":"a{n}","n":{n},"text":"line {n}","vector":[0.5,1.5,-2.25,{n}.125]}}"#))
        .collect();
    std::fs::write(directory.path().join("in.jsonl"), lines.join("\n") + "\n").unwrap();
    let summary = run_text(directory.path(), BACKUP, Selection::default()).await.unwrap();
    assert_eq!((summary.counts.scanned, summary.counts.filtered, summary.counts.written), (10, 2, 8));
    let summary = run_text(directory.path(), RESTORE, Selection::default()).await.unwrap();
    assert_eq!((summary.counts.scanned, summary.counts.written), (8, 8));
    let restored = std::fs::read_to_string(directory.path().join("out/in.jsonl")).unwrap();
    assert_eq!(restored, lines[2..].join("\n") + "\n");
}
