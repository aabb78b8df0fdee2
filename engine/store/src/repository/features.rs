//! Features: how a later version says what its objects hold, and which readers must keep off.

use serde::{Deserialize, Serialize};

/// Features that this build reads. Format 1 begins with none.
const KNOWN: &[&str] = &[];

/// Files of other snapshots are listed.
pub(super) const INHERITED_FILES: &str = "inherited-files";
/// Rows are removed by files of deleted ids.
pub(super) const DELETE_FILES: &str = "delete-files";
/// Files overlap: of the rows with one id the highest sequence wins.
pub(super) const SEQUENCES: &str = "sequences";
/// Change segments continue the snapshot; required only where it is not whole without them.
pub(super) const CHANGES: &str = "changes";

/// Names of features. Absent means none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Features {
    /// Without these the object would be read wrongly: who does not know one refuses (exit 14).
    pub required: Vec<String>,
    /// Who does not know one of these ignores it.
    pub optional: Vec<String>,
}

impl Features {
    /// A required feature that this build does not know.
    pub fn unknown(&self) -> Option<&str> {
        self.required.iter().map(String::as_str).find(|name| !KNOWN.contains(name))
    }

    /// Whether a feature is named as required.
    pub(super) fn requires(&self, name: &str) -> bool {
        self.required.iter().any(|required| required == name)
    }

    /// Whether a feature is named at all.
    pub(super) fn names(&self, name: &str) -> bool {
        self.requires(name) || self.optional.iter().any(|optional| optional == name)
    }

    /// Names a feature as required, once.
    pub(super) fn require(&mut self, name: &str) {
        if !self.requires(name) {
            self.required.push(name.to_owned());
        }
    }
}

/// How errors name a feature that is not known.
pub(crate) fn problem(feature: &str) -> String {
    format!("it requires the feature {feature:?}")
}
