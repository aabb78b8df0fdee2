//! The test vectors of `schemas/repository-format.md`, read from the document itself, so that it and the code cannot
//! drift apart.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;

const DOCUMENT: &str = include_str!("../../../schemas/repository-format.md");

/// Bytes by name: `vector` blocks by their name, objects as `encrypted:<path>` or `plain:<path>`.
pub(crate) fn blocks() -> BTreeMap<String, Vec<u8>> {
    let (_, vectors) = DOCUMENT.split_once("<!-- vectors: begin -->").unwrap();
    let mut found = BTreeMap::new();
    for block in vectors.split("\n```").filter(|block| !block.trim().is_empty()) {
        let (head, text) = block.split_once('\n').unwrap_or((block, ""));
        let bytes = match head.split_once(' ') {
            Some(("hex", _)) => unhex(text),
            Some(("vector", "derived")) => text.as_bytes().to_vec(),
            Some(("vector", _)) => unhex(text),
            Some(("object", _)) => format!("{text}\n").into_bytes(),
            _ => continue,
        };
        let name = head.split_once(' ').unwrap().1.to_owned();
        assert!(found.insert(name, bytes).is_none(), "{head} is there twice");
    }
    found
}

/// One block.
pub(crate) fn block(name: &str) -> Vec<u8> {
    blocks().remove(name).unwrap_or_else(|| panic!("the document has no block {name}"))
}

/// A line of the block `derived`, in hex.
pub(crate) fn derived(name: &str) -> String {
    let text = String::from_utf8(block("derived")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    line.unwrap_or_else(|| panic!("the document has no value {name:?}")).to_owned()
}

/// The objects of one of the two repositories, by path.
pub(crate) fn objects(repository: &str) -> Vec<(String, Vec<u8>)> {
    let prefix = format!("{repository}:");
    let found: Vec<_> = blocks()
        .into_iter()
        .filter_map(|(name, bytes)| Some((name.strip_prefix(&prefix)?.to_owned(), bytes)))
        .collect();
    assert!(found.len() > 5, "{repository}: {found:?}");
    found
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    HEXLOWER.decode(digits.as_bytes()).unwrap()
}
