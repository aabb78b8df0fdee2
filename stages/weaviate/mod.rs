//! Weaviate as a source (backup, export, query) and as a sink (restore, import). Facts about the server: its own sources at the
//! versions 1.27 to 1.39, and experiments with them.

mod address;
mod backup;
mod class;
mod client;
mod columns;
mod config;
mod decode;
mod export;
mod health;
mod lengths;
mod native;
mod rows;
mod sink;
mod source;
mod tenants;

use std::sync::Arc;

use restow_core::stage::Registry;
use restow_spec::catalogue::{ComponentInfo, Kind};
use restow_spec::pipeline::VerifyLevel;
use schemars::schema_for;

/// Adds Weaviate's connection, its sources, its sink and the layout of its exports to the registry.
pub fn register(registry: &mut Registry) {
    registry.add_options(ComponentInfo {
        kind: Kind::Connection,
        name: config::NAME,
        summary: "a Weaviate server or cluster, 1.27 or newer",
        example: "url: http://localhost:8080\napi_key: \"${secret:env:WEAVIATE_API_KEY}\"\n",
        schema: schema_for!(config::WeaviateConnection),
        byte_sink: false,
        codecs: None,
        verifies: &[],
        bytes_source: false,
        check: config::check_connection,
    });
    register_sources(registry);
    registry.add_options(ComponentInfo {
        kind: Kind::Reshape,
        name: export::NAME,
        summary: "the columns of Weaviate's own export, for Parquet files that are read as one",
        example: "{}\n",
        schema: schema_for!(export::LayoutOptions),
        byte_sink: false,
        codecs: None,
        verifies: &[],
        bytes_source: false,
        check: |_| Vec::new(),
    });
    registry.add_row_stage(Arc::new(export::Layout));
    registry.add_sink(
        ComponentInfo {
            kind: Kind::Sink,
            name: config::NAME,
            summary: "writes collections: definitions, tenants, objects, vectors, references and aliases",
            example: "connection: server\nrename: { Doc: DocRestored }\n",
            schema: schema_for!(config::SinkOptions),
            byte_sink: false,
            codecs: None,
            verifies: &[VerifyLevel::Rows],
            bytes_source: false,
            check: config::check_sink,
        },
        Arc::new(sink::Factory),
    );
}

fn register_sources(registry: &mut Registry) {
    registry.add_source(
        ComponentInfo {
            kind: Kind::Source,
            name: config::NAME,
            summary: "reads collections with all their objects, vectors, tenants and definitions",
            example: "connection: server\ncollections: [\"A*\", Doc]\n",
            schema: schema_for!(config::SourceOptions),
            byte_sink: false,
            codecs: None,
            verifies: &[],
            bytes_source: false,
            check: config::check_source,
        },
        Arc::new(source::Factory),
    );
    registry.add_source(
        ComponentInfo {
            kind: Kind::Source,
            name: backup::NAME,
            summary: "reads a backup that Weaviate itself has made, from its files, without a server",
            example: "path: backups/nightly\n",
            schema: schema_for!(backup::BackupOptions),
            byte_sink: false,
            codecs: None,
            verifies: &[],
            bytes_source: true,
            check: backup::check,
        },
        Arc::new(backup::Factory),
    );
    registry.add_source(
        ComponentInfo {
            kind: Kind::Source,
            name: export::NAME,
            summary: "reads an export that Weaviate itself has made, from its Parquet files, without a server",
            example: "path: exports/nightly\ndefinitions: schema.json\n",
            schema: schema_for!(export::ExportOptions),
            byte_sink: false,
            codecs: None,
            verifies: &[],
            bytes_source: false,
            check: export::check,
        },
        Arc::new(export::Factory),
    );
}
