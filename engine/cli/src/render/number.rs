//! Numbers, sizes and times as people read them.

/// `4,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 row`, `4,000 rows`.
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// Decimal units, as disks and networks count: `812 B`, `9.8 MB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let mut value = number as f64;
    let mut unit = "";
    for next in UNITS {
        if value < 999.95 && !unit.is_empty() {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`.
pub fn seconds(time: f64) -> String {
    let time = if time.is_finite() { time.max(0.0) } else { 0.0 };
    if time < 9.95 {
        return format!("{time:.1} s");
    }
    // Bounded above: an estimate may be absurd, its text must not be.
    let whole = time.round().min(359_999_999.0) as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", grouped(whole / 3600), whole % 3600 / 60),
    }
}

/// `4.0`, or a dash where there is nothing to divide by.
pub fn ratio(of: u64, by: u64) -> String {
    if of == 0 || by == 0 { "-".to_owned() } else { format!("{:.1}", of as f64 / by as f64) }
}

/// `3,333 rows/s, 8.2 MB/s`.
pub fn rate(rows: u64, size: u64, time: f64) -> String {
    let per_second = |amount: u64| (amount as f64 / time.max(0.001)).round() as u64;
    match size {
        0 => format!("{} rows/s", grouped(per_second(rows))),
        _ => format!("{} rows/s, {}/s", grouped(per_second(rows)), bytes(per_second(size))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let groups: Vec<String> = [0, 999, 1000, 12_345_678].map(grouped).into();
        assert_eq!(groups, ["0", "999", "1,000", "12,345,678"]);
        let sizes: Vec<String> = [0, 999, 1000, 999_949, 999_950, 9_800_000, u64::MAX].map(bytes).into();
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "9.8 MB", "18446.7 PB"]);
        let times: Vec<String> = [0.04, 9.96, 59.6, 200.0, 7500.0, f64::NAN].map(seconds).into();
        assert_eq!(times, ["0.0 s", "10 s", "1 min 00 s", "3 min 20 s", "2 h 05 min", "0.0 s"]);
        assert_eq!((ratio(10, 4), ratio(0, 4), ratio(1, 0)), ("2.5".into(), "-".into(), "-".into()));
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(rate(1000, 2_000_000, 0.5), "2,000 rows/s, 4.0 MB/s");
    }
}
