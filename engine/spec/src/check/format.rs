//! Texts of a certain form: the `format` of a schema.

use super::{Leaf, Outcome, Walk, words};
use crate::finding::Finding;
use crate::schedule;
use crate::units::{ByteSize, HumanDuration};

impl Walk<'_> {
    pub(super) fn format(&self, format: &str, text: &str, pointer: &str, out: &mut Outcome) {
        let place = || self.document.value_place(pointer);
        let finding = match format {
            "secret" => return self.secret(pointer, out),
            "sql-expression" | "sql-query" | "sql-type" | "connection" => {
                return out.leaves.push(Leaf { pointer: pointer.into(), format: format.into() });
            }
            "byte-size" => ByteSize::parse(text).err().map(|error| refused(place(), &error.to_string())),
            "duration" => HumanDuration::parse(text).err().map(|error| refused(place(), &error.to_string())),
            "glob" => globset::Glob::new(text)
                .err()
                .map(|error| Finding::new("E108", place(), format!("{text:?} is not a pattern: {}", error.kind()))),
            "cron" => schedule::Cron::parse(text)
                .err()
                .map(|error| Finding::new("E401", place(), error.to_string()).maybe_help(error.help())),
            "time-zone" => schedule::zone(text)
                .err()
                .map(|error| Finding::new("E402", place(), error.to_string()).maybe_help(error.help())),
            "url" => password_in(text).then(|| {
                Finding::new("W215", place(), "a password inside a URL")
                    .help("use the secret fields of the connection, with \"${secret:env:NAME}\"")
            }),
            _ => None,
        };
        match finding {
            Some(finding) if finding.is_error() => self.fail(out, pointer, finding),
            // The password itself is masked wherever a URL holds one.
            Some(finding) => out.findings.push(finding),
            None => {}
        }
    }

    pub(super) fn secret(&self, pointer: &str, out: &mut Outcome) {
        if self.interpolated.secrets.contains(pointer) {
            out.secrets.insert(pointer.into());
            return;
        }
        out.literals.push(pointer.into());
        let message = format!("{} must be a reference to a secret, not the secret itself", words::place_name(pointer));
        let finding = Finding::new("E211", self.document.value_place(pointer), message).help(self.secret_help(pointer));
        self.fail(out, pointer, finding);
    }
}

impl Walk<'_> {
    /// An environment variable in the wrong words is put right; a literal is not repeated.
    fn secret_help(&self, pointer: &str) -> String {
        let raw = self.document.text().get(self.document.whole(pointer)).unwrap_or("");
        let name = raw.trim_matches(['"', '\'']).strip_prefix("${env:").and_then(|rest| rest.split([':', '}']).next());
        match name.filter(|name| !name.is_empty()) {
            Some(name) => format!("write \"${{secret:env:{name}}}\""),
            None => "write \"${secret:env:NAME}\", \"${secret:file:PATH}\" or \"${secret:exec:COMMAND}\"".into(),
        }
    }
}

/// The units' messages say the remedy after a colon.
fn refused(place: crate::yaml::Place, message: &str) -> Finding {
    match message.split_once("\": ") {
        Some((what, remedy)) => Finding::new("E108", place, format!("{what}\"")).help(remedy),
        None => match message.split_once(": ") {
            Some((what, remedy)) => Finding::new("E108", place, what).help(remedy),
            None => Finding::new("E108", place, message),
        },
    }
}

/// Whether a URL carries `user:password@`.
pub(crate) fn password_in(text: &str) -> bool {
    password_range(text).is_some()
}

/// Where the password of a URL stands in the text.
pub(crate) fn password_range(text: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find("://")? + 3;
    let authority = text.get(start..)?.split(['/', '?', '#', ' ']).next()?;
    let user_end = authority.rfind('@')?;
    let colon = authority.get(..user_end)?.find(':')?;
    let range = start + colon + 1..start + user_end;
    (!range.is_empty()).then_some(range)
}
