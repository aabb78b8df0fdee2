//! The canonical text of numbers and times, and the way back. Encoding, decoding and inference agree because they all
//! use this file.

use std::fmt::{self, Write as _};

use arrow::datatypes::TimeUnit;
use chrono::{DateTime, Datelike, NaiveDate};

/// Significant digits that a [`Decimal`] holds at most; the shortest decimal of a 64-bit float has 17.
const DIGITS: usize = 24;

/// A decimal number in one form for each value: no zeros at either end of the digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    digits: [u8; DIGITS],
    length: usize,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        write!(f, "{sign}{}e{}", self.number().unwrap_or_default(), self.exponent)
    }
}

impl Decimal {
    /// Reads a number in JSON's grammar, or as Rust prints it with `{:e}`. `None` where it is no number, or has more
    /// significant digits than any float's shortest decimal.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut number = Self { negative, digits: [0; DIGITS], length: 0, exponent };
        let mut zeros = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            number.push(digit, &mut zeros)?;
        }
        let fraction = i64::try_from(fraction.len()).ok()?;
        number.exponent = if number.length == 0 { 0 } else { exponent.checked_sub(fraction)?.checked_add(zeros)? };
        Some(number)
    }

    /// The digits as one number.
    fn number(&self) -> Option<u128> {
        let digits = self.digits.get(..self.length)?;
        Some(digits.iter().fold(0, |number, digit| number * 10 + u128::from(*digit)))
    }

    /// Adds a digit; zeros wait in `zeros` until a digit other than zero follows.
    fn push(&mut self, digit: u8, zeros: &mut i64) -> Option<()> {
        match digit {
            b'0' if self.length == 0 => {}
            b'0' => *zeros += 1,
            b'1'..=b'9' => {
                let gap = usize::try_from(std::mem::take(zeros)).ok()?;
                let at = self.length.checked_add(gap)?;
                *self.digits.get_mut(at)? = digit - b'0';
                self.length = at + 1;
            }
            _ => return None,
        }
        Some(())
    }
}

/// Whether the text means exactly the shortest decimal of this float. `1`, `1.0` and `10e-1` mean the same; `0` and `-0`
/// do not.
pub(super) fn means<T: fmt::LowerExp + fmt::Display>(text: &str, float: T) -> bool {
    let mut shortest = Stack::default();
    // Most files are written by printers that give the same text: the comparison by value costs several times as much.
    if write!(shortest, "{float}").is_ok() && shortest.as_str() == text {
        return true;
    }
    shortest = Stack::default();
    if write!(shortest, "{float:e}").is_err() {
        return false;
    }
    match (Decimal::parse(text), Decimal::parse(shortest.as_str())) {
        (Some(text), Some(float)) => text == float,
        _ => false,
    }
}

/// Whether the text is a shortest decimal of this float. As [`means`], but where the float lies exactly half-way between
/// two decimals either counts: printers choose differently, and both read back as the same float.
pub(super) fn is_shortest(text: &str, float: f32) -> bool {
    let reads = || text.parse::<f32>().is_ok_and(|read| read.to_bits() == float.to_bits());
    means(text, float) || (is_half_way(text, f64::from(float)).unwrap_or(false) && reads())
}

/// As [`is_shortest`], for the text of a 32-bit float that was widened to 64 bits before it was written.
pub(super) fn is_shortest_wide(text: &str, float: f32) -> bool {
    let wide = f64::from(float);
    let reads = || text.parse::<f64>().is_ok_and(|read| read.to_bits() == wide.to_bits());
    means(text, wide) || (is_half_way(text, wide).unwrap_or(false) && reads())
}

/// Whether a 32-bit float is exactly half a unit of the text's last digit away from the text.
fn is_half_way(text: &str, float: f64) -> Option<bool> {
    let exact = Decimal::parse(&format!("{float:.23e}"))?;
    let text = Decimal::parse(text)?;
    let apart = (text.number()? * 10).abs_diff(exact.number()?);
    let aligned = text.exponent.checked_sub(1)? == exact.exponent && text.negative == exact.negative;
    Some(aligned && apart == 5)
}

/// Whether the text is a number in JSON's grammar.
pub(super) fn is_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// Whether a JSON number has neither fraction nor exponent, and is not `-0`, which only a float can hold.
pub(super) fn is_whole(number: &str) -> bool {
    number != "-0" && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// The units of a timestamp since 1970 that an RFC 3339 text stands for, rounded down; and whether that is canonical:
/// printed again, it gives the same text.
///
/// Only the strict form is taken: capital `T` and `Z`, seconds 00 to 59, one to nine digits of fraction. Anything else
/// stays text. `zoned` says whether the column has a time zone; without one the text must not name an offset.
pub(crate) fn parse_timestamp(text: &str, unit: TimeUnit, zoned: bool) -> Option<(i64, bool)> {
    let day = parse_date(text.get(..10)?)?;
    let time = text.get(10..)?.strip_prefix('T')?;
    let (hours, minutes) = (two(time, 0)?, two(time, 3)?);
    let seconds = two(time, 6)?;
    let colons = time.get(2..3)? == ":" && time.get(5..6)? == ":";
    if !colons || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let (nanos, offset) = fraction(time.get(8..)?)?;
    let offset = match (offset, zoned) {
        ("Z", true) | ("", false) => 0,
        (offset, true) => offset_seconds(offset)?,
        _ => return None,
    };
    let since = i64::from(day) * 86_400 + hours * 3600 + minutes * 60 + seconds - offset;
    let value = match unit {
        TimeUnit::Second => Some(since),
        TimeUnit::Millisecond => since.checked_mul(1_000).and_then(|value| value.checked_add(nanos / 1_000_000)),
        TimeUnit::Microsecond => since.checked_mul(1_000_000).and_then(|value| value.checked_add(nanos / 1_000)),
        TimeUnit::Nanosecond => since.checked_mul(1_000_000_000).and_then(|value| value.checked_add(nanos)),
    }?;
    let mut printed = String::with_capacity(text.len());
    let canonical = print_timestamp(value, unit, zoned, &mut printed).is_some() && printed == text;
    Some((value, canonical))
}

/// Prints a timestamp as RFC 3339, with as few digits of fraction as hold it and `Z` where the column has a time zone.
/// `None` where the year is not between 0 and 9999, which RFC 3339 cannot write.
pub(crate) fn print_timestamp(value: i64, unit: TimeUnit, zoned: bool, out: &mut String) -> Option<()> {
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let (seconds, part) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    let moment = DateTime::from_timestamp(seconds, 0)?.naive_utc();
    if !(0..=9999).contains(&moment.year()) {
        return None;
    }
    write!(out, "{}", moment.format("%Y-%m-%dT%H:%M:%S")).ok()?;
    if part > 0 {
        let nanos = part * (1_000_000_000 / per_second);
        let digits = format!("{nanos:09}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
    if zoned {
        out.push('Z');
    }
    Some(())
}

/// Days since 1970 of `YYYY-MM-DD`, years 0000 to 9999.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let dashes = bytes.len() == 10 && bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-');
    if !dashes {
        return None;
    }
    let year = two(text, 0)? * 100 + two(text, 2)?;
    let (month, day) = (u32::try_from(two(text, 5)?).ok()?, u32::try_from(two(text, 8)?).ok()?);
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    i32::try_from(date.signed_duration_since(epoch()?).num_days()).ok()
}

/// Prints days since 1970 as `YYYY-MM-DD`; `None` outside the years 0 to 9999.
pub(super) fn print_date(days: i32, out: &mut String) -> Option<()> {
    let date = epoch()?.checked_add_signed(chrono::TimeDelta::try_days(i64::from(days))?)?;
    if !(0..=9999).contains(&date.year()) {
        return None;
    }
    write!(out, "{}", date.format("%Y-%m-%d")).ok()
}

/// Whether the text is a UUID in its 36-character form, in either case.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn epoch() -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(1970, 1, 1)
}

/// The number of two digits at a place.
fn two(text: &str, at: usize) -> Option<i64> {
    let digits = text.get(at..at + 2)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// `.25Z` -> (250,000,000 nanoseconds, `Z`).
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, offset) = rest.split_at_checked(length)?;
    if !(1..=9).contains(&length) {
        return None;
    }
    let scale = 10_i64.pow(u32::try_from(9 - length).ok()?);
    Some((digits.parse::<i64>().ok()? * scale, offset))
}

/// `+02:00` -> 7200.
fn offset_seconds(text: &str) -> Option<i64> {
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = (two(text, 1)?, two(text, 4)?);
    let fits = text.len() == 6 && text.get(3..4)? == ":" && hours <= 23 && minutes <= 59;
    fits.then_some(sign * (hours * 3600 + minutes * 60))
}

/// A short text on the stack.
struct Stack {
    bytes: [u8; 48],
    length: usize,
}

impl Default for Stack {
    fn default() -> Self {
        Self { bytes: [0; 48], length: 0 }
    }
}

impl Stack {
    fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Write for Stack {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_compare_by_value() {
        assert!(means("1", 1.0_f64) && means("1.0", 1.0_f64) && means("10e-1", 1.0_f64) && means("0.1E+1", 1.0_f64));
        assert!(means("0", 0.0_f64) && !means("-0", 0.0_f64) && means("-0.00", -0.0_f64));
        assert!(means("0.06502265", 0.06502265_f32) && !means("0.06502264738082886", 0.06502265_f32));
        assert!(means("0.06502264738082886", f64::from(0.06502265_f32)));
        // A float half-way between two decimals of eight digits.
        // Exactly 0.71692657470703125: the shortest texts of 64 bits are two.
        let half_way = 0.716_926_6_f32;
        assert_eq!(half_way.to_bits(), 0x3f37_8880);
        assert!(is_shortest_wide("0.7169265747070312", half_way) && is_shortest_wide("0.7169265747070313", half_way));
        assert!(!is_shortest_wide("0.71692657470703", half_way) && !is_shortest_wide("0.1", 0.1_f32));
        assert!(is_shortest("-0.051757812", -0.051757812_f32) && is_shortest("-0.051757813", -0.051757812_f32));
        assert!(!is_shortest("16.285384", 16.285383_f32) && !is_shortest("-0.051757814", -0.051757812_f32));
        assert!(!is_shortest("-0.0517578125", -0.051757812_f32) && !is_shortest("0.06502264738082886", 0.06502265_f32));
        assert!(!means("9007199254740993", 9007199254740992.0_f64));
        assert!(means("100000000000000000000", 1e20_f64));
        assert!(!means("0.1000000000000000055511151231257827", 0.1_f64));
        assert!(!means("1e99999999999999999999", 1.0_f64));
    }

    #[test]
    fn numbers_by_grammar() {
        for good in ["0", "-0", "12", "1.5", "1e5", "1E-5", "-0.25e+10"] {
            assert!(is_number(good), "{good}");
        }
        for bad in ["", "-", "01", "+1", "1.", ".5", "1e", "NaN", "inf", "0x1", " 1", "1 ", "1_000"] {
            assert!(!is_number(bad), "{bad}");
        }
    }

    #[test]
    fn timestamps_both_ways() {
        let micros = |text| parse_timestamp(text, TimeUnit::Microsecond, true);
        assert_eq!(micros("1970-01-01T00:00:01Z"), Some((1_000_000, true)));
        assert_eq!(micros("1970-01-01T00:00:00.25Z"), Some((250_000, true)));
        assert_eq!(micros("1970-01-01T00:00:00.250Z"), Some((250_000, false)));
        assert_eq!(micros("1970-01-01T02:00:00+02:00"), Some((0, false)));
        assert_eq!(micros("1970-01-01T00:00:00.123456789Z"), Some((123_456, false)));
        assert_eq!(micros("1969-12-31T23:59:59.5Z"), Some((-500_000, true)));
        assert!(matches!(micros("0001-01-01T00:00:00Z"), Some((_, true))));
        assert!(matches!(micros("9999-12-31T23:59:59.999999Z"), Some((_, true))));
        for bad in [
            "2025-02-29T00:00:00Z",
            "2025-01-01",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:00:60Z",
            "2025-01-01t00:00:00Z",
            "2025-01-01T00:00:00",
            "2025-01-01T00:00:00z",
            "2025-01-01T00:00:00.Z",
            "2025-01-01T00:00:00.1234567890Z",
            "2025-01-01T00:00:00+2:00",
            "2025-01-01T00:00:00é",
            "é025-01-01T00:00:00Z",
        ] {
            assert_eq!(micros(bad), None, "{bad}");
        }
        assert_eq!(parse_timestamp("1970-01-01T00:00:01", TimeUnit::Second, false), Some((1, true)));
        assert_eq!(print_timestamp(i64::MAX, TimeUnit::Microsecond, true, &mut String::new()), None);
    }

    #[test]
    fn dates_both_ways() {
        for text in ["0000-01-01", "0001-01-01", "1969-12-31", "1970-01-01", "2024-02-29", "9999-12-31"] {
            let mut printed = String::new();
            print_date(parse_date(text).unwrap(), &mut printed).unwrap();
            assert_eq!(printed, text);
        }
        assert_eq!(parse_date("2025-02-29"), None);
        assert_eq!(parse_date("2025-1-01"), None);
        assert_eq!(print_date(i32::MAX, &mut String::new()), None);
    }
}
