//! "Did you mean": the nearest known name to one that is not known.

/// The candidate nearest to `word` within two edits (Damerau-Levenshtein), the first one on a tie.
///
/// Words of one or two letters match only where they differ in case or by one edit in a longer candidate, since
/// anything is two edits away from them.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    const MOST: usize = 1_000;
    let letters = word.chars().count();
    if letters == 0 || letters > LONGEST {
        return None;
    }
    let allowed = if letters <= 3 { 1 } else { 2 };
    let lower = word.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    // A hostile file can hold many names and many mistakes.
    for candidate in candidates.into_iter().take(MOST) {
        if candidate == word || candidate.chars().count().abs_diff(letters) > allowed {
            continue;
        }
        let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
        if distance <= allowed && distance < letters && best.is_none_or(|(smallest, _)| distance < smallest) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `did you mean "x"?`, or the list of what is known, whichever helps more.
pub fn help<'a>(word: &str, noun: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(candidate) = nearest(word, known.clone()) {
        return Some(format!("did you mean {candidate:?}?"));
    }
    let names: Vec<&str> = known.into_iter().collect();
    match names.len() {
        0 => None,
        1..=24 => Some(format!("known {noun}: {}", names.join(", "))),
        more => Some(format!("known {noun}: {}, and {} more", names.get(..20).unwrap_or(&[]).join(", "), more - 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposition_is_one_edit() {
        assert_eq!(nearest("fitler", ["file", "filter"]), Some("filter"));
        assert_eq!(nearest("Filter", ["filter"]), Some("filter"));
    }

    #[test]
    fn what_is_far_away_is_not_suggested() {
        assert_eq!(nearest("milvus", ["files", "repository"]), None);
        assert_eq!(nearest("a", ["b", "c"]), None);
        assert_eq!(help("x", "sinks", ["files", "repository"]).as_deref(), Some("known sinks: files, repository"));
    }
}
