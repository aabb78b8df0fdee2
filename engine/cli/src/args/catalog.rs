//! The arguments of `restow catalog`.

use clap::{Args, Subcommand, ValueEnum};
use restow_spec::units::ByteSize;
use restow_store::repository::verify::Part;

use super::{RepositoryArgs, size};

#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// List the snapshots of a repository, oldest first
    List(CatalogListArgs),
    /// Show one snapshot: datasets, rows, bytes, columns, where it comes from
    Show(CatalogShowArgs),
    /// Query a snapshot by SQL; each dataset is a table of its exact name
    #[command(after_help = "\
Examples:
  restow catalog query latest \"SELECT country, count(*) AS n FROM cities GROUP BY country ORDER BY n DESC\"
  restow catalog query latest 'SELECT \"createdDate\" FROM \"Article\"' --format csv

Names are case-sensitive; names that are not identifiers are quoted.")]
    Query(CatalogQueryArgs),
    /// Prove that what snapshots name is what was written; exit code 4 where data is not, 13 where metadata is not
    #[command(after_help = "\
Levels:
  checksum  reads all stored bytes and compares them with what was written; needs no key, but finds more with it
  sample    all metadata, headers and lengths, and one part of the data: 30 parts that take turns by the day, or --part
  read      checksum, and decrypts and decodes every row

Examples:
  restow catalog verify -r s3://vector-backups/prod
  restow catalog verify latest --level read
  restow catalog verify --level sample --part 3/10

Every finding names the object, the stored bytes, and with the key the dataset and the rows that are concerned.")]
    Verify(CatalogVerifyArgs),
}

#[derive(Debug, Args)]
pub struct CatalogListArgs {
    #[command(flatten)]
    pub repository: RepositoryArgs,
}

#[derive(Debug, Args)]
pub struct CatalogShowArgs {
    /// A snapshot id, a unique beginning of one, or `latest`
    #[arg(default_value = "latest")]
    pub snapshot: String,
    #[command(flatten)]
    pub repository: RepositoryArgs,
}

#[derive(Debug, Args)]
pub struct CatalogQueryArgs {
    /// A snapshot id, a unique beginning of one, or `latest`
    pub snapshot: String,
    /// One SELECT
    pub sql: String,
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t = QueryFormat::Table)]
    pub format: QueryFormat,
    /// Memory that sorts, joins and aggregates may use, such as 512MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<ByteSize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueryFormat {
    /// Aligned columns, long vectors shortened
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Args)]
pub struct CatalogVerifyArgs {
    /// Snapshot ids, unique beginnings of one, or `latest` [default: every snapshot]
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// How deep
    #[arg(long, value_enum, default_value_t = VerifyLevel::Checksum)]
    pub level: VerifyLevel,
    /// The part of a sample: N of T parts, or only T for the one whose turn it is today [default: 30]
    #[arg(long, value_name = "N/T")]
    pub part: Option<Part>,
    /// Use no key, though there is one: for a machine that must not have it
    #[arg(long, conflicts_with_all = ["key_file", "passphrase_file"])]
    pub no_key: bool,
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// Objects that are read at once [default: the settings', else the processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub parallel: Option<u32>,
    /// Memory that decoding may use, such as 512MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<ByteSize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyLevel {
    /// All stored bytes against their digests
    Checksum,
    /// One part of the data, which takes turns
    Sample,
    /// All stored bytes, and every row decoded
    Read,
}

impl VerifyLevel {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Sample => "sample",
            Self::Read => "read",
        }
    }
}
