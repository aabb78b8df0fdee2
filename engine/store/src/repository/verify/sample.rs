//! Which part of the data a sample reads: a fixed one of `of` equal parts, so that all of them together are everything.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::object::Expected;

/// Stored bytes of a unit, about: what is read at once, and what belongs to one part.
pub(super) const UNIT: u64 = 1 << 20;
/// Parts, at most.
const MOST: u32 = 10_000;
const DAY: i64 = 24 * 60 * 60;

/// Part `number` of `of` parts, counted from 1. The units of a snapshot, in the order of their objects' paths, belong to
/// the parts in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Part {
    number: u32,
    of: u32,
}

/// A text that is no part.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no part: write N/T with 1 <= N <= T <= {MOST}, such as 3/30, or only T to take turns by the day")]
pub struct BadPart {
    text: String,
}

impl Part {
    /// The part whose turn it is on that day (UTC): after `of` days each had one.
    pub fn of_day(of: u32, now: DateTime<Utc>) -> Option<Self> {
        let turn = now.timestamp().div_euclid(DAY).rem_euclid(i64::from(of.max(1)));
        Self::new(u32::try_from(turn).ok()?.checked_add(1)?, of)
    }

    fn new(number: u32, of: u32) -> Option<Self> {
        (1 <= number && number <= of && of <= MOST).then_some(Self { number, of })
    }

    fn has(self, unit: u64) -> bool {
        unit % u64::from(self.of) == u64::from(self.number - 1)
    }
}

/// `3/30`, or `30` for the part of today.
impl FromStr for Part {
    type Err = BadPart;

    fn from_str(text: &str) -> Result<Self, BadPart> {
        let bad = || BadPart { text: text.to_owned() };
        let number = |text: &str| text.parse::<u32>().map_err(|_| bad());
        let part = match text.split_once('/') {
            Some((part, of)) => Self::new(number(part)?, number(of)?),
            None => Self::of_day(number(text)?, Utc::now()),
        };
        part.ok_or_else(bad)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.number, self.of)
    }
}

/// The units of each object that belong to the part. Objects without pieces are read whole, always.
pub(super) fn choose(objects: &[Expected], part: Part) -> BTreeMap<&str, Vec<u64>> {
    let mut chosen = BTreeMap::new();
    let mut next = 0u64;
    for object in objects.iter().filter(|object| object.has_pieces()) {
        let units = object.units();
        let own: Vec<u64> = (0..units).filter(|unit| part.has(next.wrapping_add(*unit))).collect();
        next = next.wrapping_add(units);
        if !own.is_empty() {
            chosen.insert(object.path.as_str(), own);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_as_text() {
        assert_eq!("3/30".parse::<Part>().unwrap().to_string(), "3 of 30");
        for bad in ["0/30", "31/30", "1/0", "", "a", "1/10001", "-1/3", "0"] {
            assert!(bad.parse::<Part>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_part_has_its_day() {
        let day = |n: i64| DateTime::from_timestamp(n * DAY + 7, 0).unwrap();
        let seen: std::collections::BTreeSet<u32> =
            (20_000..20_030).map(|n| Part::of_day(30, day(n)).unwrap().number).collect();
        assert_eq!(seen.len(), 30);
        assert_eq!(Part::of_day(0, day(1)), None);
    }

    #[test]
    fn parts_together_are_everything() {
        for unit in 0..1000 {
            let owners = (1..=7).filter(|number| Part::new(*number, 7).unwrap().has(unit)).count();
            assert_eq!(owners, 1, "unit {unit}");
        }
    }
}
