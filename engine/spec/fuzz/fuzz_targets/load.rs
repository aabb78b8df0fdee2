//! No bytes make loading a pipeline file panic or hang.
//!
//! `cargo +nightly fuzz run load` in `engine/spec`; the corpus begins with files that hold every kind of mistake.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use restow_spec::{Catalogue, ComponentInfo, Kind, LoadOptions, Secret, diagnostic, load, load_markdown, schema};
use schemars::JsonSchema;

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code)]
struct Options {
    connection: Option<String>,
    path: Option<String>,
    url: Option<String>,
    api_key: Option<Secret>,
    level: Option<u32>,
    names: Option<Vec<String>>,
    choice: Option<Choice>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[allow(dead_code)]
enum Choice {
    One,
    Other(BTreeMap<String, f64>),
}

fn catalogue() -> Catalogue {
    let info = |kind, name| ComponentInfo {
        kind,
        name,
        summary: "for fuzzing",
        example: "{}",
        schema: schema::schema_of::<Options>(),
        byte_sink: name == "files",
        bytes_source: false,
        check: |_| Vec::new(),
    };
    [
        info(Kind::Connection, "demo"),
        info(Kind::Connection, "repository"),
        info(Kind::Source, "files"),
        info(Kind::Source, "demo"),
        info(Kind::Codec, "parquet"),
        info(Kind::Encrypt, "aes-256-gcm"),
        info(Kind::Sink, "files"),
        info(Kind::Sink, "demo"),
    ]
    .into_iter()
    .collect()
}

thread_local! {
    static CATALOGUE: Catalogue = catalogue();
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let env = BTreeMap::from([("HOST".to_owned(), "h".to_owned())]);
    let vars = BTreeMap::new();
    CATALOGUE.with(|catalogue| {
        let options = LoadOptions { catalogue, env: &env, vars: &vars, unset_is_error: false };
        let (_, found) = load("p.yaml", &text, &options);
        for one in &found {
            let _ = (one.to_string(), diagnostic::json(one), diagnostic::github(one));
        }
        load_markdown("p.md", &text, &options);
    });
});
