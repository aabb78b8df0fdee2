//! The one error of the command line: what to print and which code to end with.

use std::path::PathBuf;

use restow_core::EngineError;
use restow_spec::create::CreateError;
use restow_spec::diagnostic::Diagnostic;
use restow_spec::pipeline::Pipeline;
use restow_spec::settings::SettingsError;
use restow_store::location::LocationError;
use restow_store::repository::RepositoryError;

use crate::exit;

/// The code of what the engine finds in a pipeline once it is connected.
const ENGINE_CODE: &str = "E701";

/// What is said where a store or server stayed away.
const AGAIN: &str = "what was committed is untouched; run the same command again: it goes on where it stopped";

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Arguments that clap refuses, in its words.
    #[error("{}", .0.trim_start_matches("error: ").trim_end())]
    Arguments(String),
    /// Arguments that do not go together, or a value that is not one.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// A pipeline has errors, which were printed.
    #[error("{errors} in {files}: nothing was run")]
    Diagnostics {
        /// `2 errors`.
        errors: String,
        /// The files.
        files: String,
    },
    /// An error of the engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An error of the engine with its place in the pipeline file.
    #[error("{}", .diagnostic.message)]
    Placed {
        /// The message at its place.
        diagnostic: Box<Diagnostic>,
        /// The exit code.
        code: u8,
    },
    /// A repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A store address.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A starter.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A file that was named could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Standard output could not be written.
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    /// A terminal was asked and did not answer.
    #[error("cannot read the answer from the terminal: {0}")]
    Terminal(std::io::Error),
    /// The system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// Something that was named is not there.
    #[error("{message}")]
    NotFound {
        /// What is missing.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Refused for safety.
    #[error("{message}")]
    Refused {
        /// What was not done.
        message: String,
        /// How to have it done.
        hint: String,
    },
    /// No key for an encrypted repository.
    #[error("{url} is encrypted and no key was given; no data was changed")]
    NoKey {
        /// The repository.
        url: String,
    },
    /// A store did not answer in time.
    #[error("{url} did not answer within {seconds} s")]
    NoAnswer {
        /// The address.
        url: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// `restow doctor` found something, which was printed.
    #[error("doctor found {errors}; no data was changed")]
    Unhealthy {
        /// `2 errors`.
        errors: String,
    },
    /// Verification found something, which was printed.
    #[error("{message}")]
    Verification {
        /// What is not what was written.
        message: String,
        /// 4 or 13.
        code: u8,
    },
    /// A signal.
    #[error("interrupted: {safe}")]
    Interrupted {
        /// What is safe.
        safe: String,
        /// How to go on.
        hint: String,
    },
}

impl CliError {
    /// A wrong argument.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Arguments(_) | Self::Usage { .. } | Self::Diagnostics { .. } => exit::USAGE,
            Self::Location(_) | Self::Settings(_) | Self::Create(_) => exit::USAGE,
            Self::Placed { code, .. } | Self::Verification { code, .. } => *code,
            Self::Engine(error) => exit::of_class(error.class()),
            Self::Repository(error) => error.exit_class().code(),
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => exit::NOT_FOUND,
            Self::Write { source, .. } | Self::Output(source) if source.kind() == std::io::ErrorKind::StorageFull => 6,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Output(_)
            | Self::Terminal(_)
            | Self::Thread(_)
            | Self::Unhealthy { .. } => exit::FAILED,
            Self::NotFound { .. } => exit::NOT_FOUND,
            Self::NoAnswer { .. } => exit::UNREACHABLE,
            Self::Refused { .. } => exit::REFUSED,
            Self::NoKey { .. } => exit::WRONG_KEY,
            Self::Interrupted { .. } => exit::INTERRUPTED,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let own = self.own_hint().filter(|hint| !hint.is_empty());
        match (self.code() == exit::UNREACHABLE, own) {
            (false, own) => own,
            (true, None) => Some(AGAIN.to_owned()),
            (true, Some(own)) => Some(format!("{own}; {AGAIN}")),
        }
    }

    fn own_hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } | Self::NotFound { hint, .. } | Self::Refused { hint, .. } => Some(hint.clone()),
            Self::Interrupted { hint, .. } => Some(hint.clone()),
            Self::Engine(error) => error.hint().map(str::to_owned),
            Self::Placed { diagnostic, .. } => diagnostic.help.clone(),
            Self::NoKey { .. } => Some(format!(
                "give --key-file FILE with the key or the recovery key, or --passphrase-file FILE, or set {}",
                crate::context::KEY_VARIABLE
            )),
            Self::Read { .. } => {
                Some("name an existing file; `restow create files/repository` writes a starter".into())
            }
            Self::Verification { .. } => Some(
                "put the objects that are named back from a replica, or back up again; nothing was changed, and every \
                 snapshot that is whole remains valid"
                    .into(),
            ),
            Self::NoAnswer { .. } => Some("check the address, the network and the credentials".into()),
            Self::Diagnostics { .. } => Some("`restow lint` checks a file without running it".into()),
            _ => None,
        }
    }

    /// An error of the engine, shown at its place in the pipeline file where it has one.
    pub fn in_pipeline(error: EngineError, pipeline: &Pipeline) -> Self {
        let Some(place) = error.place() else { return Self::Engine(error) };
        let help = error.hint().map(str::to_owned);
        let diagnostic = match place.inside {
            Some((line, column)) => {
                pipeline.sql_diagnostic_at(&place.pointer, line, column, ENGINE_CODE, error.message(), help)
            }
            None => pipeline.diagnostic_at(&place.pointer, ENGINE_CODE, error.message(), help),
        };
        Self::Placed { diagnostic: Box::new(diagnostic), code: exit::of_class(error.class()) }
    }
}
