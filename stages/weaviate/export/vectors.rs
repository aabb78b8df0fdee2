//! The vectors of an export: `{"name":[1.5,2.5]}`, and `{"name":[[1.5],[2.5]]}` where a value is several. The server prints the
//! numbers itself, and those that JSON does not have as `NaN`, `+Inf` and `-Inf`.

use std::collections::BTreeMap;

/// Named vectors.
pub type Named = BTreeMap<String, Vec<f32>>;
/// Named vectors of several vectors each.
pub type Several = BTreeMap<String, Vec<Vec<f32>>>;

/// Reads named vectors.
///
/// # Errors
/// They have another form.
pub fn named(text: &[u8]) -> Result<Named, String> {
    Parser { text, at: 0 }.all(Parser::vector)
}

/// Reads named vectors of several vectors each.
///
/// # Errors
/// They have another form.
pub fn several(text: &[u8]) -> Result<Several, String> {
    Parser { text, at: 0 }.all(|parser| parser.list(Parser::vector))
}

/// Little-endian floats.
///
/// # Errors
/// The bytes are no whole number of floats.
pub fn floats(bytes: &[u8]) -> Result<Vec<f32>, String> {
    let (values, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("a vector of {} bytes, which is no whole number of floats", bytes.len()));
    }
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

/// Prints a vector as the server does.
pub fn print(values: impl Iterator<Item = f32>, out: &mut String) {
    out.push('[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(',');
        }
        match value {
            value if value.is_nan() => out.push_str("NaN"),
            f32::INFINITY => out.push_str("+Inf"),
            f32::NEG_INFINITY => out.push_str("-Inf"),
            // The shortest text that reads as the same float.
            value => out.push_str(&value.to_string()),
        }
    }
    out.push(']');
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn all<T>(mut self, value: impl Fn(&mut Self) -> Result<T, String>) -> Result<BTreeMap<String, T>, String> {
        let mut found = BTreeMap::new();
        self.expect(b'{')?;
        if !self.takes(b'}') {
            loop {
                let name = self.name()?;
                self.expect(b':')?;
                if found.insert(name.clone(), value(&mut self)?).is_some() {
                    return Err(format!("vector {name:?} is there twice"));
                }
                if !self.takes(b',') {
                    break;
                }
            }
            self.expect(b'}')?;
        }
        self.blanks();
        if self.at < self.text.len() { Err(self.wrong()) } else { Ok(found) }
    }

    fn vector(&mut self) -> Result<Vec<f32>, String> {
        self.list(Self::number)
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let mut items = Vec::new();
        self.expect(b'[')?;
        if self.takes(b']') {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if !self.takes(b',') {
                break;
            }
        }
        self.expect(b']')?;
        Ok(items)
    }

    fn number(&mut self) -> Result<f32, String> {
        self.blanks();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b',' | b']' | b' ' | b'\n')).unwrap_or(rest.len());
        let text = rest.get(..end).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        let number = text.parse().map_err(|_| format!("a vector holds {text:?}"))?;
        self.at += end;
        Ok(number)
    }

    /// Names of vectors have letters, digits and underscores: nothing is escaped.
    fn name(&mut self) -> Result<String, String> {
        self.expect(b'"')?;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or_else(|| self.wrong())?;
        let name = rest.get(..end).and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(|| self.wrong())?;
        self.at += end;
        self.expect(b'"')?;
        Ok(name.to_owned())
    }

    fn blanks(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        self.blanks();
        let is = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.takes(byte) { Ok(()) } else { Err(self.wrong()) }
    }

    fn wrong(&self) -> String {
        format!("its named vectors cannot be read at byte {}", self.at)
    }
}
