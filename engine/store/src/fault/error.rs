//! Errors that the layer makes up.

use object_store::Error;

use super::{Fault, Kind};
use crate::repository::ExitClass;

/// An error that a fault plan asked for.
#[derive(Debug, thiserror::Error)]
#[error("fault plan: {what} ({kind} of {path:?}, operation {index})")]
pub struct Injected {
    /// The operation.
    pub kind: Kind,
    /// What it was to work on.
    pub path: String,
    /// Its number over all operations, from 1.
    pub index: u64,
    what: String,
    class: ExitClass,
}

impl Injected {
    /// What the error of a real store would mean.
    pub fn class(&self) -> ExitClass {
        self.class
    }
}

/// One operation on its way through the layer.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) kind: Kind,
    pub(super) path: String,
    pub(super) index: u64,
}

impl Visit {
    /// The error that stands for a fault.
    pub(super) fn error(&self, fault: Fault) -> Error {
        let (what, class) = match fault {
            Fault::Transient(status) => (format!("status code: {status}, after all retries"), ExitClass::Unreachable),
            Fault::NotFound => ("the object is not there".to_owned(), ExitClass::NotFound),
            Fault::Denied => ("the permission is missing".to_owned(), ExitClass::Failed),
            Fault::NoSpace => ("no space is left".to_owned(), ExitClass::NoSpace),
            Fault::Tear => ("the connection broke half-way".to_owned(), ExitClass::Unreachable),
            Fault::DropReply => ("the reply was lost".to_owned(), ExitClass::Unreachable),
            Fault::Crash(_) => ("the process died".to_owned(), ExitClass::Failed),
            _ => ("it failed".to_owned(), ExitClass::Failed),
        };
        let path = self.path.clone();
        let source = Box::new(Injected { kind: self.kind, path: path.clone(), index: self.index, what, class });
        match fault {
            Fault::NotFound => Error::NotFound { path, source },
            Fault::Denied => Error::PermissionDenied { path, source },
            _ => Error::Generic { store: "fault", source },
        }
    }

    /// A create that is said to have met something.
    pub(super) fn exists(&self) -> Error {
        Error::AlreadyExists { path: self.path.clone(), source: "fault plan: something is said to be there".into() }
    }
}
