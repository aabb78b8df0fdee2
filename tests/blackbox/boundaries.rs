//! The invariants of the design that can be read off the sources: who may import whom, who prints, who reads the
//! environment, which versions there are.

use std::path::{Path, PathBuf};

use crate::support::{checkout, files_below};

/// A Rust source without comments and without its tests.
struct Source {
    /// Relative to the checkout.
    path: String,
    code: Vec<String>,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let relative = path.strip_prefix(checkout()).unwrap().display().to_string();
        let mut code: Vec<String> = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let trimmed = line.trim();
            if trimmed == "#[cfg(test)]" {
                // Test code at the end of a file, or one item.
                if lines.peek().is_some_and(|next| next.trim().ends_with("mod tests {")) {
                    break;
                }
                lines.next();
                continue;
            }
            if !trimmed.starts_with("//") {
                code.push(line.split(" // ").next().unwrap_or(line).to_owned());
            }
        }
        Self { path: relative, code }
    }

    fn lines_with<'a>(&'a self, words: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
        let holds = |line: &&String| words.iter().any(|word| has_word(line, word));
        self.code.iter().filter(holds).map(|line| format!("{}: {}", self.path, line.trim()))
    }
}

/// Whether a word stands in a line with no letter before it: `print!` is not in `eprint!`.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_'))
}

/// The sources below some folders, tests left out.
fn sources(folders: &[&str]) -> Vec<Source> {
    let is_test = |path: &str| {
        let parts: Vec<&str> = path.split('/').collect();
        parts.iter().any(|part| ["tests", "benches", "target"].contains(part))
            || path.ends_with("tests.rs")
            || path.ends_with("testing.rs")
    };
    let mut found = Vec::new();
    for folder in folders {
        let files: Vec<(String, PathBuf)> = files_below(&checkout().join(folder));
        assert!(!files.is_empty(), "{folder} is empty: has it moved?");
        found.extend(
            files
                .into_iter()
                .filter(|(name, _)| name.ends_with(".rs") && !is_test(name))
                .map(|(_, path)| Source::read(&path)),
        );
    }
    found
}

fn offences(folders: &[&str], words: &[&str], allowed: &[&str]) -> Vec<String> {
    let sources = sources(folders);
    let sources = sources.iter().filter(|source| !allowed.iter().any(|prefix| source.path.starts_with(prefix)));
    sources.flat_map(|source| source.lines_with(words).collect::<Vec<_>>()).collect()
}

const NONE: [&str; 0] = [];

/// Names of the direct dependencies of a crate, not those of its tests.
fn dependencies(folder: &str) -> Vec<String> {
    let text = std::fs::read_to_string(checkout().join(folder).join("Cargo.toml")).unwrap();
    let mut names = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[dependencies]" || (line.contains(".dependencies]") && !line.contains("workspace"));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            names.push(name.trim_matches('"').to_owned());
        }
    }
    assert!(!names.is_empty(), "no dependencies in {folder}/Cargo.toml: has its form changed?");
    names
}

fn check_dependencies(folder: &str, forbidden: &[&str]) {
    for name in dependencies(folder) {
        let hit = forbidden.iter().any(|prefix| name == *prefix || name.starts_with(&format!("{prefix}-")));
        assert!(!hit, "{folder} depends on {name}");
    }
}

const ENGINE: [&str; 4] = ["engine/spec", "engine/store", "engine/core", "engine/cli"];

#[test]
fn spec_needs_no_network_and_no_engine() {
    let forbidden = [
        "tokio",
        "datafusion",
        "arrow",
        "parquet",
        "object_store",
        "reqwest",
        "restow-store",
        "restow-core",
        "restow-cli",
        "restow-stages",
    ];
    check_dependencies("engine/spec", &forbidden);
    let used = ["tokio::", "datafusion::", "arrow::", "parquet::", "object_store::", "restow_store", "restow_core"];
    assert_eq!(offences(&["engine/spec"], &used, &[]), NONE);
}

#[test]
fn store_knows_no_datafusion() {
    check_dependencies("engine/store", &["datafusion", "restow-spec", "restow-core", "restow-cli", "restow-stages"]);
    assert_eq!(offences(&["engine/store"], &["datafusion::", "restow_spec", "restow_core"], &[]), NONE);
}

#[test]
fn the_engine_never_imports_stages() {
    for folder in ENGINE {
        check_dependencies(folder, &["restow-stages"]);
    }
    assert_eq!(offences(&ENGINE, &["restow_stages"], &[]), NONE);
    let main = Source::read(&checkout().join("engine/main.rs"));
    assert!(main.code.len() < 40, "the composition root has grown to {} lines", main.code.len());
    assert!(main.code.iter().any(|line| line.contains("restow_stages::registry()")));
}

#[test]
fn core_knows_no_command_line() {
    for folder in ["engine/core", "stages"] {
        check_dependencies(folder, &["clap", "indicatif", "restow-cli"]);
    }
}

#[test]
fn the_engine_names_no_database() {
    let databases =
        ["milvus", "weaviate", "falkordb", "qdrant", "pgvector", "chroma", "lancedb", "pinecone", "elasticsearch"];
    for source in sources(&ENGINE) {
        for line in &source.code {
            let lower = line.to_lowercase();
            assert!(!databases.iter().any(|name| lower.contains(name)), "{}: {}", source.path, line.trim());
        }
    }
}

#[test]
fn only_cli_prints_or_exits() {
    let words = [
        "println!",
        "print!",
        "eprintln!",
        "eprint!",
        "dbg!",
        "process::exit",
        "process::abort",
        "io::stdout",
        "io::stderr",
        "stdout()",
        "stderr()",
    ];
    assert_eq!(offences(&["engine", "stages"], &words, &["engine/cli/"]), NONE);
}

#[test]
fn only_spec_reads_the_environment() {
    let words = [
        "env::var",
        "env::vars",
        "env::var_os",
        "std::env",
        "env::set_var",
        "env::home_dir",
        "env::temp_dir",
        "env::current_dir",
    ];
    let allowed = ["engine/spec/src/environment.rs", "engine/cli/"];
    assert_eq!(offences(&["engine", "stages"], &words, &allowed), NONE);
}

/// An inherited default of a trait would go round the layer: an encrypting one would write plaintext.
#[test]
fn a_store_layer_overrides_every_method() {
    let mut layers = 0;
    for source in sources(&["engine", "stages"]) {
        for (number, line) in source.code.iter().enumerate() {
            if !line.starts_with("impl ObjectStore for ") {
                continue;
            }
            layers += 1;
            let before = &source.code[number.saturating_sub(3)..number];
            let denied = before.iter().any(|line| line.trim() == "#[deny(clippy::missing_trait_methods)]");
            assert!(denied, "{}: {line} may inherit a method", source.path);
        }
    }
    assert!(layers >= 4, "only {layers} layers were found: has the form of the sources changed?");
}

#[test]
fn unsafe_code_is_forbidden() {
    let read = |path: &str| std::fs::read_to_string(checkout().join(path)).unwrap();
    let of_workspace = read("Cargo.toml").contains("unsafe_code = \"forbid\"");
    let crates = [("engine/main.rs", "."), ("stages/lib.rs", "stages")].map(|(root, folder)| (root.to_owned(), folder));
    let engine = ENGINE.map(|folder| (format!("{folder}/src/lib.rs"), folder));
    for (root, folder) in crates.into_iter().chain(engine) {
        let takes_lints = read(&format!("{folder}/Cargo.toml")).contains("[lints]\nworkspace = true");
        let forbidden = read(&root).contains("#![forbid(unsafe_code)]") || (of_workspace && takes_lints);
        assert!(forbidden, "{root} does not forbid unsafe code");
    }
    assert_eq!(offences(&["engine", "stages"], &["unsafe {", "unsafe fn", "unsafe impl"], &[]), NONE);
}

/// arrow, parquet and object_store are those of DataFusion's own tree.
#[test]
fn one_version_of_the_engines_crates() {
    let lock = std::fs::read_to_string(checkout().join("Cargo.lock")).unwrap();
    let mut names: Vec<&str> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    names.sort_unstable();
    let families = ["arrow", "parquet", "object_store", "datafusion"];
    for pair in names.windows(2) {
        let of_family = families.iter().any(|family| pair[0] == *family || pair[0].starts_with(&format!("{family}-")));
        assert!(!of_family || pair[0] != pair[1], "two versions of {}", pair[0]);
    }
    for family in families {
        assert!(names.contains(&family), "{family} is not in Cargo.lock");
    }
}

#[test]
fn the_architecture_fits_a_few_screens() {
    let text = std::fs::read_to_string(checkout().join("ARCHITECTURE.md")).unwrap();
    assert!(text.lines().count() <= 200, "{} lines", text.lines().count());
}
