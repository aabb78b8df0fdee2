//! What a plain scalar means: the core schema of YAML 1.2, section 10.3.2.

use serde_json::{Number, Value};

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

/// Why a scalar has no meaning here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// `.inf` and `.nan`.
    NotFinite,
    /// An integer outside of 64 bits, which a float would round.
    TooLarge,
}

/// The value of a plain scalar.
pub(super) fn plain(text: &str) -> Result<Value, Refused> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let first = text.bytes().next().unwrap_or(b' ');
    if !first.is_ascii_digit() && !matches!(first, b'-' | b'+' | b'.') {
        return Ok(Value::String(text.into()));
    }
    if let Some(integer) = integer(text)? {
        return Ok(integer);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Err(Refused::NotFinite);
    }
    if is_float(unsigned) {
        let number = text.strip_prefix('+').unwrap_or(text).parse::<f64>().ok();
        return number.and_then(Number::from_f64).map(Value::Number).ok_or(Refused::NotFinite);
    }
    Ok(Value::String(text.into()))
}

fn integer(text: &str) -> Result<Option<Value>, Refused> {
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            return u64::from_str_radix(digits, radix).map(|n| Some(n.into())).map_err(|_| Refused::TooLarge);
        }
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let number = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = number.parse::<u64>() {
        return Ok(Some(number.into()));
    }
    number.parse::<i64>().map(|number| Some(number.into())).map_err(|_| Refused::TooLarge)
}

/// `[0-9]* ("." [0-9]*)? ([eE] [-+]? [0-9]+)?` with at least one digit before the exponent.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_holds = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn core_schema() {
        for (text, value) in [
            ("no", json!("no")),
            ("on", json!("on")),
            ("~", json!(null)),
            ("True", json!(true)),
            ("0o17", json!(15)),
            ("0xFF", json!(255)),
            ("-12", json!(-12)),
            ("+12", json!(12)),
            ("1.5e3", json!(1500.0)),
            (".5", json!(0.5)),
            ("1.", json!(1.0)),
            ("2025-01-01", json!("2025-01-01")),
            ("1_000", json!("1_000")),
            ("-", json!("-")),
            (".", json!(".")),
            ("1e", json!("1e")),
            ("18446744073709551615", json!(u64::MAX)),
        ] {
            assert_eq!(plain(text), Ok(value), "{text}");
        }
        assert_eq!(plain("18446744073709551616"), Err(Refused::TooLarge));
        assert_eq!(plain("-.inf"), Err(Refused::NotFinite));
        assert_eq!(plain("1e999"), Err(Refused::NotFinite));
    }
}
