//! Ranges, against the same bytes in a plain store.

use object_store::GetRange;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

const SIZES: [usize; 9] = [0, 1, 100, 65_535, 65_536, 65_537, 131_072, 131_073, 300_000];

fn range() -> impl Strategy<Value = GetRange> {
    // Ends near chunk borders are as likely as all others together.
    let place =
        || prop_oneof![0..310_000_u64, (0..5_u64, 0..5_u64).prop_map(|(c, d)| (c * 65_536 + d).saturating_sub(2))];
    prop_oneof![
        (place(), place()).prop_map(|(a, b)| GetRange::Bounded(a..b)),
        place().prop_map(GetRange::Offset),
        place().prop_map(GetRange::Suffix),
    ]
}

async fn fill_both() -> (EncryptedStore, Arc<InMemory>, InMemory) {
    let (store, inner) = memory();
    let plain = InMemory::new();
    for size in SIZES {
        put(&store, &format!("o/{size}"), &pattern(size)).await;
        put(&plain, &format!("o/{size}"), &pattern(size)).await;
    }
    (store, inner, plain)
}

async fn get(
    store: &dyn ObjectStore,
    path: &Path,
    range: GetRange,
) -> Option<(std::ops::Range<u64>, u64, bytes::Bytes)> {
    let result = store.get_opts(path, GetOptions::new().with_range(Some(range))).await.ok()?;
    let (range, size) = (result.range.clone(), result.meta.size);
    Some((range, size, result.bytes().await.unwrap()))
}

#[test]
fn any_range_gives_what_a_plain_store_gives() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, inner, plain) = runtime.block_on(fill_both());
    let remembering = over(inner.clone());
    let mut headers = Vec::new();
    for size in SIZES {
        let path = Path::from(format!("o/{size}"));
        let known = runtime.block_on(store.header(&path)).unwrap();
        remembering.remember_header(&path, known.header, known.stored_len);
        headers.push(known);
    }
    let mut runner = TestRunner::new(ProptestConfig::with_cases(1500));
    let result = runner.run(&(0..SIZES.len(), range()), |(index, range)| {
        let path = Path::from(format!("o/{}", SIZES[index]));
        runtime.block_on(async {
            let expected = get(&plain, &path, range.clone()).await;
            for view in [&store, &remembering, &over(inner.clone())] {
                prop_assert_eq!(&get(view, &path, range.clone()).await, &expected, "{:?} of {}", range, path);
            }
            Ok(())
        })
    });
    result.unwrap();
}

#[test]
fn any_set_of_ranges_gives_the_bytes() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (store, inner, _) = runtime.block_on(fill_both());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(300));
    let ranges = proptest::collection::vec((0..310_000_u64, 1..70_000_u64), 0..6);
    let result = runner.run(&(0..SIZES.len(), ranges), |(index, ranges)| {
        let (size, path) = (SIZES[index] as u64, Path::from(format!("o/{}", SIZES[index])));
        let ranges: Vec<_> = ranges.into_iter().map(|(start, length)| start..start + length).collect();
        let bytes = pattern(SIZES[index]);
        runtime.block_on(async {
            for view in [&store, &over(inner.clone())] {
                let got = view.get_ranges(&path, &ranges).await;
                if ranges.iter().any(|r| r.start >= size) {
                    prop_assert!(got.is_err());
                    continue;
                }
                for (range, got) in ranges.iter().zip(got.unwrap()) {
                    let end = range.end.min(size);
                    prop_assert_eq!(&got[..], &bytes[range.start as usize..end as usize]);
                }
            }
            Ok(())
        })
    });
    result.unwrap();
}

#[tokio::test]
async fn a_range_of_an_object_that_was_written_anew_is_of_the_new_one() {
    let (store, inner) = memory();
    for (old, new) in [(300_000, 200), (200, 300_000), (100_000, 100_000)] {
        put(&store, "x", &pattern(old)).await;
        read_range(&store, "x", 10..20).await.unwrap();
        // Another process, so that nothing tells this view.
        let bytes: Vec<u8> = pattern(new).into_iter().map(|b| b ^ 0x55).collect();
        put(&over(inner.clone()), "x", &bytes).await;
        let end = (new as u64).min(180);
        assert_eq!(read_range(&store, "x", 100..end).await.unwrap(), bytes[100..end as usize]);
        assert_eq!(read_range(&store, "x", new as u64 - 5..new as u64).await.unwrap(), bytes[new - 5..]);
    }
}

#[tokio::test]
async fn uploads_of_any_part_size_are_one_container() {
    let (store, inner) = memory();
    for total in [0, 1, 65_536, 65_537, 9 * 1024 * 1024 + 77] {
        for part in [1_000_003, 65_536, 5 * 1024 * 1024] {
            let (path, bytes) = (Path::from("up"), pattern(total));
            let mut upload = store.put_multipart(&path).await.unwrap();
            let mut parts = Vec::new();
            for piece in bytes.chunks(part) {
                parts.push(upload.put_part(piece.to_vec().into()));
            }
            // The last first: any order must do.
            for part in parts.into_iter().rev() {
                part.await.unwrap();
            }
            upload.complete().await.unwrap();
            assert_eq!(stored(&*inner, "up").await.len() as u64, stored_len(total as u64));
            assert_eq!(read(&store, "up").await.unwrap(), bytes);
            assert_eq!(store.head(&path).await.unwrap().size, total as u64);
        }
    }
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing_and_a_dropped_part_is_missed() {
    let (store, inner) = memory();
    let path = Path::from("up");
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part(pattern(20_000_000).into()).await.unwrap();
    upload.abort().await.unwrap();
    assert!(inner.head(&path).await.is_err());

    let mut upload = store.put_multipart(&path).await.unwrap();
    // Never polled: its bytes are queued, so completing uploads them.
    drop(upload.put_part(pattern(20_000_000).into()));
    upload.complete().await.unwrap();
    assert_eq!(read(&store, "up").await.unwrap(), pattern(20_000_000));
}

#[tokio::test]
async fn large_copies_are_sealed_anew_for_their_path() {
    let (store, inner) = memory();
    let bytes = pattern(20_000_000);
    put(&store, "a", &bytes).await;
    store.copy(&Path::from("a"), &Path::from("b")).await.unwrap();
    store.copy_if_not_exists(&Path::from("a"), &Path::from("c")).await.unwrap();
    for copy in ["b", "c"] {
        assert_eq!(read(&store, copy).await.unwrap(), bytes);
        assert_ne!(stored(&*inner, copy).await[16..48], stored(&*inner, "a").await[16..48], "the salt is new");
    }
}
