//! The golden repositories of `tests/fixtures` are read, and the damaged ones refused with their exit codes: as far as this
//! crate decides that. The black-box tests do the same with the binary.

use std::error::Error as StdError;
use std::path::{Path as FsPath, PathBuf};

use data_encoding::HEXLOWER;
use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::testing::key;
use super::*;
use crate::keys::KeySource;
use crate::location::{self, StoreOptions};

#[path = "../../../../tests/fixtures/cases.rs"]
mod cases;

fn fixtures() -> PathBuf {
    FsPath::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

fn source(name: &str) -> Option<KeySource> {
    let file = |name: &str| std::fs::read_to_string(fixtures().join("format-1").join(name)).unwrap();
    match name {
        "right" => Some(KeySource::Key(Zeroizing::new(file("encrypted.key")))),
        "recovery" => Some(KeySource::Key(Zeroizing::new(file("encrypted.recovery")))),
        "wrong" => Some(key()),
        _ => None,
    }
}

/// What a command reads, and in which words it would answer.
async fn read(root: &FsPath, key: &str, command: &[String]) -> Result<String, Box<dyn StdError>> {
    let location = location::open(root.to_str().unwrap(), &StoreOptions::default())?;
    let repository = Repository::open(location, source(key).as_ref()).await?;
    if command[1] == "list" {
        let found = repository.snapshots().await?;
        return match found.into_iter().find_map(|snapshot| snapshot.problem) {
            Some(problem) => Err(Box::new(repository.tampered("", &problem))),
            None => Ok("nothing is damaged".to_owned()),
        };
    }
    let selector = if command[0] == "restore" { "latest" } else { &command[2] };
    let manifest = repository.manifest(&repository.resolve(selector).await?).await?;
    for file in manifest.files().filter(|_| command[0] == "restore") {
        // By ranges, as Parquet is read.
        repository.objects().get_range(&repository.path(&file.path)?, 0..file.plain_bytes).await?;
    }
    Ok(manifest.datasets.iter().map(|d| d.name.as_str()).collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn golden_repositories_are_read_whole() {
    for (base, key) in [("plain", "none"), ("encrypted", "right"), ("encrypted", "recovery")] {
        let root = tempfile::tempdir().unwrap();
        let copy = cases::copy(&fixtures(), base, root.path(), sha256);
        for selector in [copy.fill("{first}"), copy.fill("{latest}")] {
            let location = location::open(root.path().to_str().unwrap(), &StoreOptions::default()).unwrap();
            let repository = Repository::open(location, source(key).as_ref()).await.unwrap();
            let id = repository.resolve(&selector).await.unwrap();
            let manifest = repository.manifest(&id).await.unwrap();
            assert_eq!(manifest.datasets.len(), 2);
            for file in manifest.files() {
                let plain = repository.objects().get(&repository.path(&file.path).unwrap()).await.unwrap();
                let plain = plain.bytes().await.unwrap();
                assert_eq!(plain.len() as u64, file.plain_bytes);
                assert!(plain.starts_with(b"PAR1") && plain.ends_with(b"PAR1"));
            }
            assert!(repository.run_state().intent(&manifest.run_id).await.unwrap().is_some());
            assert_eq!(repository.run_state().receipts(&manifest.run_id).await.unwrap().len(), 2);
        }
    }
}

#[tokio::test]
async fn damaged_repositories_are_refused_as_their_cases_say() {
    let mut wrong = Vec::new();
    for case in cases::all(&fixtures()) {
        let root = tempfile::tempdir().unwrap();
        let copy = cases::copy(&fixtures(), &case.base, root.path(), sha256);
        case.apply(&copy);
        let command: Vec<String> = case.command.iter().map(|part| copy.fill(part)).collect();
        let (code, text) = match read(root.path(), &case.key, &command).await {
            Ok(text) => (0, text),
            Err(error) => (i32::from(exit_class_of(error.as_ref()).code()), error.to_string()),
        };
        // That a gone data file is damage is for the engine to know, which knows that a manifest names it.
        let gone = code == 10 && case.name.ends_with("data-deleted");
        if (code != case.code && !gone) || !text.contains(&copy.fill(&case.says)) {
            wrong.push(format!("{}: {code} instead of {}: {text}", case.name, case.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
