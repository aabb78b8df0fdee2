//! Snapshot ids: `YYYYMMDDTHHMMSSZ-` and ten random characters.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};

const TIME: &str = "%Y%m%dT%H%M%SZ";
const TIME_LEN: usize = 16;
const RANDOM_LEN: usize = 10;

/// The name of a snapshot: when its run began, in UTC, and ten random characters of lower-case base32 (RFC 4648).
/// Ids sort by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(String);

/// The text is no snapshot id.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0:?} is no snapshot id; one looks like 20260131T023000Z-k7q2mzx4ab")]
pub struct BadSnapshotId(pub String);

impl SnapshotId {
    /// The id of a run that begins at `now`; `random` gives the last part.
    pub fn new(now: DateTime<Utc>, random: [u8; 7]) -> Self {
        let mut tail = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
        tail.truncate(RANDOM_LEN);
        Self(format!("{}-{tail}", now.format(TIME)))
    }

    /// The id of a run that begins at `now`, with random numbers of the operating system.
    pub fn generate(now: DateTime<Utc>) -> Result<Self, getrandom::Error> {
        let mut random = [0; 7];
        getrandom::fill(&mut random)?;
        Ok(Self::new(now, random))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When the run began, to the second.
    pub fn time(&self) -> DateTime<Utc> {
        time_of(&self.0).unwrap_or_default()
    }
}

fn time_of(text: &str) -> Option<DateTime<Utc>> {
    Some(NaiveDateTime::parse_from_str(text.get(..TIME_LEN)?, TIME).ok()?.and_utc())
}

impl FromStr for SnapshotId {
    type Err = BadSnapshotId;

    fn from_str(text: &str) -> Result<Self, BadSnapshotId> {
        let tail = text.get(TIME_LEN..).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
        let base32 = tail.len() == RANDOM_LEN && tail.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        // The time must print back: the parser allows more spellings than one.
        let canonical = time_of(text).is_some_and(|t| text.starts_with(&t.format(TIME).to_string()));
        if base32 && canonical { Ok(Self(text.to_owned())) } else { Err(BadSnapshotId(text.to_owned())) }
    }
}

impl TryFrom<String> for SnapshotId {
    type Error = BadSnapshotId;

    fn try_from(text: String) -> Result<Self, BadSnapshotId> {
        text.parse()
    }
}

impl From<SnapshotId> for String {
    fn from(id: SnapshotId) -> Self {
        id.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 128 random bits as 32 hex digits: nonces, and names that nobody else uses.
pub fn random_hex() -> Result<String, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(HEXLOWER.encode(&random))
}
