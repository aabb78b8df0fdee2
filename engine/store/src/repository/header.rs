//! `repository.json`: what makes a place a repository. Written once, last at creation, in clear.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::clear::{self, ClearError};
use super::paths::REPOSITORY_OBJECT;
use super::{FORMAT, Features, RepositoryError, VERSION, features};
use crate::keys::RepositoryId;

/// The content of `repository.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: String,
    pub(super) kind: String,
    /// Version of restow that created it. Nothing follows from it.
    pub(super) restow: String,
    pub(super) id: RepositoryId,
    pub(super) encrypted: bool,
    /// Features that hold for everything in the repository, for readers and writers.
    #[serde(default)]
    pub(super) features: Features,
    pub(super) created: DateTime<Utc>,
}

/// What decides whether the rest may be read; the same in all formats.
#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    format: String,
    #[serde(default)]
    features: Features,
}

impl Header {
    pub(super) fn new(id: RepositoryId, encrypted: bool, created: DateTime<Utc>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            kind: "repository".to_owned(),
            restow: VERSION.to_owned(),
            id,
            encrypted,
            features: Features::default(),
            created,
        }
    }

    pub(super) fn encode(&self) -> Result<Bytes, ClearError> {
        clear::encode(self)
    }

    pub(super) fn decode(url: &str, bytes: &[u8]) -> Result<Self, RepositoryError> {
        let tampered = |e: ClearError| RepositoryError::Tampered {
            url: url.to_owned(),
            object: REPOSITORY_OBJECT.to_owned(),
            problem: e.to_string(),
        };
        let too_new =
            |problem| RepositoryError::TooNew { url: url.to_owned(), object: REPOSITORY_OBJECT.to_owned(), problem };
        let version: Version = clear::decode(bytes).map_err(tampered)?;
        if version.format != FORMAT {
            return Err(too_new(format!("it has format {:?}", version.format)));
        }
        if let Some(feature) = version.features.unknown() {
            return Err(too_new(features::problem(feature)));
        }
        let header: Self = clear::decode(bytes).map_err(tampered)?;
        if header.kind != "repository" {
            return Err(RepositoryError::Tampered {
                url: url.to_owned(),
                object: REPOSITORY_OBJECT.to_owned(),
                problem: format!("it is a {}", header.kind),
            });
        }
        Ok(header)
    }
}
