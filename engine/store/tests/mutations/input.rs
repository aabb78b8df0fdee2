//! An input of the fuzz target: which object of which repository, how its checks are closed, and its bytes.

use bytes::Bytes;

use crate::mutate::{Mutation, kind};
use crate::read::{Finding, Found};
use crate::seal::{self, SEALS, Seal};
use crate::subject::{Change, Subject};

/// What an input stands for. Any bytes stand for something; those of the corpus begin with repository, object and seal.
pub fn mutation<'a>(subjects: &'a [Subject], input: &[u8]) -> Option<(&'a Subject, Mutation)> {
    let (head, inner) = input.split_first_chunk::<3>()?;
    let [subject, object, seal] = head.map(usize::from);
    let subject = subjects.get(subject % subjects.len())?;
    let (path, stored) = subject.objects.iter().nth(object % subject.objects.len())?;
    let keys = subject.keys.as_ref();
    let wanted = *SEALS.get(seal % SEALS.len())?;
    // Not every object has every check; the bytes are stored as they are then.
    let seal = if seal::open(wanted, keys, path, stored).is_some() { wanted } else { Seal::Stored };
    let set = seal::close(seal, keys, path, stored, inner);
    Some((subject, Mutation { kind: "an input", seal, path: path.clone(), change: Change { set, lie: None } }))
}

/// The inputs that stand for nothing but the good repositories: one of each kind of object and seal, by name.
pub fn seeds(subjects: &[Subject]) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (s, subject) in subjects.iter().enumerate() {
        for (o, (path, stored)) in subject.objects.iter().enumerate() {
            for (i, seal) in SEALS.into_iter().enumerate() {
                let Some(inner) = seal::open(seal, subject.keys.as_ref(), path, stored) else { continue };
                let name = format!("{}-{}-{seal:?}", subject.name, kind(path)).to_lowercase();
                let name = name.replace([' ', ','], "");
                if all.iter().all(|(known, _)| *known != name) {
                    all.push((name, [&[s as u8, o as u8, i as u8], inner.as_slice()].concat()));
                }
            }
        }
    }
    all
}

/// What came of reading a mutated repository, in two words; an error where it must not be so.
pub fn verdict(subject: &Subject, mutation: &Mutation, found: &Found) -> Result<String, String> {
    let good = &subject.good.content;
    // Failures of the program itself have this code; what a store holds is never one. A lying store may fail, too.
    let failed = found.findings.iter().find(|finding| finding.code == 1 && mutation.change.lie.is_none());
    let internal = found.findings.iter().find(|finding| finding.problem.contains("internal error"));
    if let Some(Finding { place, code, problem }) = failed.or(internal) {
        return Err(format!("fails with code {code} at {place}: {problem}"));
    }
    if mutation.is_strict(subject) {
        let other = |(what, bytes): &(&String, &Bytes)| good.get(*what) != Some(bytes);
        if let Some((what, bytes)) = found.content.iter().find(other) {
            return Err(format!("reads differently: {what}, {} bytes", bytes.len()));
        }
        let lost = good.keys().find(|what| !found.content.contains_key(*what));
        if let (Some(what), true) = (lost, found.findings.is_empty()) {
            return Err(format!("is not read, without an error: {what}"));
        }
    }
    Ok(match found.findings.first() {
        Some(finding) => format!("refused with {}", finding.code),
        None if found.content == *good => "as it was".to_owned(),
        None => "as forged".to_owned(),
    })
}
