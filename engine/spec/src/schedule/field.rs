//! One field of a Unix cron line: `*`, `*/15`, `1-5`, `mon-fri`, `0,30`, `10-50/20`.

use std::collections::BTreeSet;

use super::ScheduleError;
use crate::suggest;

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
    /// The number of the first name.
    first_name: u32,
}

pub(super) const MINUTE: Rule = Rule { name: "minute", least: 0, most: 59, names: &[], first_name: 0 };
pub(super) const HOUR: Rule = Rule { name: "hour", least: 0, most: 23, names: &[], first_name: 0 };
pub(super) const DAY: Rule = Rule { name: "day of month", least: 1, most: 31, names: &[], first_name: 0 };
pub(super) const MONTH: Rule = Rule {
    name: "month",
    least: 1,
    most: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    first_name: 1,
};
/// 7 is Sunday too, so that `5-7` can be written.
pub(super) const WEEKDAY: Rule = Rule {
    name: "day of week",
    least: 0,
    most: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    first_name: 0,
};

/// The numbers that a field names.
#[derive(Debug, Clone)]
pub(super) struct Field {
    numbers: BTreeSet<u32>,
    /// Begins with `*`: then it does not restrict, also as `*/2`, in the sense of "day of month or day of week".
    star: bool,
}

impl Field {
    pub fn parse(rule: Rule, text: &str) -> Result<Self, ScheduleError> {
        let mut numbers = BTreeSet::new();
        for item in text.split(',') {
            let refuse = |reason: String| ScheduleError::Field { field: rule.name, text: text.into(), reason };
            numbers.extend(item_numbers(rule, item).map_err(refuse)?);
        }
        Ok(Self { numbers, star: text.starts_with('*') })
    }
}

fn item_numbers(rule: Rule, item: &str) -> Result<Vec<u32>, String> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (item, None),
    };
    let (first, last) = if range == "*" {
        (rule.least, if rule.most == 7 { 6 } else { rule.most })
    } else if let Some((first, last)) = range.split_once('-') {
        (number(rule, first)?, number(rule, last)?)
    } else {
        let only = number(rule, range)?;
        (only, if step.is_some() { rule.most } else { only })
    };
    if first > last {
        return Err(format!("the range {range} runs backwards"));
    }
    let step = match step {
        None => 1,
        Some(step) => match step.parse::<u32>() {
            Ok(step) if step >= 1 && step <= rule.most => step,
            _ => return Err(format!("the step {step:?} must be between 1 and {}", rule.most)),
        },
    };
    let step = usize::try_from(step).unwrap_or(1);
    Ok((first..=last).step_by(step).collect())
}

fn number(rule: Rule, text: &str) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(index) = rule.names.iter().position(|name| *name == lower) {
        return Ok(rule.first_name + u32::try_from(index).unwrap_or(0));
    }
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(number) if digits && (rule.least..=rule.most).contains(&number) => Ok(number),
        Ok(_) if digits => Err(format!("{text} is not between {} and {}", rule.least, rule.most)),
        _ => Err(match suggest::nearest(text, rule.names.iter().copied()) {
            Some(name) => format!("{text:?} is no number or name; did you mean {name:?}?"),
            None if rule.names.is_empty() => format!("{text:?} is no number"),
            None => format!("{text:?} is no number or name"),
        }),
    }
}

/// All five fields.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    pub minute: Field,
    pub hour: Field,
    pub day: Field,
    pub month: Field,
    pub weekday: Field,
}

impl Fields {
    /// Lines for the `cron` crate: seconds first, weekdays from 1 (Sunday). Two lines where both days are restricted,
    /// since either is enough then.
    pub fn expressions(&self) -> Vec<String> {
        let list = |numbers: &mut dyn Iterator<Item = u32>| {
            let unique: BTreeSet<String> = numbers.map(|number| number.to_string()).collect();
            unique.into_iter().collect::<Vec<_>>().join(",")
        };
        let minute = list(&mut self.minute.numbers.iter().copied());
        let hour = list(&mut self.hour.numbers.iter().copied());
        let day = list(&mut self.day.numbers.iter().copied());
        let month = list(&mut self.month.numbers.iter().copied());
        let weekday = list(&mut self.weekday.numbers.iter().map(|day| day % 7 + 1));
        if self.day.star || self.weekday.star {
            return vec![format!("0 {minute} {hour} {day} {month} {weekday}")];
        }
        vec![format!("0 {minute} {hour} {day} {month} *"), format!("0 {minute} {hour} * {month} {weekday}")]
    }
}
