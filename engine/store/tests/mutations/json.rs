//! Mutations of JSON as text: what no value can say (numbers of any size, members named twice) can be written, too.

use std::ops::Range;

use crate::random::Random;

/// Where the parts of a JSON text stand.
#[derive(Debug, Default)]
pub struct Parts {
    /// Every value.
    pub values: Vec<Range<usize>>,
    /// Every member, from the quote of its name to the end of its value.
    pub members: Vec<Range<usize>>,
    /// The values that are numbers.
    pub numbers: Vec<Range<usize>>,
    /// The values that are texts, with their quotes.
    pub texts: Vec<Range<usize>>,
    /// The values that are lists.
    pub lists: Vec<Range<usize>>,
}

/// What lies deeper is not looked at.
const DEPTH: usize = 300;

/// Finds the parts of a text; of one that is no JSON those that come before the mistake.
pub fn parts(text: &[u8]) -> Parts {
    let mut parts = Parts::default();
    value(text, 0, DEPTH, &mut parts);
    parts
}

fn blank(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`.
fn value(text: &[u8], at: usize, depth: usize, parts: &mut Parts) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    let start = blank(text, at);
    let end = match *text.get(start)? {
        b'{' => items(text, start, b'}', depth, parts)?,
        b'[' => items(text, start, b']', depth, parts)?,
        b'"' => quoted(text, start)?,
        _ => {
            let rest = text.get(start..)?;
            let length = rest.iter().position(|b| b",]} \n".contains(b)).unwrap_or(rest.len());
            // Nothing where a value should be: who went on would never come to an end.
            if length == 0 {
                return None;
            }
            start + length
        }
    };
    match text.get(start)? {
        b'"' => parts.texts.push(start..end),
        b'[' => parts.lists.push(start..end),
        b'-' | b'0'..=b'9' => parts.numbers.push(start..end),
        _ => {}
    }
    parts.values.push(start..end);
    Some(end)
}

fn quoted(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn items(text: &[u8], start: usize, close: u8, depth: usize, parts: &mut Parts) -> Option<usize> {
    let mut at = blank(text, start + 1);
    while *text.get(at)? != close {
        let begin = at;
        if close == b'}' {
            at = blank(text, quoted(text, at)?) + 1;
        }
        at = value(text, at, depth, parts)?;
        if close == b'}' {
            parts.members.push(begin..at);
        }
        at = blank(text, at);
        if text.get(at)? == &b',' {
            at = blank(text, at + 1);
        }
    }
    Some(at + 1)
}

/// Numbers at which something overflows, rounds, or is refused.
const NUMBERS: [&str; 20] = [
    "0",
    "-1",
    "1",
    "-0",
    "0.5",
    "1e3",
    "1e999",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551614",
    "9223372036854775807",
    "9007199254740993",
    "4294967295",
    "4294967296",
    "281474976710656",
    "65536",
    "1048577",
    "262144",
    "16",
];

/// Values that stand for nothing that belongs there.
const VALUES: [&str; 18] = [
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"../../x\"",
    "\"/\"",
    "\"a//b\"",
    "\"data/a/b/c\"",
    "\"repository.json\"",
    "\"keys/1.json\"",
    "\"1\"",
    "\"2\"",
    "[[]]",
    "\"\u{e9}\u{1f512}\"",
];

/// A mutation of a JSON text, and what it is called.
pub type Mutation = fn(&[u8], &Parts, &mut Random) -> Option<Vec<u8>>;

pub const MUTATIONS: [(&str, Mutation); 11] = [
    ("json: a digit", digit),
    ("json: a number", number),
    ("json: another value", other_value),
    ("json: deep nesting", nested),
    ("json: a member removed", removed),
    ("json: a member twice", twice),
    ("json: a name changed", renamed),
    ("json: values exchanged", exchanged),
    ("json: a value copied", copied),
    ("json: a list grown", grown),
    ("json: a long text", long),
];

fn splice(text: &[u8], range: &Range<usize>, by: &[u8]) -> Vec<u8> {
    [&text[..range.start], by, &text[range.end..]].concat()
}

fn digit(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    let from = if random.one_in(2) { &parts.numbers } else { &parts.texts };
    let range = random.of(from)?.clone();
    let digits: Vec<usize> = range.filter(|at| text[*at].is_ascii_digit()).collect();
    let mut changed = text.to_vec();
    changed[*random.of(&digits)?] = b'0' + random.below(10) as u8;
    Some(changed)
}

fn number(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    let range = random.of(&parts.numbers)?;
    let long = "9".repeat(400);
    let by = if random.one_in(20) { &long } else { *random.of(&NUMBERS)? };
    Some(splice(text, range, by.as_bytes()))
}

fn other_value(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    Some(splice(text, random.of(&parts.values)?, random.of(&VALUES)?.as_bytes()))
}

/// A value in lists or objects: a few, about as many as a reader takes, or far too many.
fn nested(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    let range = random.of(&parts.values)?;
    let depth = [1, 100, 124, 125, 126, 127, 128, 129, 1000, 100_000][random.below(10)];
    let (open, close) = if random.one_in(2) { ("[", "]") } else { ("{\"a\":", "}") };
    let whole = if random.one_in(3) { &text[range.clone()] } else { b"0" };
    Some(splice(text, range, &[open.repeat(depth).as_bytes(), whole, close.repeat(depth).as_bytes()].concat()))
}

fn removed(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    let mut range = random.of(&parts.members)?.clone();
    if text.get(range.end) == Some(&b',') {
        range.end += 1;
    } else if range.start > 0 && text[range.start - 1] == b',' {
        range.start -= 1;
    }
    Some(splice(text, &range, b""))
}

/// The same member again, or another one's value under its name; behind it, or before it.
fn twice(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    let range = random.of(&parts.members)?;
    let member = &text[range.clone()];
    let name = &member[..quoted(member, 0)?];
    let value = &text[random.of(&parts.values)?.clone()];
    let again = if random.one_in(2) { member.to_vec() } else { [name, b":", value].concat() };
    let both =
        if random.one_in(2) { [member, b",", &again].concat() } else { [again.as_slice(), b",", member].concat() };
    Some(splice(text, range, &both))
}

fn renamed(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    let range = random.of(&parts.members)?;
    let name = range.start..range.start + quoted(&text[range.clone()], 0)?;
    let other = random.of(&parts.members)?;
    let other = &text[other.start..other.start + quoted(&text[other.clone()], 0)?];
    let by = if random.one_in(2) { other } else { b"\"x\"" };
    Some(splice(text, &name, by))
}

fn exchanged(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    let (one, two) = (random.of(&parts.values)?, random.of(&parts.values)?);
    let (one, two) = if one.start < two.start { (one, two) } else { (two, one) };
    if one.end > two.start {
        return None;
    }
    let pieces =
        [&text[..one.start], &text[two.clone()], &text[one.end..two.start], &text[one.clone()], &text[two.end..]];
    Some(pieces.concat())
}

fn copied(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    let from = text[random.of(&parts.values)?.clone()].to_vec();
    Some(splice(text, random.of(&parts.values)?, &from))
}

/// A list with its elements many times.
fn grown(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    let range = random.of(&parts.lists)?;
    let inner = &text[range.start + 1..range.end - 1];
    let inner = if inner.is_empty() { b"0" } else { inner };
    let times = [2, 3, 65, 1000][random.below(4)].min(1 + (1 << 20) / inner.len());
    Some(splice(text, range, &[b"[", vec![inner; times].join(&b","[..]).as_slice(), b"]"].concat()))
}

fn long(text: &[u8], parts: &Parts, random: &mut Random) -> Option<Vec<u8>> {
    let range = random.of(&parts.texts)?;
    let by = format!("\"{}\"", ["a", "/", "0", "\\\\"][random.below(4)].repeat([121, 5000, 1 << 20][random.below(3)]));
    Some(splice(text, range, by.as_bytes()))
}
