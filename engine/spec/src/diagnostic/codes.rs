//! Every code with a line that explains it. A code is never reused for something else.

use super::Severity;

/// Code and explanation, in order. Codes that begin with `E` are errors, with `W` warnings.
pub const CODES: &[(&str, &str)] = &[
    ("E001", "the file is not well-formed YAML"),
    ("E002", "a mapping has the same key twice, so one of the two values would be lost"),
    ("E003", "the file is nested too deeply"),
    ("E004", "an alias makes the file too large, or contains itself"),
    (
        "E005",
        "a part of YAML that pipeline files do not use: tags, merge keys, several documents, keys that are no text",
    ),
    ("E006", "the file is too large"),
    ("E007", "the file is empty or is not a mapping"),
    ("E101", "a value has the wrong type"),
    ("E102", "a field that does not exist here"),
    ("E103", "a source, codec, encryption, sink or connection that this build does not have"),
    ("E104", "a required field is missing"),
    ("E105", "a value that is not one of those allowed"),
    ("E106", "a value out of its range"),
    ("E107", "a component must be a mapping with exactly one key, its name"),
    ("E108", "a text that does not have the form required: a size, a duration, a pattern"),
    ("E109", "options that contradict each other or that the component refuses"),
    ("E110", "a version of the pipeline file that this build cannot read"),
    ("E201", "an interpolation that is not well-formed, or an unknown kind of it"),
    ("E202", "an environment variable that the file needs is not set"),
    ("W202", "an environment variable that the file needs is not set here; run and plan refuse it"),
    ("E203", "a variable that the file does not declare"),
    ("E204", "variables that refer to each other in a circle"),
    ("E205", "a variable without a value: it must be given with --var"),
    ("W205", "a variable without a value; run and plan need it by --var"),
    ("E206", "a variable given with --var that the file does not declare"),
    ("E207", "an interpolation in a key: only values are interpolated"),
    ("E211", "a secret written into the file instead of a reference to it"),
    ("E212", "a secret reference in a field that is not secret, where it would be printed or stored"),
    ("E213", "a secret reference as a part of a longer text"),
    ("E214", "a secret reference that is not well-formed"),
    ("W215", "a password inside a URL"),
    ("E301", "the pipeline has no source"),
    ("E302", "the pipeline has no sink"),
    ("E303", "a stage where it may not stand"),
    ("E304", "a stage that may stand only once"),
    ("E305", "a codec or encrypt stage before a sink that does not store bytes, or that does not take this codec"),
    ("E306", "a stage must be a mapping with exactly one key"),
    ("E307", "a level of verification that the sink does not have"),
    ("E311", "a connection that the file does not define"),
    ("E312", "a connection of another kind than the stage that uses it"),
    ("W313", "a connection that no stage uses"),
    ("W321", "something that is checked and kept, but not done by this version"),
    ("E401", "a schedule that is not five cron fields, or never runs"),
    ("E402", "an unknown time zone"),
    ("E501", "SQL that cannot be parsed"),
    ("E502", "a column that the stages before have removed or never made"),
    ("E503", "a statement other than one SELECT"),
    ("E504", "a table other than input"),
    ("E505", "SQL that is too long or nested too deeply"),
    ("E506", "an unknown type"),
    ("E507", "two columns that end up with the same name, or one that is both kept and dropped"),
    ("E601", "two tests with the same name"),
];

/// The line that explains a code.
pub fn explain(code: &str) -> Option<&'static str> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, line)| *line)
}

/// What the first letter of a code says.
pub(crate) fn severity(code: &str) -> Severity {
    if code.starts_with('W') { Severity::Warning } else { Severity::Error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_explained() {
        for (index, (code, line)) in CODES.iter().enumerate() {
            assert!(CODES[index + 1..].iter().all(|(other, _)| other != code), "{code} twice");
            assert!(code.len() == 4 && !line.is_empty() && !line.ends_with('.'), "{code}");
        }
        assert_eq!(explain("E102"), Some("a field that does not exist here"));
    }
}
