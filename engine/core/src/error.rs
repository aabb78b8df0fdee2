//! The one error of the engine and of every stage: what happened, whether to try again, and what to do about it.

use std::fmt;
use std::time::Duration;

use datafusion::error::DataFusionError;

/// The result of every fallible function of the engine and of the stages.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// What an error means to the caller of the process; the command line maps each class to one documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitClass {
    /// Anything without a class of its own (1).
    Failed,
    /// The pipeline, a setting or an argument is wrong (2).
    Usage,
    /// Verification found damage in stored data (4).
    Damaged,
    /// The disk or a quota is full (6).
    NoSpace,
    /// A server or store refuses the key that it is shown (1): for every dataset alike, until somebody gives another one.
    Denied,
    /// Refused, because it would not be safe (7).
    Refused,
    /// A file, dataset, snapshot or repository does not exist (10).
    NotFound,
    /// Somebody else holds the lock or won the race (11).
    LostRace,
    /// The key is wrong or missing (12).
    WrongKey,
    /// Stored bytes were changed, or an older state was put back (13).
    Tampered,
    /// Written by a newer restow (14).
    TooNew,
    /// A server or store stayed unreachable after all retries (75).
    Unreachable,
    /// The user interrupted the run (130).
    Interrupted,
}

/// Where in a pipeline file an error has its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// JSON pointer into the pipeline file, for example `/stages/1/filter`.
    pub pointer: String,
    /// Line and column inside the scalar at `pointer`, both from 1, where the text is SQL.
    pub inside: Option<(u64, u64)>,
}

/// An error of the engine or of a stage.
///
/// The message is lowercase, has no final period and names the object, the value and the cause; the hint says what to
/// do about it and what is safe.
#[derive(Debug)]
pub struct EngineError {
    class: ExitClass,
    message: String,
    hint: Option<String>,
    retry: Retry,
    place: Option<Place>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Whether the same call may succeed when it is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will not.
    Never,
    /// It may, after the back-off of the run.
    Transient,
    /// It may, not before this time has passed (a server's `Retry-After`).
    After(Duration),
}

impl EngineError {
    /// An error of the given class that is not worth a retry.
    pub fn new(class: ExitClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: without_credentials(message.into()),
            hint: None,
            retry: Retry::Never,
            place: None,
            source: None,
        }
    }

    /// A plain failure (exit code 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ExitClass::Failed, message)
    }

    /// A wrong pipeline, setting or argument (exit code 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitClass::Usage, message)
    }

    /// A server or store that may answer later; exit code 75 once the retries are used up.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { retry: Retry::Transient, ..Self::new(ExitClass::Unreachable, message) }
    }

    /// The user interrupted the run (exit code 130).
    pub fn interrupted() -> Self {
        Self::new(ExitClass::Interrupted, "interrupted").with_hint("run the same command again to resume")
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets whether to try again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Adds the place in the pipeline file, unless a deeper layer has already named one.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.place.get_or_insert(Place { pointer: pointer.into(), inside: None });
        self
    }

    /// Adds a place inside a scalar of the pipeline file (line and column from 1).
    #[must_use]
    pub fn at_inside(mut self, pointer: impl Into<String>, line: u64, column: u64) -> Self {
        self.place.get_or_insert(Place { pointer: pointer.into(), inside: Some((line, column)) });
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts the object concerned in front of the message: `dataset "cities": ...`.
    #[must_use]
    pub fn context(mut self, object: impl fmt::Display) -> Self {
        self.message = format!("{object}: {}", self.message);
        self
    }

    /// The exit class.
    pub fn class(&self) -> ExitClass {
        self.class
    }

    /// The message without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// The place in the pipeline file.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<DataFusionError> for EngineError {
    /// Gets back our own error where DataFusion only carried it; its own errors are failures without a retry.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<EngineError>() {
                Ok(own) => *own,
                Err(other) => match other.downcast::<DataFusionError>() {
                    Ok(nested) => Self::from(*nested),
                    Err(other) => foreign(other),
                },
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Self::from(*inner),
            DataFusionError::ArrowError(inner, _) => Self::from(*inner),
            DataFusionError::ParquetError(inner) => Self::from(*inner),
            DataFusionError::ObjectStore(inner) => Self::from(*inner),
            DataFusionError::ResourcesExhausted(text) => Self::failed(format!("out of the configured memory: {text}"))
                .with_hint("raise `memory:` in the pipeline, or sort and aggregate fewer or narrower columns"),
            DataFusionError::Shared(inner) => {
                let message = inner.strip_backtrace();
                Self::failed(message)
            }
            other => Self::failed(first_line(&other.strip_backtrace())),
        }
    }
}

impl From<arrow::error::ArrowError> for EngineError {
    fn from(error: arrow::error::ArrowError) -> Self {
        match error {
            arrow::error::ArrowError::ExternalError(inner) => match inner.downcast::<EngineError>() {
                Ok(own) => *own,
                Err(other) => foreign(other),
            },
            other => Self::failed(other.to_string()),
        }
    }
}

impl From<parquet::errors::ParquetError> for EngineError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        match error {
            parquet::errors::ParquetError::External(inner) => foreign(inner),
            other => Self::failed(other.to_string()),
        }
    }
}

impl From<object_store::Error> for EngineError {
    fn from(error: object_store::Error) -> Self {
        of_store(&error, error.to_string())
    }
}

impl From<restow_store::repository::RepositoryError> for EngineError {
    fn from(error: restow_store::repository::RepositoryError) -> Self {
        of_store(&error, error.to_string())
    }
}

impl From<restow_store::location::LocationError> for EngineError {
    fn from(error: restow_store::location::LocationError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<restow_store::keys::KeyError> for EngineError {
    fn from(error: restow_store::keys::KeyError) -> Self {
        of_store(&error, error.to_string())
    }
}

/// The class that the store gives an error; whoever stayed away may be asked again.
fn of_store(error: &(dyn std::error::Error + 'static), message: String) -> EngineError {
    use restow_store::repository::ExitClass as StoreClass;
    let class = match restow_store::repository::exit_class_of(error) {
        StoreClass::Damaged => ExitClass::Damaged,
        StoreClass::NotFound => ExitClass::NotFound,
        StoreClass::WrongKey => ExitClass::WrongKey,
        StoreClass::Tampered => ExitClass::Tampered,
        StoreClass::TooNew => ExitClass::TooNew,
        StoreClass::LostRace => ExitClass::LostRace,
        StoreClass::NoSpace => ExitClass::NoSpace,
        StoreClass::Unreachable => ExitClass::Unreachable,
        StoreClass::Refused => ExitClass::Refused,
        StoreClass::Usage => ExitClass::Usage,
        StoreClass::Failed => ExitClass::Failed,
    };
    let retry = if class == ExitClass::Unreachable { Retry::Transient } else { Retry::Never };
    EngineError::new(class, message).with_retry(retry)
}

impl From<EngineError> for DataFusionError {
    fn from(error: EngineError) -> Self {
        Self::External(Box::new(error))
    }
}

/// An error of a foreign type: unpacked where it carries one of ours, else classed by what the store finds in it.
fn foreign(error: Box<dyn std::error::Error + Send + Sync>) -> EngineError {
    let error = match error.downcast::<EngineError>() {
        Ok(own) => return *own,
        Err(error) => error,
    };
    match error.downcast::<DataFusionError>() {
        Ok(inner) => EngineError::from(*inner),
        Err(error) => of_store(error.as_ref(), error.to_string()),
    }
}

/// Foreign errors quote addresses whole: user and password are taken out of every one.
fn without_credentials(message: String) -> String {
    if !message.contains("://") || !message.contains('@') {
        return message;
    }
    let mut clean = String::with_capacity(message.len());
    let mut rest = message.as_str();
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let authority = after.split(['/', '?', '#', ' ', '"', '\'']).next().unwrap_or_default();
        rest = match authority.rsplit_once('@') {
            Some((user, _)) => {
                clean.push_str("***");
                after.get(user.len()..).unwrap_or_default()
            }
            None => after,
        };
    }
    clean.push_str(rest);
    clean
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_says_a_password_of_an_address() {
        let said = |text: &str| EngineError::failed(text).message().to_owned();
        assert_eq!(said("GET https://user:pass@host/x failed"), "GET https://***@host/x failed");
        assert_eq!(said("a http://u:p@ss@h b https://k@i c"), "a http://***@h b https://***@i c");
        assert_eq!(said("mail to a@b about s3://bucket/key@1"), "mail to a@b about s3://bucket/key@1");
    }

    #[test]
    fn our_own_error_comes_back_through_datafusion() {
        let own = EngineError::new(ExitClass::Tampered, "x").with_hint("h");
        let through = DataFusionError::from(own).context("somewhere");
        let back = EngineError::from(DataFusionError::ArrowError(
            Box::new(arrow::error::ArrowError::ExternalError(Box::new(through))),
            None,
        ));
        assert_eq!((back.class(), back.message(), back.hint()), (ExitClass::Tampered, "x", Some("h")));
    }
}
