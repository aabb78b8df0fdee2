//! Whether the recovery key has ever opened the repository: a key that nobody has tried may be misprinted, misfiled, or
//! that of another repository, and that shows on the worst day.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::{Error, PutMode};
use serde::{Deserialize, Serialize};

use super::clear::{self, ClearError};
use super::{FORMAT, Repository, RepositoryError, VERSION, paths, small};
use crate::keys::{Keys, SlotInfo, SlotKind};

/// The note must not hold up whoever restores.
const PATIENCE: Duration = Duration::from_secs(10);
const KIND: &str = "recovery-proof";

/// What is known of the recovery key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryState {
    /// The keyring has no recovery slot.
    Absent,
    /// It has never opened the repository, as far as the repository knows.
    Untried {
        /// Number of its slot.
        slot: u32,
    },
    /// It has.
    Proven {
        /// Number of its slot.
        slot: u32,
        /// When.
        at: DateTime<Utc>,
    },
}

/// `control/recovery-proven/<mark>.json`. The mark is the salt of the slot, so a new recovery key has to be tried again.
#[derive(Debug, Serialize, Deserialize)]
struct Proof {
    format: String,
    kind: String,
    slot: u32,
    mark: String,
    generation: u64,
    restow: String,
    created: DateTime<Utc>,
}

impl Repository {
    /// Notes durably that the recovery key has opened the repository, where these keys are opened by it. Whoever recovers may
    /// have no right to write, and that must not stop anybody: `false` says that nothing could be noted.
    pub async fn note_recovery(&self) -> bool {
        match self.keys() {
            Some(keys) if keys.opened_by().kind == SlotKind::Recovery => {
                self.note_recovery_slot(keys, keys.opened_by()).await
            }
            _ => false,
        }
    }

    /// The same for a slot whose secret was shown to be there in another way.
    pub(super) async fn note_recovery_slot(&self, keys: &Keys, slot: SlotInfo) -> bool {
        if self.writable().is_err() {
            return false;
        }
        tokio::time::timeout(PATIENCE, self.create_proof(keys, slot)).await.unwrap_or(false)
    }

    async fn create_proof(&self, keys: &Keys, slot: SlotInfo) -> bool {
        let Some(mark) = keys.slot_mark(slot.id) else { return false };
        let Ok(path) = self.path(&paths::recovery_proven(&mark)) else { return false };
        let proof = Proof {
            format: FORMAT.to_owned(),
            kind: KIND.to_owned(),
            slot: slot.id,
            mark,
            generation: keys.generation(),
            restow: VERSION.to_owned(),
            created: Utc::now(),
        };
        let Ok(bytes) = clear::encode(&proof) else { return false };
        let store = self.objects();
        match small::exists(store.as_ref(), &path).await {
            Ok(true) => return true,
            Ok(false) => {}
            Err(_) => return false,
        }
        let made = store.put_opts(&path, bytes.into(), PutMode::Create.into()).await;
        matches!(made, Ok(_) | Err(Error::AlreadyExists { .. }))
    }

    /// Whether the recovery key has opened the repository once. Needs no listing.
    ///
    /// # Errors
    /// A plain repository has no keys (7); a note that is damaged or forged is 13.
    pub async fn recovery_state(&self) -> Result<RecoveryState, RepositoryError> {
        let keys = self.encrypted()?;
        let slots = keys.keyring().slots();
        let Some(slot) = slots.into_iter().find(|slot| slot.kind == SlotKind::Recovery) else {
            return Ok(RecoveryState::Absent);
        };
        let mark = keys.slot_mark(slot.id).unwrap_or_default();
        let object = paths::recovery_proven(&mark);
        let found = small::read_if_there(self.objects().as_ref(), &self.path(&object)?)
            .await
            .map_err(self.failed("read", &object))?;
        let Some(bytes) = found else { return Ok(RecoveryState::Untried { slot: slot.id }) };
        let proof = decode(&bytes).map_err(|e| self.tampered(&object, &e.to_string()))?;
        match proof.kind == KIND && proof.slot == slot.id && proof.mark == mark {
            true => Ok(RecoveryState::Proven { slot: slot.id, at: proof.created }),
            false => Err(self.tampered(&object, "it is about another slot")),
        }
    }
}

fn decode(bytes: &Bytes) -> Result<Proof, ClearError> {
    clear::decode(bytes)
}
