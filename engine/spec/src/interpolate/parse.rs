//! `${env:N}`, `${env:N:-default}`, `${env:N:?message}`, `${var:n}` and `$$` in a text.

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Stands for itself.
    Literal(String),
    /// `$$`, which stands for `$`.
    Dollar,
    Env {
        name: String,
        otherwise: Otherwise,
    },
    Var(String),
    /// A `${secret:...}` that is not the whole text.
    Secret,
    /// What is between `${` and `}` and has no meaning.
    Unknown(String),
    /// A `${` without its `}`.
    Open,
}

/// What an environment variable that is unset or empty stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// An error where it is unset; empty is a value.
    Refuse,
    Default(String),
    Message(String),
}

/// Splits a text; each part with its number of characters.
pub(super) fn parts(text: &str) -> Vec<(Part, usize)> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        literal.push_str(before);
        let (part, used) = match tail.as_bytes().get(1) {
            Some(b'$') => (Part::Dollar, 2),
            Some(b'{') => match tail.find('}') {
                Some(end) => (reference(tail.get(2..end).unwrap_or("")), end + 1),
                None => (Part::Open, tail.len()),
            },
            _ => {
                literal.push('$');
                rest = tail.get(1..).unwrap_or("");
                continue;
            }
        };
        flush(&mut literal, &mut parts);
        let length = tail.get(..used).map_or(0, |part| part.chars().count());
        parts.push((part, length));
        rest = tail.get(used..).unwrap_or("");
    }
    literal.push_str(rest);
    flush(&mut literal, &mut parts);
    parts
}

fn flush(literal: &mut String, parts: &mut Vec<(Part, usize)>) {
    if !literal.is_empty() {
        let length = literal.chars().count();
        parts.push((Part::Literal(std::mem::take(literal)), length));
    }
}

fn reference(body: &str) -> Part {
    match body.split_once(':') {
        Some(("env", rest)) => environment(rest).unwrap_or_else(|| Part::Unknown(body.into())),
        Some(("var", name)) if is_name(name) => Part::Var(name.into()),
        Some(("secret", _)) => Part::Secret,
        _ => Part::Unknown(body.into()),
    }
}

fn environment(rest: &str) -> Option<Part> {
    let (name, otherwise) = match rest.split_once(':') {
        None => (rest, Otherwise::Refuse),
        Some((name, tail)) => match (tail.strip_prefix('-'), tail.strip_prefix('?')) {
            (Some(default), _) => (name, Otherwise::Default(default.into())),
            (_, Some(message)) => (name, Otherwise::Message(message.into())),
            _ => return None,
        },
    };
    is_name(name).then(|| Part::Env { name: name.into(), otherwise })
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let text = "a${env:H:-x:y}$$b${var:v}$c${nope}${env:Q:?no é}";
        let found: Vec<Part> = parts(text).into_iter().map(|(part, _)| part).collect();
        assert_eq!(
            found,
            [
                Part::Literal("a".into()),
                Part::Env { name: "H".into(), otherwise: Otherwise::Default("x:y".into()) },
                Part::Dollar,
                Part::Literal("b".into()),
                Part::Var("v".into()),
                Part::Literal("$c".into()),
                Part::Unknown("nope".into()),
                Part::Env { name: "Q".into(), otherwise: Otherwise::Message("no é".into()) },
            ]
        );
        let length: usize = parts(text).iter().map(|(_, length)| length).sum();
        assert_eq!(length, text.chars().count());
        assert_eq!(parts("$${env:A}"), [(Part::Dollar, 2), (Part::Literal("{env:A}".into()), 7)]);
        assert_eq!(parts("${env:A"), [(Part::Open, 7)]);
    }
}
