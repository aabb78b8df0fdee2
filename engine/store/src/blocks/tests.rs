use object_store::integration as suite;
use object_store::memory::InMemory;
use proptest::prelude::*;

use super::*;

fn everything(_: &str) -> bool {
    true
}

fn layer() -> (Arc<InMemory>, BlockVerifiedStore) {
    let inner = Arc::new(InMemory::new());
    let layer = BlockVerifiedStore::new(Arc::clone(&inner) as _, Path::default(), everything);
    (inner, layer)
}

#[tokio::test]
async fn conforms_to_the_object_store_suite() {
    let (_, store) = layer();
    suite::put_get_delete_list(&store).await;
    suite::stream_get(&store).await;
    suite::list_uses_directories_correctly(&store).await;
    suite::list_with_delimiter(&store).await;
    suite::rename_and_copy(&store).await;
    suite::copy_if_not_exists(&store).await;
    suite::copy_rename_nonexistent_object(&store).await;
    suite::multipart_race_condition(&store, true).await;
    suite::multipart_out_of_order(&store).await;
    suite::list_with_offset_exclusivity(&store).await;
    // These leave objects behind, which the others do not expect.
    suite::put_get_attributes(&store).await;
    suite::get_opts(&store).await;
    suite::put_opts(&store, false).await;
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn a_flip_is_found_by_the_reads_that_touch_its_block_and_by_no_other() {
    let (inner, store) = layer();
    let path = Path::from("data/x");
    let mut bytes = content(3 * BLOCK as usize + 100);
    store.put(&path, bytes.clone().into()).await.unwrap();
    bytes[BLOCK as usize + 5] ^= 1;
    inner.put(&path, bytes.clone().into()).await.unwrap();
    assert_eq!(store.get_range(&path, 0..BLOCK).await.unwrap(), bytes[..BLOCK as usize]);
    assert_eq!(store.get_range(&path, 2 * BLOCK..2 * BLOCK + 9).await.unwrap().len(), 9);
    for range in [BLOCK - 1..BLOCK + 1, BLOCK..BLOCK + 1, 2 * BLOCK - 1..2 * BLOCK, 0..3 * BLOCK] {
        let error = store.get_range(&path, range.clone()).await.unwrap_err();
        assert!(error.to_string().contains("from offset 1048576"), "{range:?}: {error}");
    }
    assert!(store.get(&path).await.unwrap().bytes().await.is_err());
}

#[tokio::test]
async fn truncated_extended_and_digestless_objects_are_refused() {
    let (inner, store) = layer();
    let path = Path::from("data/x");
    let bytes = content(100);
    for damaged in [bytes[..99].to_vec(), [bytes.clone(), vec![0]].concat(), Vec::new()] {
        store.put(&path, bytes.clone().into()).await.unwrap();
        inner.put(&path, damaged.into()).await.unwrap();
        assert!(store.get(&path).await.is_err());
    }
    store.put(&path, bytes.clone().into()).await.unwrap();
    inner.delete(&digest_path(&path).unwrap()).await.unwrap();
    assert!(store.get(&path).await.unwrap_err().to_string().contains("missing"));
    inner.delete(&path).await.unwrap();
    assert!(matches!(store.get(&path).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn ranges_behind_the_end_are_refused() {
    let (inner, store) = layer();
    let path = Path::from("data/x");
    store.put(&path, content(50).into()).await.unwrap();
    let found = store.get_ranges(&path, &[0..4, 40..60]).await.unwrap();
    assert_eq!(found, [content(50)[..4].to_vec(), content(50)[40..].to_vec()], "as one range alone is cut");
    for behind in [50..51, 100..104, u64::MAX - 1..u64::MAX] {
        // Alone, and as a part of one request with the other.
        store.get_ranges(&path, std::slice::from_ref(&behind)).await.unwrap_err();
        store.get_ranges(&path, &[0..4, behind]).await.unwrap_err();
    }
    assert!(store.get_ranges(&path, &[]).await.unwrap().is_empty());
    inner.delete(&path).await.unwrap();
    assert!(store.get_ranges(&path, &[0..4, 5..6]).await.is_err());
}

#[tokio::test]
async fn an_object_exchanged_with_its_digests_is_found_by_who_knows_the_digest() {
    let (inner, store) = layer();
    let (one, two) = (Path::from("data/1"), Path::from("data/2"));
    store.put(&one, "one".into()).await.unwrap();
    store.put(&two, "two".into()).await.unwrap();
    let digests = inner.get(&digest_path(&one).unwrap()).await.unwrap().bytes().await.unwrap();
    inner.copy(&two, &one).await.unwrap();
    inner.copy(&digest_path(&two).unwrap(), &digest_path(&one).unwrap()).await.unwrap();
    let reader = BlockVerifiedStore::new(inner, Path::default(), everything);
    assert_eq!(reader.get(&one).await.unwrap().bytes().await.unwrap(), "two");
    reader.expect(one.clone(), Sha256::digest(&digests).into());
    assert!(reader.get(&one).await.is_err());
}

#[test]
fn every_flip_of_a_digest_object_is_found() {
    let mut hasher = BlockHasher::default();
    hasher.update(&content(BLOCK as usize + 1));
    let digests = hasher.finish();
    let bytes = digests.encode();
    assert_eq!(BlockDigests::decode("x", &Bytes::from(bytes.clone())).unwrap(), digests);
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert!(BlockDigests::decode("x", &flipped.into()).is_err(), "{at}");
        assert!(BlockDigests::decode("x", &bytes[..at].to_vec().into()).is_err(), "{at}");
    }
}

#[test]
fn known_bytes() {
    let mut hasher = BlockHasher::default();
    hasher.update(b"abc");
    let bytes = hasher.finish().encode();
    let text = data_encoding::HEXLOWER.encode(&bytes[..56]);
    assert_eq!(
        text,
        "52535457424c4b3100100000000000000000000000000003\
         ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(bytes.len(), 88);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_range_reads_as_it_was_written(length in 0usize..2_200_000, from in 0u64..2_200_000, size in 0u64..1_500_000, cut in 1usize..700_000) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_, store) = layer();
            let path = Path::from("data/x");
            let bytes = content(length);
            let mut upload = store.put_multipart(&path).await.unwrap();
            for part in bytes.chunks(cut) {
                upload.put_part(Bytes::copy_from_slice(part).into()).await.unwrap();
            }
            upload.complete().await.unwrap();
            assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), bytes);
            let (from, to) = (from.min(length as u64), (from + size).min(length as u64));
            if from < to {
                let found = store.get_ranges(&path, &[from..to, 0..1]).await.unwrap();
                assert_eq!(found[0], bytes[from as usize..to as usize]);
                assert_eq!(found[1], bytes[..1]);
            }
        });
    }
}
