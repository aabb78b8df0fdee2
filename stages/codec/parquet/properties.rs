//! How each column is stored.
//!
//! Floats of vectors are stored as BYTE_STREAM_SPLIT without a dictionary and without statistics (their bytes compress by plane; a minimum
//! of a vector's elements helps nobody). The id column has a bloom filter. The Arrow schema is embedded, so that every type and all field
//! metadata come back as they were.

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema};
use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use restow_core::record::{Role, Roles};
use restow_core::{EngineError, Result};

use super::super::options::{PageCompression, ParquetOptions};

/// Longest minimum or maximum that is kept of a text column, in bytes.
const STATISTICS_BYTES: usize = 64;
/// Share of ids that the bloom filter wrongly says may be there.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
/// Ids for which a bloom filter is laid out at most (2 MiB); it is folded down to what a row group really holds. It is laid out for no more than a
/// row group can hold: where that is a few thousand rows with vectors, to clear and fold megabytes costs more than the ids.
const BLOOM_MAX_IDS: u64 = 1 << 20;
/// Tables with more columns than this are written in plain encodings, to bound the memory of a writer.
const MAX_DICTIONARIES: usize = 512;

/// The properties with which a file of this schema is written, with so many rows in a row group at most.
///
/// # Errors
/// The compression level does not exist.
pub(super) fn writer_properties(options: &ParquetOptions, schema: &Schema, rows: usize) -> Result<WriterProperties> {
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("restow {}", env!("CARGO_PKG_VERSION")))
        .set_compression(compression(options)?)
        .set_max_row_group_row_count(Some(rows.max(1)))
        .set_statistics_truncate_length(Some(STATISTICS_BYTES))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES));
    // Every open column holds a dictionary and the buffers of its encoder, some hundred kilobytes: not in a table of
    // thousands of columns.
    let wide = schema.fields().len() > MAX_DICTIONARIES;
    if wide {
        builder = builder.set_dictionary_enabled(false);
    }
    let fast = fast_compression(options)?;
    let ids = u64::try_from(rows).unwrap_or(u64::MAX).clamp(1, BLOOM_MAX_IDS);
    let roles = Roles::of(schema);
    for field in schema.fields() {
        if !wide || matches!(field.data_type(), DataType::FixedSizeList(..)) {
            builder = encodings(builder, field, vec![field.name().clone()], Within::Row, fast);
        }
        if roles.get(field.name()) == Role::Id && bloom_type(field.data_type()) {
            let path = ColumnPath::new(vec![field.name().clone()]);
            if let Some(fast) = fast {
                builder = builder.set_column_compression(path.clone(), fast);
            }
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
                .set_column_bloom_filter_max_ndv(path, ids);
        }
    }
    Ok(builder.build())
}

/// What Parquet cannot hold: the first part of the type, in words.
pub(in crate::codec) fn unsupported(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Interval(IntervalUnit::MonthDayNano)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => Some(data_type.to_string()),
        DataType::Struct(fields) if fields.is_empty() => Some("a struct without fields".to_owned()),
        // parquet-rs reads back a list of length zero with its nulls gone.
        DataType::FixedSizeList(_, 0) => Some("vectors of dimension 0".to_owned()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => unsupported(item.data_type()),
        DataType::Struct(fields) => fields.iter().find_map(|field| unsupported(field.data_type())),
        DataType::Dictionary(_, value) => unsupported(value),
        _ => None,
    }
}

fn compression(options: &ParquetOptions) -> Result<Compression> {
    Ok(match options.compression {
        PageCompression::Zstd => {
            let level = i32::try_from(options.level.unwrap_or(3)).unwrap_or(i32::MAX);
            Compression::ZSTD(ZstdLevel::try_new(level).map_err(|_| no_level("zstd", level))?)
        }
        PageCompression::Gzip => {
            let level = options.level.unwrap_or(6);
            Compression::GZIP(GzipLevel::try_new(level).map_err(|_| no_level("gzip", level))?)
        }
        PageCompression::Lz4 => Compression::LZ4_RAW,
        PageCompression::Snappy => Compression::SNAPPY,
        PageCompression::None => Compression::UNCOMPRESSED,
    })
}

/// Where nobody chose a level, for what is noise and for what is nearly constant, as the planes of a vector's bytes and the digits of ids: zstd's
/// first level makes as much of them as the third, two to four times as fast.
fn fast_compression(options: &ParquetOptions) -> Result<Option<Compression>> {
    let is_default = options.compression == PageCompression::Zstd && options.level.is_none();
    is_default.then(|| compression(&ParquetOptions { level: Some(1), ..options.clone() })).transpose()
}

fn no_level(compression: &str, level: impl std::fmt::Display) -> EngineError {
    EngineError::usage(format!("codec parquet: {compression} has no level {level}"))
}

/// What a leaf stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Row,
    List,
    Vector,
}

/// Sets the encoding of every leaf below a field. The encoding of a leaf that keeps its dictionary is what it falls
/// back to when the dictionary grows too large.
fn encodings(
    builder: WriterPropertiesBuilder,
    field: &Field,
    path: Vec<String>,
    within: Within,
    fast: Option<Compression>,
) -> WriterPropertiesBuilder {
    match field.data_type() {
        DataType::FixedSizeList(item, _) => {
            let within = if item.data_type().is_floating() { Within::Vector } else { within };
            encodings(builder, item, below(path, &["list", item.name()]), within, fast)
        }
        DataType::List(item) | DataType::LargeList(item) => {
            let within = if within == Within::Vector { within } else { Within::List };
            encodings(builder, item, below(path, &["list", item.name()]), within, fast)
        }
        DataType::Struct(fields) => fields.iter().fold(builder, |builder, child| {
            encodings(builder, child, below(path.clone(), &[child.name()]), within, fast)
        }),
        leaf => {
            let path = ColumnPath::new(path);
            let builder = match fast {
                Some(fast) if within == Within::Vector => builder.set_column_compression(path.clone(), fast),
                _ => builder,
            };
            leaf_encoding(builder, leaf, path, within)
        }
    }
}

fn leaf_encoding(
    builder: WriterPropertiesBuilder,
    data_type: &DataType,
    path: ColumnPath,
    within: Within,
) -> WriterPropertiesBuilder {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 if within == Within::Vector => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path.clone(), Encoding::BYTE_STREAM_SPLIT)
            .set_column_statistics_enabled(path, EnabledStatistics::None),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            builder.set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT)
        }
        DataType::Int32
        | DataType::Int64
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Date32
        | DataType::Timestamp(..) => builder.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
        // Texts in lists are mostly unlike each other: lengths apart from bytes compress a quarter better than a
        // dictionary that overflows.
        DataType::Utf8 | DataType::LargeUtf8 if within == Within::List => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_LENGTH_BYTE_ARRAY),
        DataType::Utf8 | DataType::LargeUtf8 => builder.set_column_encoding(path, Encoding::DELTA_LENGTH_BYTE_ARRAY),
        _ => builder,
    }
}

fn below(mut path: Vec<String>, names: &[&str]) -> Vec<String> {
    path.extend(names.iter().map(|name| (*name).to_owned()));
    path
}

fn bloom_type(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary | DataType::FixedSizeBinary(_)
        )
}
