//! Files: datasets as Parquet, JSON lines, JSON, Arrow IPC or CSV files on this machine or on any object store.
//!
//! The source reads files, folders, globs and exports of restow; the sink writes exports: `<dataset>/part-*` or
//! `<dataset>.<ext>`, and at the end `_restow_export.json`. CSV is only read. Tested with local folders and memory
//! stores; every store of `restow_store::location` works the same.

mod config;
mod error;
mod export;
mod find;
mod place;
mod sink;
mod source;
mod unlock;

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::sync::Arc;

use restow_core::stage::Registry;
use restow_spec::catalogue::{ComponentInfo, Kind};
use schemars::schema_for;

use config::{ConnectionOptions, SinkOptions, SourceOptions};
use restow_core::stage::OpenContext;
use restow_core::{EngineError, Result};
use restow_store::location::Location;

/// Adds the files source, sink and connection.
pub fn register(registry: &mut Registry) {
    registry.add_source(source_info(), Arc::new(source::FilesSourceFactory));
    registry.add_sink(sink_info(), Arc::new(sink::FilesSinkFactory));
    registry.add_options(connection_info());
}

fn source_info() -> ComponentInfo {
    ComponentInfo {
        kind: Kind::Source,
        name: "files",
        summary: "Parquet, JSON lines, JSON, Arrow IPC and CSV files: paths, store URLs, folders and globs",
        example: "path: examples/cities.jsonl.gz\nid: id\n",
        schema: schema_for!(SourceOptions),
        byte_sink: false,
        codecs: None,
        verifies: &[],
        bytes_source: true,
        check: config::check_source,
    }
}

fn sink_info() -> ComponentInfo {
    ComponentInfo {
        kind: Kind::Sink,
        name: "files",
        summary: "one folder with Parquet, JSON lines, JSON or Arrow IPC files of each dataset, optionally encrypted",
        example: "path: out/\nlayout: parts\npart_size: 1GiB\n",
        schema: schema_for!(SinkOptions),
        byte_sink: true,
        codecs: None,
        verifies: &[],
        bytes_source: false,
        check: config::check_sink,
    }
}

fn connection_info() -> ComponentInfo {
    ComponentInfo {
        kind: Kind::Connection,
        name: "files",
        summary: "a folder or bucket that files are read from or written to",
        example: "url: s3://lake/exports\nregion: eu-central-1\n",
        schema: schema_for!(ConnectionOptions),
        byte_sink: false,
        codecs: None,
        verifies: &[],
        bytes_source: false,
        check: config::check_connection,
    }
}

/// A folder that another stage reads files from, below a connection of this one where it names one; and as the user wrote it.
///
/// # Errors
/// It is no usable address, a glob, or there is no such connection.
pub(crate) fn folder(path: &str, connection: Option<&str>, context: &OpenContext) -> Result<(Location, String)> {
    let place = place::Place::open(path, connection, context)?;
    match place.glob {
        Some(_) => Err(EngineError::usage(format!("{path:?} names no folder: it holds *, ?, [ or {{"))),
        None => Ok((place.location, place.shown)),
    }
}

/// Lower-case hex digits.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}
