//! Quantities as they are written in a file: `512MiB`, `30s`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a quantity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Neither a number nor a number with a unit.
    #[error("{0:?} is not a size: write a whole number and a unit, such as 512MiB, 1GB or 64KiB")]
    Size(String),
    /// The number is there but the unit is not one.
    #[error("unknown unit {unit:?} in the size {text:?}: use B, KB, MB, GB, TB, KiB, MiB, GiB or TiB")]
    SizeUnit {
        /// What was written.
        text: String,
        /// The part that is no unit.
        unit: String,
    },
    /// Neither a number with a unit nor several of them.
    #[error("{0:?} is not a duration: write numbers with units, such as 30s, 5m, 1h30m or 250ms")]
    Duration(String),
    /// The number is there but the unit is not one.
    #[error("unknown unit {unit:?} in the duration {text:?}: use ms, s, m, h or d")]
    DurationUnit {
        /// What was written.
        text: String,
        /// The part that is no unit.
        unit: String,
    },
    /// The quantity does not fit 64 bits.
    #[error("{0:?} is too large")]
    TooLarge(String),
}

/// A number of bytes: `512MiB`, `1GB`, `4096`. K, M, G and T with `iB` are powers of 1024, with `B` powers of 1000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// Reads `512MiB`; spaces between number and unit are allowed, fractions are not.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let trimmed = text.trim();
        let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = trimmed.split_at(digits);
        if number.is_empty() {
            return Err(UnitError::Size(text.into()));
        }
        let number: u64 = number.parse().map_err(|_| UnitError::TooLarge(text.into()))?;
        let factor: u64 = match unit.trim_start() {
            "" | "B" => 1,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            unit if unit.starts_with(['.', ',']) => return Err(UnitError::Size(text.into())),
            unit => return Err(UnitError::SizeUnit { text: text.into(), unit: unit.into() }),
        };
        number.checked_mul(factor).map(ByteSize).ok_or_else(|| UnitError::TooLarge(text.into()))
    }
}

/// Prints the largest binary unit that divides the number, so that printing and parsing meet.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (factor, unit) in [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A span of time: `30s`, `5m`, `1h30m`, `250ms`, `7d`. A day is 24 hours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// The span as the standard library's type.
    pub fn get(self) -> Duration {
        self.0
    }

    /// Reads `1h30m`; a bare number has no unit and is an error, except 0.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(UnitError::Duration(text.into()));
        }
        let mut millis: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_alphabetic()).len();
            let (unit, tail) = tail.split_at(letters);
            if number.is_empty() || unit.is_empty() {
                return Err(UnitError::Duration(text.into()));
            }
            let factor: u64 = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(UnitError::DurationUnit { text: text.into(), unit: unit.into() }),
            };
            let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
            millis = part.and_then(|part| millis.checked_add(part)).ok_or_else(|| UnitError::TooLarge(text.into()))?;
            rest = tail.trim_start();
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// Prints what [`HumanDuration::parse`] reads, to the millisecond.
impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")] {
            if millis >= factor {
                write!(f, "{}{unit}", millis / factor)?;
                millis %= factor;
            }
        }
        Ok(())
    }
}

struct Text<T>(fn(&str) -> Result<T, UnitError>, &'static str, fn(u64) -> Option<T>);

impl<T> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.2)(number).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text(Self::parse, "a size such as 512MiB", |bytes| Some(Self(bytes))))
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let zero = |number| (number == 0).then_some(Self(Duration::ZERO));
        deserializer.deserialize_any(Text(Self::parse, "a duration such as 30s", zero))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "format": "byte-size", "minimum": 0 })
    }
}

impl JsonSchema for HumanDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HumanDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(ByteSize::parse("512MiB"), Ok(ByteSize(512 << 20)));
        assert_eq!(ByteSize::parse("1 GB"), Ok(ByteSize(1_000_000_000)));
        assert_eq!(ByteSize::parse("4096"), Ok(ByteSize(4096)));
        assert_eq!(ByteSize(1 << 30).to_string(), "1GiB");
        assert!(ByteSize::parse("99999999999TiB").is_err());
        let message = ByteSize::parse("5 parsecs").map_err(|error| error.to_string());
        assert_eq!(
            message.unwrap_err(),
            r#"unknown unit "parsecs" in the size "5 parsecs": use B, KB, MB, GB, TB, KiB, MiB, GiB or TiB"#
        );
    }

    #[test]
    fn durations() {
        assert_eq!(HumanDuration::parse("1h30m").unwrap().get(), Duration::from_secs(5400));
        assert_eq!(HumanDuration::parse("250ms").unwrap().to_string(), "250ms");
        assert_eq!(HumanDuration::parse("7d").unwrap().to_string(), "7d");
        assert!(HumanDuration::parse("30").is_err());
        assert!(HumanDuration::parse("").is_err());
        assert!(HumanDuration::parse("3 fortnights").is_err());
        assert!(HumanDuration::parse("99999999999999999999s").is_err());
    }
}
