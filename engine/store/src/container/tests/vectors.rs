use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::super::whole::seal_with;
use super::*;

const PATH: &str = "data/ds/part-0.parquet";
const HELLO: &str = "726573746f7700010000000100000000404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
    f04ff195089ef3bfa6632855b0c2989f2c7d5b680b17757e46393542adc8f038\
    3bbc32151a5000b963616f2d485e93c6829bc46de2bb08d20d40c96818";
const EMPTY: &str = "726573746f7700010000000100000000404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
    f04ff195089ef3bfa6632855b0c2989f2c7d5b680b17757e46393542adc8f038\
    b40a59e8cca15afed1f39c4eb218e5e0";
const STATE: &str = "726573746f7700010000000100000000404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
    dd2b6b94e5781ba34c64b96d79c273979b7320422a0a95357d3dab06effe59d8\
    d5745ceef32e7e619547bc05e2ef4116c9ba78bdef8529efa4ff887410";
const BIG_SHA256: &str = "5aa6c8ea4ac0b10940eb4aa8bbc4e0842e11f0c75c6c5a85e43e942ae6af0c44";

fn seal(path: &str, epoch: u32, plain: &[u8]) -> Vec<u8> {
    let salt = std::array::from_fn(|i| 0x40 + i as u8);
    seal_with(&ObjectCipher::with_salt(&vector_keys(), path, epoch, salt).unwrap(), plain).unwrap()
}

#[test]
fn sealed_bytes_are_those_of_the_independent_implementation() {
    assert_eq!(HEXLOWER.encode(&seal(PATH, 1, b"hello, restow")), HELLO);
    assert_eq!(HEXLOWER.encode(&seal(PATH, 1, b"")), EMPTY);
    assert_eq!(HEXLOWER.encode(&seal("runs/r/intent.json", 1, b"hello, restow")), STATE);
    let plain: Vec<u8> = (0..65_537).map(|i| (i % 251) as u8).collect();
    let big = seal(PATH, 2, &plain);
    assert_eq!((big.len(), HEXLOWER.encode(&Sha256::digest(&big)).as_str()), (65_649, BIG_SHA256));
    assert_eq!(open_bytes(&vector_keys(), PATH, &big).unwrap(), plain);
}

#[tokio::test]
async fn vectors_are_read_through_the_store() {
    let (store, inner) = memory();
    for (path, hex, plain) in
        [(PATH, HELLO, &b"hello, restow"[..]), (PATH, EMPTY, b""), ("runs/r/intent.json", STATE, b"hello, restow")]
    {
        put(&*inner, path, &HEXLOWER.decode(hex.as_bytes()).unwrap()).await;
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
