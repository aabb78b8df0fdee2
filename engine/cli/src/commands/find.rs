//! Pipeline files below files, folders and globs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use restow_spec::diagnostic::Diagnostic;

use crate::app::read;
use crate::error::CliError;

/// Folders that hold no pipelines of the user's.
const LEFT_OUT: [&str; 2] = ["target", "node_modules"];
/// Characters that make a path a glob.
const GLOB: [char; 4] = ['*', '?', '[', '{'];

/// A file that may hold pipelines.
#[derive(Debug)]
pub struct Found {
    /// As the user would name it.
    pub path: PathBuf,
    /// Its text, or why it is none.
    pub text: Result<String, Diagnostic>,
}

impl Found {
    /// Whether pipelines are in fenced blocks.
    pub fn is_markdown(&self) -> bool {
        has_extension(&self.path, &["md", "markdown"])
    }
}

/// The files, each once, in order. In folders and globs, YAML files that are no pipelines are left out, and counted.
pub fn find(paths: &[String]) -> Result<(Vec<Found>, usize), CliError> {
    let (mut found, mut seen, mut others) = (Vec::new(), BTreeSet::new(), 0);
    for text in paths {
        let path = Path::new(text);
        let (files, named) = match (path.is_dir(), path.exists(), text.contains(GLOB)) {
            (true, ..) => (walk(path, &|file| is_candidate(file))?, false),
            (_, false, true) => (matching(text)?, false),
            _ => (vec![path.to_owned()], true),
        };
        if files.is_empty() {
            let message = format!("{text} has no pipeline files (.yaml, .yml, .md)");
            return Err(CliError::NotFound {
                message,
                hint: "name a file, a folder or a glob with pipelines in it".into(),
            });
        }
        for file in files {
            if !seen.insert(file.clone()) {
                continue;
            }
            let text = read(&file)?;
            let file = Found { path: file, text };
            if named || file.is_markdown() || file.text.as_deref().map_or(true, looks_like_pipeline) {
                found.push(file);
            } else {
                others += 1;
            }
        }
    }
    Ok((found, others))
}

fn matching(text: &str) -> Result<Vec<PathBuf>, CliError> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    let glob: GlobMatcher = match glob {
        Ok(glob) => glob.compile_matcher(),
        Err(error) => return Err(CliError::usage(format!("bad glob {text:?}: {}", error.kind()), "")),
    };
    let fixed: PathBuf =
        Path::new(text).components().take_while(|part| !part.as_os_str().to_string_lossy().contains(GLOB)).collect();
    let base = if fixed.as_os_str().is_empty() { Path::new(".") } else { &fixed };
    if !base.is_dir() {
        return Ok(Vec::new());
    }
    walk(base, &|file| glob.is_match(file.strip_prefix("./").unwrap_or(file)) || glob.is_match(file))
}

/// The files below a folder, sorted. Hidden folders and links to folders are not followed.
fn walk(folder: &Path, takes: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::Read { path: folder.to_owned(), source };
    let mut entries = std::fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(failed)?;
        if name.starts_with('.') || (kind.is_dir() && LEFT_OUT.contains(&name.as_str())) {
            continue;
        }
        if kind.is_dir() {
            files.extend(walk(&entry.path(), takes)?);
        } else if takes(&entry.path()) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn is_candidate(path: &Path) -> bool {
    has_extension(path, &["yaml", "yml", "md", "markdown"])
}

fn has_extension(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| known.contains(&extension.as_str()))
}

/// Other YAML (a compose file, restow.yaml) may stand beside pipelines.
fn looks_like_pipeline(text: &str) -> bool {
    let key = |line: &str| ["stages:", "\"stages\":", "version: 1"].iter().any(|key| line.starts_with(key));
    text.lines().any(key) || text.trim_start().starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_globs() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("a/.hidden")).unwrap();
        for (name, text) in [
            ("a/one.yaml", "version: 1\nstages: []\n"),
            ("a/compose.yaml", "services: {}\n"),
            ("a/README.md", "# x\n"),
            ("a/.hidden/two.yaml", "version: 1\n"),
            ("b.yaml", "other: 1\n"),
        ] {
            std::fs::write(root.join(name), text).unwrap();
        }
        let names = |paths: &[String]| {
            let (found, others) = find(paths).unwrap();
            let names: Vec<String> =
                found.iter().map(|file| file.path.strip_prefix(root).unwrap().display().to_string()).collect();
            (names, others)
        };
        let path = |name: &str| root.join(name).display().to_string();
        assert_eq!(names(&[path("a")]), (vec!["a/README.md".to_owned(), "a/one.yaml".to_owned()], 1));
        assert_eq!(names(&[path("*/*.yaml"), path("a/one.yaml")]), (vec!["a/one.yaml".to_owned()], 1));
        assert_eq!(names(&[path("b.yaml")]), (vec!["b.yaml".to_owned()], 0));
        assert!(matches!(find(&[path("none*.yaml")]), Err(CliError::NotFound { .. })));
        assert_eq!(find(&[path("missing.yaml")]).unwrap_err().code(), 10);
    }
}
