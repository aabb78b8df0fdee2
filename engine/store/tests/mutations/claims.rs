//! Claims that would cost memory or time if they were believed: lengths, nesting, the cost of a passphrase.

use std::time::{Duration, Instant};

use bytes::Bytes;
use restow_store::location::Location;
use restow_store::repository::Repository;

use crate::mutate::kind;
use crate::seal::{self, Seal};
use crate::store::Lie;
use crate::subject::{Change, Subject};
use crate::watch::peak_memory;
use crate::{runtime, subjects};

fn named<'a>(subjects: &'a [Subject], name: &str) -> &'a Subject {
    subjects.iter().find(|subject| subject.name == name).unwrap()
}

/// The JSON of an object with another text in it, all its checks closed again.
fn edited(subject: &Subject, seal: Seal, path: &str, from: &str, to: &str) -> Change {
    let (stored, keys) = (&subject.objects[path], subject.keys.as_ref());
    let text = String::from_utf8(seal::open(seal, keys, path, stored).unwrap()).unwrap();
    assert!(text.contains(from), "{text}");
    let set = seal::close(seal, keys, path, stored, text.replacen(from, to, 1).as_bytes());
    Change { set, lie: None }
}

fn object<'a>(subject: &'a Subject, of: &str) -> &'a str {
    subject.objects.keys().find(|path| kind(path) == of).unwrap()
}

/// No size that a store names makes anybody take memory for it: a metadata object of 1 GiB is refused by its size, one of
/// 500 MiB that never comes costs nothing, and no answer is read on behind its end.
#[test]
fn sizes_are_not_believed() {
    let runtime = runtime();
    for subject in subjects(&runtime) {
        for (path, stored) in &subject.objects {
            let long = stored.len() as u64;
            for size in [0, long + 1, 500 << 20, (512 << 20) + 1, 1 << 30, 1 << 40, 1 << 62, u64::MAX] {
                let change = Change { set: Vec::new(), lie: Some((path.clone(), Lie::Size(size))) };
                let found = runtime.block_on(subject.read(&change));
                // What came is what was written: that the size is another one may go unnoticed.
                let same = found.content.iter().all(|(what, bytes)| subject.good.content.get(what) == Some(bytes));
                assert!(same, "{path} with {size} bytes");
                let metadata = matches!(kind(path), "manifest" | "repository.json" | "intent" | "receipt");
                if metadata && size >= 1 << 30 {
                    assert!(found.findings.iter().any(|f| f.code == 13), "{path} with {size} bytes");
                }
            }
            let change = Change { set: Vec::new(), lie: Some((path.clone(), Lie::Endless)) };
            let found = runtime.block_on(subject.read(&change));
            assert!(!found.findings.is_empty() || found.content == subject.good.content, "{path} without end");
        }
    }
    println!("{} KiB at most", peak_memory());
}

/// The recursion of the parser is bounded, wherever a manifest holds any JSON, and whoever sealed it.
#[test]
fn nesting_is_bounded() {
    let runtime = runtime();
    let subjects = subjects(&runtime);
    let deep = |depth: usize| format!("\"identity\":{}0{},\"x\":", "[".repeat(depth), "]".repeat(depth));
    for (name, seal) in [("plain", Seal::Digest), ("plain", Seal::Inventory), ("encrypted", Seal::Key)] {
        let subject = named(&subjects, name);
        let path = object(subject, "manifest");
        for (depth, refused) in [(100, false), (200, true), (1_000_000, true)] {
            let found = runtime.block_on(subject.read(&edited(subject, seal, path, "\"identity\":", &deep(depth))));
            let codes: Vec<u8> = found.findings.iter().map(|finding| finding.code).collect();
            assert_eq!(codes.contains(&13), refused, "{name}, {depth} deep: {:?}", found.findings);
        }
    }
}

/// The cost of a passphrase is bounded before anything is computed: 4 TiB, or four billion passes, are refused at once.
#[test]
fn absurd_costs_of_a_passphrase_are_refused_at_once() {
    let runtime = runtime();
    let subjects = subjects(&runtime);
    let subject = named(&subjects, "document, passphrase");
    for to in ["\"memory_kib\":4294967295", "\"memory_kib\":262145", "\"memory_kib\":18446744073709551616"] {
        costs_nothing(&runtime, subject, "\"memory_kib\":64", to);
    }
    for to in ["\"passes\":4294967295", "\"passes\":17", "\"passes\":0"] {
        costs_nothing(&runtime, subject, "\"passes\":1", to);
    }
    costs_nothing(&runtime, subject, "\"lanes\":1", "\"lanes\":4294967295");
    costs_nothing(&runtime, subject, "\"lanes\":1", "\"lanes\":17");
}

fn costs_nothing(runtime: &tokio::runtime::Runtime, subject: &Subject, from: &str, to: &str) {
    let mut change = Change::default();
    for path in ["keys/1.json", "keys/2.json"] {
        change.set.extend(edited(subject, Seal::Digest, path, from, to).set);
    }
    let begin = Instant::now();
    let found = runtime.block_on(subject.read(&change));
    assert!(begin.elapsed() < Duration::from_secs(5), "{to}: {:?}", begin.elapsed());
    assert_eq!(found.findings.first().map(|finding| finding.code), Some(13), "{to}: {:?}", found.findings);
    assert!(found.content.is_empty(), "{to}");
}

/// A generation of the keyring is at most 1 MiB, and no more of it is read.
#[test]
fn a_long_keyring_is_damaged() {
    let runtime = runtime();
    let subjects = subjects(&runtime);
    let subject = named(&subjects, "encrypted");
    let long = Bytes::from(vec![b' '; 3 << 20]);
    let change = Change { set: vec![("keys/1.json".to_owned(), long)], lie: None };
    let found = runtime.block_on(subject.read(&change));
    assert!(found.findings[0].problem.contains("longer than 1048576 bytes"), "{:?}", found.findings);
    assert_eq!(found.findings[0].code, 13);
    let change = Change { set: Vec::new(), lie: Some(("keys/1.json".to_owned(), Lie::Endless)) };
    let found = runtime.block_on(subject.read(&change));
    assert!(found.findings[0].problem.contains("longer than 1048576 bytes"), "{:?}", found.findings);
}

/// A server that cannot list and has an object for every name does not keep a reader for ever.
#[test]
fn generations_without_end_are_refused() {
    let runtime = runtime();
    let subjects = subjects(&runtime);
    let subject = named(&subjects, "encrypted");
    subject.lie("keys", Some(Lie::Everywhere));
    let silent = Location { lists: false, writable: false, ..subject.location.clone() };
    let error = runtime.block_on(Repository::open(silent, subject.key.as_ref())).unwrap_err();
    assert_eq!(error.exit_class().code(), 13, "{error}");
    println!("{error}; {} KiB at most", peak_memory());
}
