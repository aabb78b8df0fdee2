//! When a pipeline runs by itself: five Unix cron fields in a time zone.
//!
//! The `cron` crate walks the calendar over naive local time; fields and zones are ours, since its weekdays count from
//! one, it wants seconds, and it loses or doubles runs where clocks change.

mod field;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Days, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::suggest;
use crate::units::HumanDuration;

use field::{Field, Fields};

/// A schedule as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleOptions {
    /// Minute, hour, day of month, month, day of week: `30 2 * * *`. Names (jan, mon), lists, ranges and steps work;
    /// Sunday is 0 or 7. Where both days are restricted, either is enough.
    #[schemars(extend("format" = "cron"))]
    pub cron: String,
    /// An IANA time zone such as Europe/Berlin. Default: UTC.
    #[serde(default)]
    #[schemars(extend("format" = "time-zone"))]
    pub timezone: Option<String>,
    /// What happens when a run is due while the one before still runs. Default: skip.
    #[serde(default)]
    pub overlap: Overlap,
    /// Longest random delay of a start, so that many schedules do not start at once. Default: 0s.
    #[serde(default)]
    pub jitter: HumanDuration,
}

/// What happens when a run is due while the one before still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Overlap {
    /// The run that is due is left out.
    #[default]
    Skip,
    /// It starts when the one before has ended, once, however many were due.
    Queue,
}

/// Why a schedule could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("a schedule has five fields, {0:?} has {1}")]
    FieldCount(String, usize),
    /// `@daily` and its like.
    #[error("{0:?} is not a schedule")]
    Nickname(String),
    /// A field could not be read.
    #[error("bad {field} {text:?} in the schedule: {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// Its text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A day that no month has.
    #[error("the schedule {0:?} never runs")]
    Never(String),
    /// Not an IANA zone.
    #[error("unknown time zone {0:?}")]
    Zone(String),
}

impl ScheduleError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::FieldCount(text, 6 | 7) => {
                let fields: Vec<&str> = text.split_whitespace().collect();
                let five = fields.get(1..6).unwrap_or(&[]).join(" ");
                Some(format!("there is no field for seconds or years: write {five:?}"))
            }
            Self::FieldCount(..) => {
                Some("minute, hour, day of month, month, day of week, such as \"30 2 * * *\"".into())
            }
            Self::Nickname(text) => {
                let five = match text.to_ascii_lowercase().as_str() {
                    "@hourly" => "0 * * * *",
                    "@weekly" => "0 0 * * 0",
                    "@monthly" => "0 0 1 * *",
                    "@yearly" | "@annually" => "0 0 1 1 *",
                    _ => "0 0 * * *",
                };
                Some(format!("write its five fields: {five:?}"))
            }
            Self::Never(_) => Some("no month it names has the day it names".into()),
            Self::Zone(text) => {
                Some(match suggest::nearest(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
                    Some(name) => format!("did you mean {name:?}?"),
                    None => "write an IANA name such as Europe/Berlin or UTC".into(),
                })
            }
            Self::Field { .. } => None,
        }
    }
}

/// The zone of a name; names are as IANA writes them.
pub fn zone(name: &str) -> Result<Tz, ScheduleError> {
    Tz::from_str(name).map_err(|_| ScheduleError::Zone(name.into()))
}

/// When a pipeline runs by itself.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The five fields as written.
    pub cron: String,
    /// The zone in which they are meant.
    pub timezone: Tz,
    /// What happens when a run is due while the one before still runs.
    pub overlap: Overlap,
    /// Longest random delay of a start.
    pub jitter: Duration,
    rules: Cron,
}

impl Schedule {
    /// Reads the options of a file.
    pub fn new(options: &ScheduleOptions) -> Result<Self, ScheduleError> {
        let rules = Cron::parse(&options.cron)?;
        let timezone = options.timezone.as_deref().map_or(Ok(Tz::UTC), zone)?;
        let (cron, jitter) = (options.cron.clone(), options.jitter.get());
        Ok(Self { cron, timezone, overlap: options.overlap, jitter, rules })
    }

    /// The next `n` runs strictly after a moment, without jitter; fewer only where the calendar ends (2100).
    ///
    /// A local time that does not exist, because clocks go forward, runs once at the first moment after the gap; one
    /// that exists twice runs once, the first time.
    pub fn next(&self, after: DateTime<Utc>, n: usize) -> Vec<DateTime<Tz>> {
        let local = after.with_timezone(&self.timezone).naive_local();
        // A run inside a gap moves forward by up to a day (Samoa skipped a whole one in 2011).
        let from = local.checked_sub_days(Days::new(2)).unwrap_or(local);
        let mut runs: Vec<DateTime<Tz>> = Vec::new();
        for naive in self.rules.after(from) {
            if runs.len() >= n {
                break;
            }
            let Some(moment) = self.moment(naive) else {
                continue;
            };
            if moment > after && runs.last().is_none_or(|last| moment > *last) {
                runs.push(moment);
            }
        }
        runs
    }

    fn moment(&self, naive: NaiveDateTime) -> Option<DateTime<Tz>> {
        match self.timezone.from_local_datetime(&naive) {
            MappedLocalTime::Single(moment) => Some(moment),
            MappedLocalTime::Ambiguous(first, second) => Some(first.min(second)),
            MappedLocalTime::None => self.after_gap(naive),
        }
    }

    /// The first moment after the gap that a local time falls into.
    fn after_gap(&self, naive: NaiveDateTime) -> Option<DateTime<Tz>> {
        let exists = |seconds: i64| {
            let naive = naive.checked_add_signed(TimeDelta::try_seconds(seconds)?)?;
            self.timezone.from_local_datetime(&naive).earliest()
        };
        // A quarter of an hour is shorter than any stretch between two changes.
        let (mut inside, mut outside) =
            (0, (1..=200).map(|step| step * 900).find(|seconds| exists(*seconds).is_some())?);
        while outside - inside > 1 {
            let middle = inside + (outside - inside) / 2;
            if exists(middle).is_some() { outside = middle } else { inside = middle }
        }
        exists(outside)
    }
}

/// Five parsed fields.
#[derive(Clone)]
pub struct Cron {
    /// One calendar, or two where either day is enough.
    calendars: Vec<cron::Schedule>,
}

impl Cron {
    /// Reads five fields and makes sure that they ever come true.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if text.trim().starts_with('@') {
            return Err(ScheduleError::Nickname(text.trim().into()));
        }
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(ScheduleError::FieldCount(text.into(), fields.len()));
        };
        let fields = Fields {
            minute: Field::parse(field::MINUTE, minute)?,
            hour: Field::parse(field::HOUR, hour)?,
            day: Field::parse(field::DAY, day)?,
            month: Field::parse(field::MONTH, month)?,
            weekday: Field::parse(field::WEEKDAY, weekday)?,
        };
        let mut calendars = Vec::new();
        for expression in fields.expressions() {
            // The expression is made of numbers in range, so this cannot fail; if it did, it would be seen.
            let calendar = cron::Schedule::from_str(&expression).map_err(|error| ScheduleError::Field {
                field: "calendar",
                text: expression.clone(),
                reason: error.to_string(),
            })?;
            calendars.push(calendar);
        }
        let cron = Self { calendars };
        let start = NaiveDateTime::default();
        if cron.after(start).next().is_none() {
            return Err(ScheduleError::Never(text.into()));
        }
        Ok(cron)
    }

    /// Local times after one, in order.
    fn after(&self, naive: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> {
        // Naive time dressed as UTC: a calendar without changes of the clock.
        let start = naive.and_utc();
        let mut runs: Vec<_> = self.calendars.iter().map(|calendar| calendar.after_owned(start).peekable()).collect();
        std::iter::from_fn(move || {
            let first = runs.iter_mut().filter_map(|run| run.peek().copied()).min()?;
            for run in &mut runs {
                // A moment that both calendars name is one run.
                run.next_if_eq(&first);
            }
            Some(first.naive_utc())
        })
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.calendars.iter().map(cron::Schedule::source)).finish()
    }
}

#[cfg(test)]
mod tests;
