//! Opening a keyring: every generation is read, the chain is checked, and what does not hold is skipped and said.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::keyring::Unreadable;
use super::opened::Chain;
use super::slot::{Masters, Wallet};
use super::{KeyError, Keyring, Keys, SlotInfo, Unlocker};

/// Something wrong with a generation that does not keep a reader from reading. It stops writers
/// ([`Keys::require_intact_chain`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// `keys/<generation>.json` is not there although a later one is.
    Missing {
        /// Number of the generation.
        generation: u64,
    },
    /// Its bytes are damaged.
    Damaged {
        /// Number of the generation.
        generation: u64,
        /// What does not hold.
        problem: String,
    },
    /// It does not follow from the generation before: forged, or written by somebody without the keys.
    Skipped {
        /// Number of the generation.
        generation: u64,
        /// What does not hold.
        problem: String,
    },
}

impl Warning {
    /// Number of the generation.
    pub fn generation(&self) -> u64 {
        match self {
            Self::Missing { generation } | Self::Damaged { generation, .. } | Self::Skipped { generation, .. } => {
                *generation
            }
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { generation } => write!(f, "generation {generation} of the keyring is missing"),
            Self::Damaged { generation, problem } => {
                write!(f, "generation {generation} of the keyring is damaged and was skipped: {problem}")
            }
            Self::Skipped { generation, problem } => {
                write!(f, "generation {generation} of the keyring breaks the chain and was skipped: {problem}")
            }
        }
    }
}

/// Opens the keyring from all its generations (number from the file name, bytes), in any order.
///
/// A generation holds if it is whole, names the digest of the one before, has all its epochs, and carries an HMAC under
/// that one's highest master. Where the one before is missing or damaged, the HMAC alone decides; where it is whole and
/// does not hold, neither does this one. The keys are those of the newest generation that holds; the secret must open it.
///
/// # Errors
/// [`KeyError::Wrong`] and [`KeyError::Removed`] are exit 12; no generation, or none that holds, is 13; a newer format
/// is 14.
pub fn open_chain(generations: &[(u64, Bytes)], unlocker: &Unlocker) -> Result<(Keys, Vec<Warning>), KeyError> {
    let mut warnings = Vec::new();
    let rings = read(generations, &mut warnings)?;
    let mut skipped = Skipped::default();
    let Unlocked { masters, opened } = unlock(&rings, unlocker, &mut skipped)?;
    if opened.is_empty() {
        return Err(not_opened(&rings, &warnings));
    }
    let mut accepted: Vec<&Keyring> = Vec::new();
    for ring in &rings {
        let generation = ring.generation();
        if skipped.contains_key(&generation) {
            continue;
        }
        let verdict = match skipped.contains_key(&generation.saturating_sub(1)) {
            true => Err("it follows one that breaks the chain".to_owned()),
            false => follows(ring, accepted.last().copied(), &masters)?,
        };
        match verdict {
            Ok(()) => accepted.push(ring),
            Err(problem) => {
                skipped.insert(generation, problem);
            }
        }
    }
    warnings.extend(skipped.into_iter().map(|(generation, problem)| Warning::Skipped { generation, problem }));
    finish(&accepted, opened, warnings)
}

/// The generations that are damaged, missing, or do not follow the one before, as far as that shows without a secret.
pub fn damaged_generations(generations: &[(u64, Bytes)]) -> Vec<(u64, String)> {
    let mut warnings = Vec::new();
    let mut found = Vec::new();
    match read(generations, &mut warnings) {
        Err(error) => found.push((0, error.to_string())),
        Ok(rings) => {
            for (before, ring) in rings.iter().zip(rings.iter().skip(1)) {
                let follows = before.generation().checked_add(1) == Some(ring.generation());
                if follows && ring.body().previous.as_ref().map(|digest| digest.0) != Some(before.digest()) {
                    let problem = "it does not name the digest of the generation before";
                    found.push((ring.generation(), problem.to_owned()));
                }
            }
        }
    }
    found.extend(warnings.into_iter().map(|warning| (warning.generation(), warning.to_string())));
    found.sort();
    found
}

/// Generations that are whole and do not hold, and why. What directly follows one of them does not hold either.
type Skipped = BTreeMap<u64, String>;

/// What a secret gives.
struct Unlocked {
    /// The masters of all generations that it opens.
    masters: Masters,
    /// Slot and masters by generation.
    opened: BTreeMap<u64, (SlotInfo, Masters)>,
}

/// Opens every generation that the secret opens. The wraps prove the masters: only who has the secret can make one.
fn unlock(rings: &[Keyring], unlocker: &Unlocker, skipped: &mut Skipped) -> Result<Unlocked, KeyError> {
    let mut wallet = Wallet::new(unlocker);
    let mut all = Unlocked { masters: Masters::new(), opened: BTreeMap::new() };
    for ring in rings {
        let Some((slot, found)) = ring.open(&mut wallet)? else { continue };
        if found.iter().any(|(epoch, m)| all.masters.get(epoch).is_some_and(|known| !known.same_as(m))) {
            skipped.insert(ring.generation(), "it wraps other master keys than a generation before".to_owned());
            continue;
        }
        all.masters.extend(found.iter().map(|(epoch, master)| (*epoch, master.clone())));
        all.opened.insert(ring.generation(), (slot, found));
    }
    Ok(all)
}

/// The generations that parse, in order; the others become warnings.
fn read(generations: &[(u64, Bytes)], warnings: &mut Vec<Warning>) -> Result<Vec<Keyring>, KeyError> {
    let mut sorted: Vec<&(u64, Bytes)> = generations.iter().collect();
    sorted.sort_by_key(|(number, _)| *number);
    let mut rings = Vec::with_capacity(sorted.len());
    let mut next = 1;
    for (number, bytes) in sorted {
        // A name like 18446744073709551615.json must not make a warning for every number below it.
        if *number > next {
            warnings.push(Warning::Missing { generation: next });
        }
        next = number.saturating_add(1);
        match Keyring::parse(*number, bytes) {
            Ok(ring) => rings.push(ring),
            Err(Unreadable::TooNew(problem)) => return Err(KeyError::TooNew { generation: *number, problem }),
            Err(Unreadable::Damaged(problem)) => warnings.push(Warning::Damaged { generation: *number, problem }),
        }
    }
    if rings.is_empty() && warnings.is_empty() { Err(KeyError::NoKeyring) } else { Ok(rings) }
}

/// The error where the secret opens nothing: damage is named before the key is blamed.
fn not_opened(rings: &[Keyring], warnings: &[Warning]) -> KeyError {
    for warning in warnings {
        if let Warning::Damaged { generation, problem } = warning {
            return KeyError::Damaged { generation: *generation, problem: problem.clone() };
        }
    }
    match rings.last() {
        Some(last) => KeyError::Wrong { repository: last.repository_id().to_string(), slots: last.slots().len() },
        None => KeyError::NoKeyring,
    }
}

/// Whether the generation follows from the last one that holds; the inner error says why not.
fn follows(ring: &Keyring, before: Option<&Keyring>, masters: &Masters) -> Result<Result<(), String>, KeyError> {
    let (number, mac_epoch) = (ring.generation(), ring.body().mac_epoch);
    if let Some(before) = before {
        if ring.repository_id() != before.repository_id() {
            return Ok(Err("it belongs to another repository".to_owned()));
        }
        if ring.highest_epoch() < before.highest_epoch() {
            return Ok(Err(format!("it drops epoch {}", before.highest_epoch())));
        }
        if number == before.generation().saturating_add(1) {
            if ring.body().previous.as_ref().map(|d| d.0) != Some(before.digest()) {
                return Ok(Err("it does not name the digest of the generation before".to_owned()));
            }
            if mac_epoch != before.highest_epoch() {
                return Ok(Err("its hmac is not under the highest master of the generation before".to_owned()));
            }
        }
        if mac_epoch < before.highest_epoch() {
            return Ok(Err("its hmac is under a master that was replaced before".to_owned()));
        }
    }
    if number == 1 && mac_epoch != ring.highest_epoch() {
        return Ok(Err("its hmac is not under its own highest master".to_owned()));
    }
    let Some(master) = masters.get(&mac_epoch) else {
        return Ok(Err(format!("this key does not give the master of epoch {mac_epoch} that its hmac is under")));
    };
    Ok(if ring.authentic(master)? { Ok(()) } else { Err("its hmac does not match".to_owned()) })
}

fn finish(
    accepted: &[&Keyring],
    mut opened: BTreeMap<u64, (SlotInfo, Masters)>,
    warnings: Vec<Warning>,
) -> Result<(Keys, Vec<Warning>), KeyError> {
    let broken =
        (!warnings.is_empty()).then(|| warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    let Some(tip) = accepted.last() else {
        return Err(KeyError::ChainBroken { problem: broken.unwrap_or_default() });
    };
    let Some((slot, masters)) = opened.remove(&tip.generation()) else {
        let generation = opened.keys().next_back().copied().unwrap_or(0);
        return Err(KeyError::Removed { repository: tip.repository_id().to_string(), generation });
    };
    let chain = accepted.iter().fold(Chain::default(), |chain, ring| chain.and(ring));
    Ok((Keys::new((*tip).clone(), masters, slot, chain, broken)?, warnings))
}
