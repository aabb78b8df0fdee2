//! `snapshots/<id>/manifest.json`: the clear envelope around a manifest, whose creation is the commit or the abort.

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::clear::{self, ClearError};
use super::{FORMAT, Features, InventoryRef, KeyringRef, Manifest, SnapshotId, features};
use crate::keys::Keys;

/// What an envelope says about its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// The snapshot exists.
    Committed,
    /// A collector ended it: it will never exist.
    Aborted,
}

/// The envelope. `body` is a JSON object in a plain repository, a container in base64 in an encrypted one, and null
/// where aborted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) format: String,
    pub(crate) kind: String,
    /// Those of the body, where a reader without keys finds them.
    #[serde(default)]
    pub(crate) features: Features,
    pub(crate) state: State,
    pub(crate) snapshot: SnapshotId,
    pub(crate) nonce: String,
    pub(crate) inventory: Option<InventoryRef>,
    pub(crate) keyring: Option<KeyringRef>,
    body: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    format: String,
    #[serde(default)]
    features: Features,
}

/// Why an envelope or its body is not what was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvelopeError {
    /// Damage.
    #[error("{0}")]
    Tampered(String),
    /// Another version of the format, or an unknown feature.
    #[error("{0}")]
    TooNew(String),
}

impl From<ClearError> for EnvelopeError {
    fn from(error: ClearError) -> Self {
        Self::Tampered(error.to_string())
    }
}

impl From<serde_json::Error> for EnvelopeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Tampered(format!("its body cannot be read: {error}"))
    }
}

impl Envelope {
    /// The committing envelope around a manifest. `relative` is the path of the object, which the sealed body binds.
    pub(crate) fn commit(manifest: &Manifest, keys: Option<&Keys>, relative: &str) -> Result<Bytes, EnvelopeError> {
        let body = serde_json::to_vec(manifest)?;
        let body = match keys {
            Some(keys) => {
                let sealed = keys.seal_bytes(relative, &body).map_err(|e| EnvelopeError::Tampered(e.to_string()))?;
                format!("\"{}\"", BASE64.encode(&sealed))
            }
            None => String::from_utf8(body).map_err(|e| EnvelopeError::Tampered(e.to_string()))?,
        };
        let envelope = Self {
            format: FORMAT.to_owned(),
            kind: "manifest".to_owned(),
            features: manifest.features.clone(),
            state: State::Committed,
            snapshot: manifest.snapshot.clone(),
            nonce: manifest.nonce.clone(),
            inventory: manifest.inventory.clone(),
            keyring: manifest.keyring.clone(),
            body: Some(RawValue::from_string(body)?),
        };
        Ok(clear::encode(&envelope)?)
    }

    /// The aborting envelope, which a collector creates.
    pub(crate) fn abort(snapshot: &SnapshotId, nonce: &str) -> Result<Bytes, EnvelopeError> {
        let envelope = Self {
            format: FORMAT.to_owned(),
            kind: "manifest".to_owned(),
            features: Features::default(),
            state: State::Aborted,
            snapshot: snapshot.clone(),
            nonce: nonce.to_owned(),
            inventory: None,
            keyring: None,
            body: None,
        };
        Ok(clear::encode(&envelope)?)
    }

    /// Reads the envelope of `snapshot` and checks its digest, format and name.
    pub(crate) fn decode(snapshot: &SnapshotId, bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let version: Version = clear::decode(bytes)?;
        if version.format != FORMAT {
            return Err(EnvelopeError::TooNew(format!("it has format {:?}", version.format)));
        }
        if let Some(feature) = version.features.unknown() {
            return Err(EnvelopeError::TooNew(features::problem(feature)));
        }
        let envelope: Self = clear::decode(bytes)?;
        if envelope.kind != "manifest" || envelope.snapshot != *snapshot {
            return Err(EnvelopeError::Tampered(format!("it is the {} of {}", envelope.kind, envelope.snapshot)));
        }
        Ok(envelope)
    }

    /// Opens the body and checks that it repeats what the envelope says.
    pub(crate) fn open(&self, keys: Option<&Keys>, relative: &str) -> Result<Manifest, EnvelopeError> {
        let raw = self.body.as_ref().ok_or_else(|| EnvelopeError::Tampered("it has no body".to_owned()))?;
        let manifest: Manifest = match keys {
            Some(keys) => {
                let text: String = serde_json::from_str(raw.get())?;
                let sealed = BASE64
                    .decode(text.as_bytes())
                    .map_err(|e| EnvelopeError::Tampered(format!("its body is no base64: {e}")))?;
                let plain = keys
                    .open_bytes(relative, &sealed)
                    .map_err(|e| EnvelopeError::Tampered(format!("its body does not open: {e}")))?;
                serde_json::from_slice(&plain)?
            }
            None => serde_json::from_str(raw.get())?,
        };
        let repeated = manifest.format == self.format
            && manifest.snapshot == self.snapshot
            && manifest.features == self.features
            && manifest.nonce == self.nonce
            && manifest.inventory == self.inventory
            && manifest.keyring == self.keyring;
        if !repeated {
            return Err(EnvelopeError::Tampered("its body and its envelope do not agree".to_owned()));
        }
        // Read on, it would show wrong rows: whoever wrote it did not say so, and did not follow this format.
        if let Some(feature) = manifest.unannounced() {
            return Err(EnvelopeError::Tampered(format!("it uses the feature {feature:?} without naming it")));
        }
        match manifest.misplaced() {
            Some(path) => Err(EnvelopeError::Tampered(format!("it names {path:?}, which cannot be an object of it"))),
            None => Ok(manifest),
        }
    }
}
