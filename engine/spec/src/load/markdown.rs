//! Pipelines inside of Markdown: fenced YAML blocks, with the line numbers of the Markdown file.

use super::{LoadOptions, load_from_line};
use crate::diagnostic::Diagnostic;
use crate::pipeline::Pipeline;

/// One fenced block that looks like a pipeline.
#[derive(Debug)]
pub struct Block {
    /// The first line of its text in the file, from 1.
    pub line: u32,
    /// The pipeline, where it has no errors.
    pub pipeline: Option<Pipeline>,
    /// All that is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

/// Loads every fenced `yaml` or `yml` block that has a `stages:` or `version:` key at its top level.
///
/// A block whose info string holds `ignore` is left out: text about mistakes shows mistakes.
pub fn load_markdown(path: &str, text: &str, options: &LoadOptions<'_>) -> Vec<Block> {
    blocks(text)
        .into_iter()
        .filter(|block| looks_like_pipeline(&block.text))
        .map(|block| {
            let (pipeline, diagnostics) = load_from_line(path, &block.text, block.line, options);
            Block { line: block.line, pipeline, diagnostics }
        })
        .collect()
}

struct Fenced {
    line: u32,
    text: String,
}

/// Fences after CommonMark 0.31, section 4.5: at least three backticks or tildes, closed by as many of the same.
fn blocks(text: &str) -> Vec<Fenced> {
    let mut found = Vec::new();
    let mut open: Option<(char, usize, Option<Fenced>)> = None;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let trimmed = line.trim_start();
        let mark = trimmed.chars().next().filter(|mark| matches!(mark, '`' | '~'));
        let length = mark.map_or(0, |mark| trimmed.chars().take_while(|letter| *letter == mark).count());
        let info = trimmed.get(length..).unwrap_or("").trim();
        match &mut open {
            None if length >= 3 => {
                let line = u32::try_from(index + 2).unwrap_or(u32::MAX);
                let block = is_yaml(info).then(|| Fenced { line, text: String::new() });
                open = mark.map(|mark| (mark, length, block));
            }
            None => {}
            Some((fence, least, block)) => {
                if mark == Some(*fence) && length >= *least && info.is_empty() {
                    found.extend(block.take());
                    open = None;
                } else if let Some(block) = block {
                    block.text.push_str(line);
                }
            }
        }
    }
    // A fence that is never closed runs to the end of the file.
    found.extend(open.and_then(|(_, _, block)| block));
    found
}

fn is_yaml(info: &str) -> bool {
    let mut words = info.split([' ', ',', '{', '}']);
    let language = words.next().unwrap_or("").to_ascii_lowercase();
    matches!(language.as_str(), "yaml" | "yml") && !words.any(|word| word == "ignore")
}

fn looks_like_pipeline(text: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let lines = || text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let Some(least) = lines().map(indent).min() else {
        return false;
    };
    lines().any(|line| {
        let rest = line.get(least..).unwrap_or("");
        ["stages", "version"]
            .iter()
            .any(|key| rest.strip_prefix(key).is_some_and(|tail| tail.trim_start().starts_with(':')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences() {
        let text = "# a\n\n```yaml\nversion: 1\n```\n~~~yml\n  stages: []\n~~~\n````yaml\nstages: 1\n```\n````\n```sh\nversion: 1\n```\n```yaml ignore\nversion: 2\n```\n```yaml\nother: 1\n```\n";
        let found: Vec<(u32, String)> = blocks(text)
            .into_iter()
            .filter(|block| looks_like_pipeline(&block.text))
            .map(|block| (block.line, block.text))
            .collect();
        assert_eq!(
            found,
            [(4, "version: 1\n".into()), (7, "  stages: []\n".into()), (10, "stages: 1\n```\n".to_owned())]
        );
    }
}
