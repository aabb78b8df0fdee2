//! The repository as a source (restore, export, query) and as a sink (backup).

mod config;
mod read;
mod sink;
mod source;

use std::sync::Arc;

use restow_core::stage::Registry;
use restow_spec::catalogue::{ComponentInfo, Kind};
use restow_spec::pipeline::VerifyLevel;
use schemars::schema_for;

pub use config::{RepositoryConnection, RepositorySink, RepositorySource};

/// Adds the repository's connection, source and sink to the registry.
pub fn register(registry: &mut Registry) {
    registry.add_options(ComponentInfo {
        kind: Kind::Connection,
        name: config::NAME,
        summary: "a repository of snapshots on any object store",
        example: "url: s3://vector-backups/prod\nunlock: { key: \"${secret:env:RESTOW_KEY}\" }\n",
        schema: schema_for!(RepositoryConnection),
        byte_sink: false,
        codecs: None,
        verifies: &[],
        bytes_source: false,
        check: config::check_connection,
    });
    registry.add_source(
        ComponentInfo {
            kind: Kind::Source,
            name: config::NAME,
            summary: "reads the datasets of a snapshot",
            example: "connection: backups\nsnapshot: latest\n",
            schema: schema_for!(RepositorySource),
            byte_sink: false,
            codecs: None,
            verifies: &[],
            bytes_source: true,
            check: config::check_source,
        },
        Arc::new(source::Factory),
    );
    registry.add_sink(
        ComponentInfo {
            kind: Kind::Sink,
            name: config::NAME,
            summary: "writes one snapshot a run, committed once",
            example: "connection: backups\n",
            schema: schema_for!(RepositorySink),
            byte_sink: true,
            codecs: Some(&["parquet"]),
            verifies: &[VerifyLevel::Checksum, VerifyLevel::Sample, VerifyLevel::Read],
            bytes_source: false,
            check: config::check_sink,
        },
        Arc::new(sink::Factory),
    );
}
