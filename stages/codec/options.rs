//! The options of the codec stage, as a pipeline file writes them.

use restow_spec::catalogue::Problem;
use restow_spec::units::ByteSize;
use schemars::JsonSchema;
use serde::Deserialize;

/// `codec: { parquet: { .. } }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParquetOptions {
    /// Compression of the pages. Default: zstd.
    pub compression: PageCompression,
    /// Compression level: zstd 1 to 22, gzip 0 to 9; the others have none. Default: zstd 3, and 1 for ids and vectors; gzip 6.
    pub level: Option<u32>,
    /// Size of a row group before encoding, as Arrow bytes; it bounds the memory of the writer. Smaller where `memory` has no room for it.
    /// Default: 8MiB for a table with vectors, 64MiB for any other. Minimum: 1MiB.
    pub row_group: Option<ByteSize>,
    /// Rows of a row group at most. Default: 1048576. Minimum: 1.
    #[schemars(range(min = 1))]
    pub max_rows: u64,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self { compression: PageCompression::Zstd, level: None, row_group: None, max_rows: 1 << 20 }
    }
}

/// Compression inside Parquet pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PageCompression {
    /// Zstandard.
    #[default]
    Zstd,
    /// LZ4, the raw block format.
    Lz4,
    /// Gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// None.
    None,
}

/// `codec: { jsonl: { .. } }`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonLinesOptions {
    /// Compression of the file. Default: none.
    pub compression: StreamCompression,
    /// Compression level: zstd 1 to 22, gzip 0 to 9; the others have none. Default: zstd 3, gzip 6.
    pub level: Option<u32>,
}

/// `codec: { json: { .. } }`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonOptions {
    /// Compression of the file. Default: none.
    pub compression: StreamCompression,
    /// Compression level: zstd 1 to 22, gzip 0 to 9; the others have none. Default: zstd 3, gzip 6.
    pub level: Option<u32>,
}

/// Compression of a whole file of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StreamCompression {
    /// None.
    #[default]
    None,
    /// Gzip, ending `.gz`.
    Gzip,
    /// Zstandard, ending `.zst`.
    Zstd,
    /// LZ4 frames, ending `.lz4`.
    Lz4,
}

/// `codec: { arrow: { .. } }`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArrowOptions {
    /// Compression of the buffers. Default: zstd.
    pub compression: BufferCompression,
    /// The layout: `file` (random access, ending `.arrow`) or `stream` (ending `.arrows`). Default: file.
    pub format: ArrowFormat,
}

/// Compression inside Arrow record batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BufferCompression {
    /// Zstandard.
    #[default]
    Zstd,
    /// LZ4 frames.
    Lz4,
    /// None.
    None,
}

/// The two layouts of Arrow IPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArrowFormat {
    /// With a footer, for random access.
    #[default]
    File,
    /// One message after the other.
    Stream,
}

impl ParquetOptions {
    /// What the schema cannot say.
    pub fn problems(&self) -> Vec<Problem> {
        let levels = match self.compression {
            PageCompression::Zstd => Some((1, 22)),
            PageCompression::Gzip => Some((0, 9)),
            PageCompression::Lz4 | PageCompression::Snappy | PageCompression::None => None,
        };
        let mut problems = level_problems(self.level, levels, &format!("{:?}", self.compression).to_lowercase());
        if let Some(small) = self.row_group.filter(|size| size.bytes() < 1 << 20) {
            problems.push(
                Problem::new("/row_group", format!("row groups of {small} are too small"))
                    .with_help("use at least 1MiB; the default is 8MiB for a table with vectors, 64MiB for any other"),
            );
        }
        problems
    }
}

/// Problems of the options of `jsonl` and `json`.
pub(super) fn stream_problems(compression: StreamCompression, level: Option<u32>) -> Vec<Problem> {
    let levels = match compression {
        StreamCompression::Zstd => Some((1, 22)),
        StreamCompression::Gzip => Some((0, 9)),
        StreamCompression::Lz4 | StreamCompression::None => None,
    };
    level_problems(level, levels, &format!("{compression:?}").to_lowercase())
}

fn level_problems(level: Option<u32>, levels: Option<(u32, u32)>, compression: &str) -> Vec<Problem> {
    let problem = match (level, levels) {
        (None, _) => return Vec::new(),
        (Some(level), Some((low, high))) if (low..=high).contains(&level) => return Vec::new(),
        (Some(level), Some((low, high))) => Problem::new("/level", format!("{compression} has no level {level}"))
            .with_help(format!("use a level from {low} to {high}")),
        (Some(_), None) => Problem::new("/level", format!("the compression {compression:?} has no levels"))
            .with_help("leave `level` out, or use zstd or gzip"),
    };
    vec![problem]
}
