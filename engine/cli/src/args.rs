//! The arguments of every command, with their help.

mod catalog;
mod keys;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use restow_spec::units::ByteSize;

use crate::exit;
pub use catalog::{
    CatalogCommand, CatalogListArgs, CatalogQueryArgs, CatalogShowArgs, CatalogVerifyArgs, QueryFormat, VerifyLevel,
};
pub use keys::{
    DoctorArgs, KeyAddArgs, KeyCommand, KeyListArgs, KeyRecoveryArgs, KeyRemoveArgs, KeyRewrapArgs, KeyRotateArgs,
    NewSecretArgs, OtherSecretsArgs,
};

const EXAMPLES: &str = "\
Examples:
  restow run pipelines/quickstart.yaml
  restow catalog list
  restow catalog query latest \"SELECT name FROM cities LIMIT 5\"
  restow restore s3://vector-backups/prod --to out/ --key-file recovery.key

`restow COMMAND --help` tells more about each command.";

/// Back up, restore, migrate, export and query vector and graph databases as pipelines.
#[derive(Debug, Parser)]
#[command(name = "restow", version, after_help = EXAMPLES, after_long_help = long_help())]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

fn long_help() -> String {
    format!("{EXAMPLES}\n\n{}", exit::HELP)
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct Global {
    /// Print JSON lines on standard output, each with a "type"; the last is a summary with the exit code
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no status lines; warnings, errors and data are still printed
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Draw no progress bar: a status line every 30 s instead
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// The tool's settings [default: restow.yaml in the working directory, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run pipelines
    Run(RunArgs),
    /// Check pipeline files without a network
    Lint(LintArgs),
    /// Show what a run would do: stages, schemas, pushdown, splits, the next scheduled runs
    Plan(PlanArgs),
    /// Run the tests inside pipeline files
    Test(TestArgs),
    /// List the stages of this build, or explain one
    List(ListArgs),
    /// Print the JSON Schema of pipeline files
    Schema(SchemaArgs),
    /// Write a starter pipeline from an expression such as files/filter/repository
    Create(CreateArgs),
    /// Back up a database into a repository, without a pipeline file
    Backup(BackupArgs),
    /// Restore a snapshot with nothing but the repository and its key
    Restore(RestoreArgs),
    /// Move what one database has into another, without a pipeline file
    Migrate(MigrateArgs),
    /// Make a repository, or show what one is
    #[command(subcommand)]
    Repository(RepositoryCommand),
    /// List, show, query and verify snapshots
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// List, add, remove, rotate and rewrap the keys of an encrypted repository
    #[command(subcommand)]
    Key(KeyCommand),
    /// Check settings, repositories, keys, clock and disk; exit code 1 where something is wrong
    Doctor(DoctorArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print or write the manual pages
    Man(ManArgs),
}

/// Variables and limits of a pipeline.
#[derive(Debug, Clone, Default, Args)]
pub struct PipelineArgs {
    /// Set a variable of the pipeline; may be given several times
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    pub vars: Vec<(String, String)>,
    /// Memory that sorts, joins and writers may use, such as 512MiB [default: the pipeline's, else the settings', else 512MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<ByteSize>,
    /// Splits that are open at once [default: the pipeline's, else the settings', else the processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub parallel: Option<u32>,
}

impl PipelineArgs {
    /// The variables; of one that is given twice the last counts.
    pub fn vars(&self) -> BTreeMap<String, String> {
        self.vars.iter().cloned().collect()
    }
}

/// What of the source is wanted.
#[derive(Debug, Clone, Default, Args)]
pub struct SelectionArgs {
    /// Only the objects with these ids; may be given several times. Ids that are not found are named, exit code 3
    #[arg(long, value_name = "[DATASET/]ID,..")]
    pub objects: Vec<String>,
    /// Only these properties, and every column with a role (id, vector, ...)
    #[arg(long, value_name = "COLUMN,..")]
    pub properties: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restow run pipelines/quickstart.yaml
  restow run nightly.yaml --var collection=Article --dry-run sample
  restow run restore.yaml --objects cities/42,43 --properties name,population

A run that was interrupted is taken up by the same command; --fresh abandons it first.")]
pub struct RunArgs {
    /// Pipeline files, run one after the other; a file that fails stops the rest
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Stop early: after checking the file (static), after connecting and planning (connect), or after reading some rows
    /// and writing none (sample)
    #[arg(long, value_name = "LEVEL")]
    pub dry_run: Option<DryRun>,
    /// Rows of each dataset that a sample reads
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub sample_limit: u64,
    /// Abandon an unfinished run of this pipeline instead of taking it up
    #[arg(long)]
    pub fresh: bool,
    /// Answer yes to every question
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Check the file
    Static,
    /// Connect, and plan
    Connect,
    /// Read some rows through the whole plan
    Sample,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restow lint pipelines examples README.md
  restow lint 'pipelines/**/*.yaml' --deny-warnings --format github

Exit code 2 where a file has an error.")]
pub struct LintArgs {
    /// Files, folders (searched for YAML and Markdown) or globs; in Markdown, fenced YAML blocks are checked
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// How problems are printed
    #[arg(long, value_enum, default_value_t = LintFormat::Text)]
    pub format: LintFormat,
    /// Treat warnings as errors
    #[arg(long)]
    pub deny_warnings: bool,
    /// Set a variable of the pipelines
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    pub vars: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// The line, a caret and help
    Text,
    /// JSON lines
    Json,
    /// Annotations of GitHub Actions
    Github,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  restow plan pipelines/quickstart.yaml")]
pub struct PlanArgs {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Print DataFusion's physical plan too
    #[arg(long)]
    pub physical: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  restow test pipelines\n\nExit code 1 where a test fails, or none was found.")]
pub struct TestArgs {
    /// Files, folders or globs
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// Do not fail where no test is found
    #[arg(long)]
    pub allow_empty: bool,
    /// Set a variable of the pipelines
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    pub vars: Vec<(String, String)>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  restow list\n  restow list source\n  restow list files")]
pub struct ListArgs {
    /// A kind (source, filter, transform, reshape, codec, encrypt, sink, connection) or the name of a stage
    #[arg(value_name = "KIND|NAME")]
    pub what: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restow schema > pipeline.schema.json
  restow schema --write schemas")]
pub struct SchemaArgs {
    /// Write pipeline.schema.json and one schema a component into this folder
    #[arg(long, value_name = "DIR")]
    pub write: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restow create files/filter/repository
  restow create files/transform/parquet/aes-256-gcm/repository --output nightly.yaml")]
pub struct CreateArgs {
    /// Source, what comes between, and sink, with slashes between
    #[arg(value_name = "EXPRESSION")]
    pub expression: String,
    /// Write it to a new file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restow backup DB://localhost:8080 s3://vector-backups/prod --key-file prod.key
  restow backup DB://localhost:8080 backups --create --key-file prod.key --from 'collections=[Doc, \"A*\"]'
  restow backup DB://localhost:8080 backups --print > backup.yaml

DB is the name of a database as `restow list` has it. The key of an encrypted repository is taken from --key-file, else from RESTOW_KEY; that of
the database from DB_API_KEY, in capitals. Options of the source and of its connection are those of a pipeline file: `restow list DB` explains them.")]
pub struct BackupArgs {
    /// The database: DB://host:port
    #[arg(value_name = "DATABASE")]
    pub source: String,
    /// The repository: a path or a store URL
    #[arg(value_name = "REPOSITORY")]
    pub repository: String,
    /// Set an option of the source or of its connection, as in a pipeline file; may be given several times
    #[arg(long, value_name = "OPTION=VALUE", value_parser = variable)]
    pub from: Vec<(String, String)>,
    /// The file with the key of the repository
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Make the repository, and the key file, where there is none
    #[arg(long)]
    pub create: bool,
    /// Print the pipeline that this command stands for, and do nothing
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restow migrate DB://old:8080 DB://new:8080
  restow migrate DB://old:8080 DB://new:8080 --from 'collections=[Doc]' --into 'rename={ Doc: Article }'
  restow migrate DB://old:8080 DB://new:8080 --into 'api_key=\"${secret:env:NEW_KEY}\"' --print > migrate.yaml

DB is the name of a database as `restow list` has it. Nothing that is at the target is overwritten unless --into says so: `restow list DB`
explains the options.")]
pub struct MigrateArgs {
    /// The database to read: DB://host:port
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The database to write: DB://host:port
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Set an option of the source or of its connection, as in a pipeline file; may be given several times
    #[arg(long, value_name = "OPTION=VALUE", value_parser = variable)]
    pub from: Vec<(String, String)>,
    /// Set an option of the target or of its connection
    #[arg(long = "into", value_name = "OPTION=VALUE", value_parser = variable)]
    pub into: Vec<(String, String)>,
    /// Do not read back and compare what the database was given, row by row
    #[arg(long)]
    pub no_verify: bool,
    /// Print the pipeline that this command stands for, and do nothing
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  restow restore backups --to out/
  restow restore s3://vector-backups/prod --to out/ --key-file recovery.key --snapshot 20260131T023000Z-k7q2mzx4ab --yes
  restow restore backups --to DB://localhost:8080 --into 'rename={ Doc: DocRestored }'
  restow restore backups --to out/ --print > restore.yaml

Needs no pipeline, no settings and no catalog. The key, or the recovery key, is taken from --key-file, else from the
environment variable RESTOW_KEY, else from a file beside a local repository (backups.key for backups), else a
terminal is asked for it.")]
pub struct RestoreArgs {
    /// The repository: a path or a store URL
    #[arg(value_name = "URL")]
    pub url: String,
    /// The folder or store URL to write to, which must not hold an export yet; or a database
    #[arg(long, value_name = "TARGET")]
    pub to: String,
    /// Set an option of the target database, as in a pipeline file; may be given several times
    #[arg(long = "into", value_name = "OPTION=VALUE", value_parser = variable)]
    pub into: Vec<(String, String)>,
    /// A snapshot id, a unique beginning of one, or `latest`
    #[arg(long, default_value = "latest")]
    pub snapshot: String,
    /// A file with the key or the recovery key
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// A file with the passphrase; one line end at its end is not a part of it
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    pub passphrase_file: Option<PathBuf>,
    /// Restore a snapshot in which datasets failed; they are named
    #[arg(long)]
    pub allow_partial: bool,
    /// Do not read back and compare what the database was given, row by row
    #[arg(long)]
    pub no_verify: bool,
    /// Print the pipeline that this command stands for, and do nothing
    #[arg(long)]
    pub print: bool,
    /// Do not ask; needed where there is no terminal
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum RepositoryCommand {
    /// Make a repository where there is none
    #[command(after_help = "\
Examples:
  restow repository create s3://vector-backups/prod --key-file prod.key --create-key --recovery-key-file recovery.key
  restow repository create backups --key-file prod.key

The key is taken from --key-file, else from RESTOW_KEY. Encryption is fixed when a repository is made: without a key
it is plain for ever.")]
    Create(RepositoryCreateArgs),
    /// Show what a repository is and what it holds
    Info(RepositoryInfoArgs),
}

#[derive(Debug, Args)]
pub struct RepositoryCreateArgs {
    /// Where to make it: a path or a store URL
    #[arg(value_name = "URL")]
    pub url: String,
    /// The file with the key
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Make the key file (mode 0600) where it does not exist
    #[arg(long, requires = "key_file")]
    pub create_key: bool,
    /// Write the recovery key to this new file instead of showing it once
    #[arg(long, value_name = "FILE")]
    pub recovery_key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RepositoryInfoArgs {
    /// A path, a store URL, or a repository of the settings [default: as for `catalog`]
    #[arg(value_name = "URL|NAME")]
    pub url: Option<String>,
    /// A file with the key or the recovery key
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// A file with the passphrase; one line end at its end is not a part of it
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    pub passphrase_file: Option<PathBuf>,
}

/// Which repository.
#[derive(Debug, Clone, Default, Args)]
pub struct RepositoryArgs {
    /// The repository: a connection of the settings, a path or a store URL [default: default_repository of the
    /// settings, RESTOW_REPOSITORY, else the only repository in the settings]
    #[arg(short, long, value_name = "URL|NAME")]
    pub repository: Option<String>,
    /// A file with the key or the recovery key [default: that of the settings, else RESTOW_KEY]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// A file with the passphrase; one line end at its end is not a part of it
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  restow completions bash > ~/.local/share/bash-completion/completions/restow")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write one page a command into this folder
    #[arg(long, value_name = "DIR")]
    pub write: Option<PathBuf>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a variable is given as name=value".to_owned()),
    }
}

fn size(text: &str) -> Result<ByteSize, String> {
    ByteSize::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn variables_and_sizes() {
        assert_eq!(variable("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(variable("=b").is_err() && variable("a").is_err());
        assert_eq!(size("1MiB"), Ok(ByteSize(1 << 20)));
        let cli = Cli::try_parse_from(["restow", "run", "a.yaml", "--var", "x=1", "--var", "x=2", "--json"]).unwrap();
        let Command::Run(run) = cli.command else { panic!("another command") };
        assert_eq!(run.pipeline.vars()["x"], "2");
        assert!(cli.global.json);
    }
}
