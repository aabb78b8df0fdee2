use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::super::whole::seal_with;
use super::*;
use crate::vectors::{block, derived};

const PATH: &str = "data/ds/part-0.parquet";
fn seal(path: &str, epoch: u32, plain: &[u8]) -> Vec<u8> {
    let salt = std::array::from_fn(|i| 0x40 + i as u8);
    seal_with(&ObjectCipher::with_salt(&vector_keys(), path, epoch, salt).unwrap(), plain).unwrap()
}

#[test]
fn sealed_bytes_are_those_of_the_document() {
    assert_eq!(seal(PATH, 1, b"hello, restow"), block("container"));
    assert_eq!(seal(PATH, 1, b""), block("container-empty"));
    assert_eq!(seal("runs/r/intent.json", 1, b"hello, restow"), block("container-state"));
    let plain: Vec<u8> = (0..65_537).map(|i| (i % 251) as u8).collect();
    let big = seal(PATH, 2, &plain);
    let digest = derived("sha256 of the container of 65,537 bytes");
    assert_eq!((big.len(), HEXLOWER.encode(&Sha256::digest(&big))), (65_649, digest));
    assert_eq!(open_bytes(&vector_keys(), PATH, &big).unwrap(), plain);
}

#[test]
fn derived_values_are_those_of_the_document() {
    let salt = std::array::from_fn(|i| 0x40 + i as u8);
    let cipher = ObjectCipher::with_salt(&vector_keys(), PATH, 1, salt).unwrap();
    assert_eq!(HEXLOWER.encode(&cipher.header()[48..]), derived("commitment"));
    assert_eq!(HEXLOWER.encode(&cipher.nonce(0, true).unwrap()), derived("nonce of chunk 0 of 1"));
    assert_eq!(HEXLOWER.encode(&cipher.nonce(1, false).unwrap()), derived("nonce of chunk 1 of 3"));
}

#[tokio::test]
async fn vectors_are_read_through_the_store() {
    let (store, inner) = memory();
    for (path, name, plain) in [
        (PATH, "container", &b"hello, restow"[..]),
        (PATH, "container-empty", b""),
        ("runs/r/intent.json", "container-state", b"hello, restow"),
    ] {
        put(&*inner, path, &block(name)).await;
        assert_eq!(read(&store, path).await.unwrap(), plain);
        assert_eq!(vector_keys().open_bytes(path, &stored(&*inner, path).await).unwrap(), plain);
    }
}

#[test]
fn lengths_are_valid_exactly_where_a_container_has_them() {
    let limit = 80 + 3 * SEALED_CHUNK as u64 + 40;
    let mut valid = std::collections::BTreeMap::new();
    for plain in 0..=(3 * CHUNK as u64 + 30) {
        valid.insert(stored_len(plain), plain);
    }
    for stored in 0..=limit {
        assert_eq!(plain_len(stored).ok(), valid.get(&stored).copied(), "{stored}");
    }
    assert_eq!(stored_len(u64::MAX), u64::MAX);
    plain_len(u64::MAX).ok();
}

#[test]
fn clear_and_sealed_follow_from_the_path() {
    for clear in ["repository.json", "keys/1.json", "snapshots/x/manifest.json", "snapshots/x/inventory-ab.json"] {
        assert!(is_clear(clear), "{clear}");
    }
    for sealed in [
        "repository.json/x",
        "keys",
        "keys/1.json/x",
        "keys/1.tmp",
        "snapshots/x/artifacts/manifest.json",
        "snapshots/manifest.json",
        "snapshots/x/manifest.json/y",
        "snapshots/x/inventory",
        "data/x/y/part-0.parquet",
        "runs/r/intent.json",
        "control/pin/x",
        "",
    ] {
        assert!(!is_clear(sealed), "{sealed}");
    }
}
