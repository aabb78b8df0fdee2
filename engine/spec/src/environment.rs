//! The environment as a value that is passed in, so that loading a pipeline is a pure function of its arguments.

use std::collections::BTreeMap;

/// Looks up environment variables.
pub trait Environment: Send + Sync {
    /// The value of `name`, or `None` where it is unset or is not valid UTF-8.
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process: the only reader of `std::env` in the program.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        // `std::env::var` has no defined answer for such names; a pipeline can spell them.
        if name.is_empty() || name.contains(['=', '\0']) {
            return None;
        }
        std::env::var(name).ok()
    }
}

/// A fixed environment, for tests and for commands that must not look at the real one.
impl Environment for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }
}
