//! `--objects`: only these ids, and which of them were never seen.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::{EngineError, Result};

/// The ids asked for in one dataset.
#[derive(Debug)]
pub struct IdFilter {
    /// The id column of the source.
    pub column: String,
    wanted: HashSet<String>,
    seen: Mutex<HashSet<String>>,
}

impl IdFilter {
    /// Only these ids of this column.
    pub fn new(column: impl Into<String>, ids: impl IntoIterator<Item = String>) -> Self {
        Self { column: column.into(), wanted: ids.into_iter().collect(), seen: Mutex::default() }
    }

    /// The ids asked for, sorted.
    pub fn wanted(&self) -> Vec<&str> {
        let mut wanted: Vec<&str> = self.wanted.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        wanted
    }

    /// Which rows have one of the ids; remembers the ids seen.
    ///
    /// # Errors
    /// An id cannot be printed.
    pub fn mask(&self, ids: &ArrayRef) -> Result<BooleanArray> {
        let options = FormatOptions::default();
        let format = ArrayFormatter::try_new(ids.as_ref(), &options)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (0..ids.len())
            .map(|row| {
                if ids.is_null(row) {
                    return Ok(Some(false));
                }
                let id = format.value(row).try_to_string().map_err(|error| EngineError::failed(error.to_string()))?;
                let wanted = self.wanted.contains(&id);
                if wanted {
                    seen.insert(id);
                }
                Ok(Some(wanted))
            })
            .collect()
    }

    /// The ids asked for that no row had, sorted.
    pub fn missing(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing: Vec<String> = self.wanted.difference(&seen).cloned().collect();
        missing.sort_unstable();
        missing
    }
}
