//! The names of types, as `cast:` of a transform and `schema:` of a files source write them.
//!
//! This is the only grammar of them: `lint` checks with it, and the stages map what it gives to Arrow types.

use std::str::FromStr;

use crate::suggest;

/// Every name, for messages.
const NAMES: &str = "bool, int, int8 to int64, uint8 to uint64, float, float32, float16, decimal(p,s), text, uuid, \
                     json, binary, date, timestamp, timestamp(s|ms|us|ns), vector(n), \
                     vector(n,float16|float32|float64), multi_vector(n), sparse_vector, list(type)";
/// How deep `list(...)` may be nested.
const MAX_NESTING: usize = 8;
/// Most characters of a name that a message repeats.
const MAX_SHOWN: usize = 60;

/// A type that a column may be declared as or cast to.
///
/// Case does not matter. Names of SQL stand where they mean exactly one of the types.
///
/// | names | type |
/// |---|---|
/// | `bool`, `boolean` | Boolean |
/// | `int`, `integer`, `bigint`, `long`, `int64`; `int32`; `int16`, `smallint`; `int8`, `tinyint` | signed integers |
/// | `uint64`; `uint32`; `uint16`; `uint8` | unsigned integers |
/// | `float`, `double`, `double precision`, `number`, `float64`; `float32`, `real`; `float16`, `half` | floats |
/// | `decimal(p,s)`, `numeric(p,s)`, `decimal128(p,s)`; `decimal(p)` without decimals | up to 38 digits |
/// | `text`, `string`, `varchar`, `utf8`; `uuid`; `json` | text |
/// | `binary`, `bytes`, `bytea`, `blob` | bytes |
/// | `date`, `date32` | a day |
/// | `timestamp`, `datetime`, both also with `(s)`, `(ms)`, `(us)` or `(ns)` | an instant; microseconds if bare |
/// | `vector(n)`, `vector(n,float16)`; `multi_vector(n)`; `sparse_vector` | vectors; of float32 without a type |
/// | `list(type)` | a list |
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeName {
    /// True or false.
    Boolean,
    /// 8 bits, signed.
    Int8,
    /// 16 bits, signed.
    Int16,
    /// 32 bits, signed.
    Int32,
    /// 64 bits, signed.
    Int64,
    /// 8 bits, unsigned.
    UInt8,
    /// 16 bits, unsigned.
    UInt16,
    /// 32 bits, unsigned.
    UInt32,
    /// 64 bits, unsigned.
    UInt64,
    /// A floating-point number.
    Float(Float),
    /// A decimal number.
    Decimal {
        /// All its digits: 1 to 38.
        precision: u8,
        /// Those after the point: 0 to `precision`.
        scale: i8,
    },
    /// Text.
    Text,
    /// Text whose values are UUIDs.
    Uuid,
    /// Text whose values are JSON.
    Json,
    /// Bytes.
    Binary,
    /// A day.
    Date,
    /// An instant in UTC.
    Timestamp(Unit),
    /// A dense vector.
    Vector {
        /// How many numbers it has: at least 1.
        dimension: i32,
        /// Their type.
        item: Float,
    },
    /// Any number of dense vectors of `float32`.
    MultiVector {
        /// How many numbers each one has: at least 1.
        dimension: i32,
    },
    /// A sparse vector.
    SparseVector,
    /// A list.
    List(Box<TypeName>),
}

/// How wide a floating-point number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Float {
    /// 16 bits.
    Half,
    /// 32 bits.
    Single,
    /// 64 bits.
    Double,
}

/// The unit of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Second,
    /// Milliseconds.
    Millisecond,
    /// Microseconds.
    Microsecond,
    /// Nanoseconds.
    Nanosecond,
}

/// A text that names no type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TypeError {
    /// What is wrong: lowercase, no final period.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// The first character concerned, from 0.
    pub start: usize,
    /// How many characters are concerned.
    pub length: usize,
}

impl FromStr for TypeName {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        Part { text, start: 0, depth: 0 }.read()
    }
}

/// A text that shall name a type: the whole of it, or what stands in brackets.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    /// Characters before it.
    start: usize,
    /// Brackets around it.
    depth: usize,
}

impl<'a> Part<'a> {
    fn read(self) -> Result<TypeName, TypeError> {
        let part = self.trimmed();
        if part.depth > MAX_NESTING {
            let message = format!("type {:?} is nested more than {MAX_NESTING} deep", shown(part.text));
            return Err(part.refuse(message, "lists of lists seldom need more than two levels".into()));
        }
        let Some((word, argument)) = part.split() else {
            return Err(part.unknown("close the bracket that is open".into()));
        };
        let lower = word.to_ascii_lowercase();
        let found = match argument {
            None => simple(&lower),
            Some(argument) if lower == "list" && !argument.text.trim().is_empty() => {
                return argument.read().map(|item| TypeName::List(Box::new(item)));
            }
            Some(argument) => with_argument(&lower, argument),
        };
        found.ok_or_else(|| part.unknown(part.help(&lower, argument)))
    }

    fn trimmed(self) -> Self {
        let before = self.text.chars().count() - self.text.trim_start().chars().count();
        Self { text: self.text.trim(), start: self.start + before, depth: self.depth }
    }

    /// `vector(384)` -> (`vector`, `384`); `int` -> (`int`, none).
    fn split(self) -> Option<(&'a str, Option<Self>)> {
        match self.text.split_once('(') {
            None => Some((self.text, None)),
            Some((word, rest)) => {
                let start = self.start + word.chars().count() + 1;
                let argument = Self { text: rest.strip_suffix(')')?, start, depth: self.depth + 1 };
                Some((word.trim_end(), Some(argument)))
            }
        }
    }

    fn refuse(self, message: String, help: String) -> TypeError {
        TypeError { message, help, start: self.start, length: self.text.chars().count() }
    }

    fn unknown(self, help: String) -> TypeError {
        self.refuse(format!("unknown type {:?}", shown(self.text)), help)
    }

    /// The form of a name that is known, the nearest name to one that is not, or all of them.
    fn help(self, lower: &str, argument: Option<Self>) -> String {
        if let Some((_, form, _)) = FORMS.iter().find(|(words, ..)| words.contains(&lower)) {
            return (*form).to_owned();
        }
        if argument.is_some() && simple(lower).is_some() {
            return format!("write {lower:?}: it takes nothing in brackets");
        }
        if let Some(item) = self.text.strip_suffix("[]").filter(|item| self.names_a_type(item)) {
            return format!("did you mean \"list({})\"?", item.trim());
        }
        let words = SIMPLE.iter().flat_map(|(words, _)| *words).chain(FORMS.iter().flat_map(|(words, ..)| *words));
        let Some(nearest) = suggest::nearest(lower, words.copied()) else {
            return format!("the types are {NAMES}");
        };
        let rest = self.text.find('(').and_then(|bracket| self.text.get(bracket..)).unwrap_or("");
        let example =
            FORMS.iter().find(|(words, ..)| words.contains(&nearest)).map_or(nearest, |(.., example)| example);
        let whole = format!("{nearest}{rest}");
        format!("did you mean {:?}?", if self.names_a_type(&whole) { whole.as_str() } else { example })
    }

    /// Whether a text that could stand in the place of this one names a type.
    fn names_a_type(self, text: &str) -> bool {
        text.chars().count() <= MAX_SHOWN && Part { text, start: 0, depth: self.depth }.read().is_ok()
    }
}

/// Names that stand alone.
const SIMPLE: &[(&[&str], TypeName)] = &[
    (&["bool", "boolean"], TypeName::Boolean),
    (&["int", "integer", "bigint", "long", "int64"], TypeName::Int64),
    (&["int8", "tinyint"], TypeName::Int8),
    (&["int16", "smallint"], TypeName::Int16),
    (&["int32"], TypeName::Int32),
    (&["uint8"], TypeName::UInt8),
    (&["uint16"], TypeName::UInt16),
    (&["uint32"], TypeName::UInt32),
    (&["uint64"], TypeName::UInt64),
    (&["float", "double", "double precision", "number", "float64"], TypeName::Float(Float::Double)),
    (&["float32", "real"], TypeName::Float(Float::Single)),
    (&["float16", "half"], TypeName::Float(Float::Half)),
    (&["text", "string", "varchar", "utf8"], TypeName::Text),
    (&["uuid"], TypeName::Uuid),
    (&["json"], TypeName::Json),
    (&["binary", "bytes", "bytea", "blob"], TypeName::Binary),
    (&["date", "date32"], TypeName::Date),
    (&["timestamp", "datetime"], TypeName::Timestamp(Unit::Microsecond)),
    (&["sparse_vector"], TypeName::SparseVector),
];

/// Names with something in brackets, what must stand there, and an example.
const FORMS: &[(&[&str], &str, &str)] = &[
    (
        &["vector"],
        "write its dimension, and the type of float if it is not float32: vector(384), vector(384,float16)",
        "vector(384)",
    ),
    (&["multi_vector"], "write the dimension of its vectors: multi_vector(128)", "multi_vector(128)"),
    (&["list"], "write the type of its elements: list(text)", "list(text)"),
    (
        &["decimal", "numeric", "decimal128"],
        "write all its digits, 1 to 38, and those after the point: decimal(10,2)",
        "decimal(10,2)",
    ),
    (&["timestamp", "datetime"], "the units are s, ms, us and ns, such as timestamp(ms)", "timestamp"),
];

fn simple(lower: &str) -> Option<TypeName> {
    SIMPLE.iter().find(|(words, _)| words.contains(&lower)).map(|(_, name)| name.clone())
}

fn with_argument(lower: &str, argument: Part<'_>) -> Option<TypeName> {
    let text = argument.text.trim();
    match lower {
        "timestamp" | "datetime" => {
            let unit = match text.to_ascii_lowercase().as_str() {
                "s" => Unit::Second,
                "ms" => Unit::Millisecond,
                "us" => Unit::Microsecond,
                "ns" => Unit::Nanosecond,
                _ => return None,
            };
            Some(TypeName::Timestamp(unit))
        }
        "decimal" | "numeric" | "decimal128" => {
            let (precision, scale) = text.split_once(',').unwrap_or((text, "0"));
            let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            let fits = (1..=38).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
            fits.then_some(TypeName::Decimal { precision, scale })
        }
        "vector" => {
            let (dimension, item) = text.split_once(',').unwrap_or((text, "float32"));
            let Some(TypeName::Float(item)) = simple(&item.trim().to_ascii_lowercase()) else {
                return None;
            };
            Some(TypeName::Vector { dimension: dimension_of(dimension)?, item })
        }
        "multi_vector" => Some(TypeName::MultiVector { dimension: dimension_of(text)? }),
        _ => None,
    }
}

fn dimension_of(text: &str) -> Option<i32> {
    text.trim().parse().ok().filter(|dimension| *dimension > 0)
}

/// A name as a message shows it.
fn shown(name: &str) -> String {
    let mut letters = name.chars();
    let mut start: String = letters.by_ref().take(MAX_SHOWN).collect();
    if letters.next().is_some() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> TypeName {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn names_of_types() {
        for (texts, expected) in [
            (&["bool", "boolean", "BOOLEAN"][..], TypeName::Boolean),
            (&["int", "integer", "bigint", "long", "int64", " Int "], TypeName::Int64),
            (&["int32"], TypeName::Int32),
            (&["int16", "smallint"], TypeName::Int16),
            (&["int8", "tinyint"], TypeName::Int8),
            (&["uint8"], TypeName::UInt8),
            (&["uint16"], TypeName::UInt16),
            (&["uint32"], TypeName::UInt32),
            (&["uint64"], TypeName::UInt64),
            (&["float", "double", "double precision", "number", "float64"], TypeName::Float(Float::Double)),
            (&["float32", "real"], TypeName::Float(Float::Single)),
            (&["float16", "half"], TypeName::Float(Float::Half)),
            (
                &["decimal(10,2)", "decimal(10, 2)", "numeric(10,2)", "Decimal128(10, 2)", "DECIMAL ( 10 , 2 )"],
                TypeName::Decimal { precision: 10, scale: 2 },
            ),
            (&["decimal(38)", "decimal(38,0)"], TypeName::Decimal { precision: 38, scale: 0 }),
            (&["text", "string", "varchar", "TEXT", "Utf8"], TypeName::Text),
            (&["uuid"], TypeName::Uuid),
            (&["json"], TypeName::Json),
            (&["binary", "bytes", "bytea", "blob"], TypeName::Binary),
            (&["date", "Date32"], TypeName::Date),
            (&["timestamp", "datetime", "timestamp(us)"], TypeName::Timestamp(Unit::Microsecond)),
            (&["timestamp(ms)", "datetime( ms )"], TypeName::Timestamp(Unit::Millisecond)),
            (&["timestamp(s)"], TypeName::Timestamp(Unit::Second)),
            (&["timestamp(ns)"], TypeName::Timestamp(Unit::Nanosecond)),
            (&["vector(3)", " Vector( 3 ) ", "vector(3,real)"], TypeName::Vector { dimension: 3, item: Float::Single }),
            (&["vector(3,float16)", "vector(3, half)"], TypeName::Vector { dimension: 3, item: Float::Half }),
            (&["vector(3,float64)"], TypeName::Vector { dimension: 3, item: Float::Double }),
            (&["multi_vector(3)"], TypeName::MultiVector { dimension: 3 }),
            (&["sparse_vector"], TypeName::SparseVector),
            (&["list(float)"], TypeName::List(Box::new(TypeName::Float(Float::Double)))),
            (&["list(list(text))"], TypeName::List(Box::new(TypeName::List(Box::new(TypeName::Text))))),
        ] {
            for text in texts {
                assert_eq!(good(text), expected, "{text}");
            }
        }
    }

    #[test]
    fn every_name_of_the_help_is_a_type() {
        let help = "itn itn".parse::<TypeName>().unwrap_err().help;
        assert_eq!(help, format!("the types are {NAMES}"));
        for name in NAMES.split(", ") {
            let name = name.replace("(p,s)", "(9,2)").replace("(n", "(3").replace("type", "int");
            for name in name.split(" to ") {
                let (before, choices) = name.split_once('|').map_or((name, ""), |(first, rest)| (first, rest));
                good(&if choices.is_empty() { before.to_owned() } else { format!("{before})") });
            }
        }
        for (_, _, example) in FORMS {
            good(example);
        }
    }

    #[test]
    fn what_is_no_type() {
        const VECTOR: &str =
            "write its dimension, and the type of float if it is not float32: vector(384), vector(384,float16)";
        const DECIMAL: &str = "write all its digits, 1 to 38, and those after the point: decimal(10,2)";
        const UNITS: &str = "the units are s, ms, us and ns, such as timestamp(ms)";
        let all = format!("the types are {NAMES}");
        for (text, named, help, place) in [
            ("", "", all.as_str(), (0, 0)),
            ("itn", "itn", "did you mean \"int\"?", (0, 3)),
            ("integr", "integr", "did you mean \"integer\"?", (0, 6)),
            (" Strng ", "Strng", "did you mean \"string\"?", (1, 5)),
            ("int int", "int int", &all, (0, 7)),
            ("time", "time", &all, (0, 4)),
            ("interval", "interval", &all, (0, 8)),
            ("varchar(3)", "varchar(3)", "write \"varchar\": it takes nothing in brackets", (0, 10)),
            ("float[]", "float[]", "did you mean \"list(float)\"?", (0, 7)),
            ("vektor(3)", "vektor(3)", "did you mean \"vector(3)\"?", (0, 9)),
            ("vektor", "vektor", "did you mean \"vector(384)\"?", (0, 6)),
            ("vector", "vector", VECTOR, (0, 6)),
            ("vector(0)", "vector(0)", VECTOR, (0, 9)),
            ("vector(-1)", "vector(-1)", VECTOR, (0, 10)),
            ("vector(3,text)", "vector(3,text)", VECTOR, (0, 14)),
            ("vector(3", "vector(3", "close the bracket that is open", (0, 8)),
            ("decimal(", "decimal(", "close the bracket that is open", (0, 8)),
            ("multi_vector()", "multi_vector()", "write the dimension of its vectors: multi_vector(128)", (0, 14)),
            ("decimal", "decimal", DECIMAL, (0, 7)),
            ("decimal(40,2)", "decimal(40,2)", DECIMAL, (0, 13)),
            ("numeric(3,4)", "numeric(3,4)", DECIMAL, (0, 12)),
            ("timestamp(6)", "timestamp(6)", UNITS, (0, 12)),
            ("list()", "list()", "write the type of its elements: list(text)", (0, 6)),
            ("list(itn)", "itn", "did you mean \"int\"?", (5, 3)),
            ("list( list(é) )", "é", &all, (11, 1)),
            ("lst(itn)", "lst(itn)", "did you mean \"list(text)\"?", (0, 8)),
        ] {
            let error = text.parse::<TypeName>().unwrap_err();
            let found = (error.message.as_str(), error.help.as_str(), (error.start, error.length));
            assert_eq!(found, (format!("unknown type {named:?}").as_str(), help, place), "{text}");
        }
    }

    #[test]
    fn hostile_names_are_bounded() {
        let deep = format!("{}int{}", "list(".repeat(20), ")".repeat(20));
        let error = deep.parse::<TypeName>().unwrap_err();
        assert_eq!(error.message, format!("type \"{}int))…\" is nested more than 8 deep", "list(".repeat(11)));
        let (open, closed) = ("lst(".repeat(5_000), ")".repeat(5_000));
        for text in [format!("{open}{closed}"), open, "é".repeat(50_000)] {
            let error = text.parse::<TypeName>().unwrap_err();
            assert!(error.message.len() < 200 && error.help.len() < 400, "{error:?}");
        }
        assert!(good("list(list(list(list(list(list(list(list(int))))))))") != TypeName::Int64);
    }
}
