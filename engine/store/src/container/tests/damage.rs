//! Whatever is done to a stored object is noticed, or does not change what is read.

use super::*;

/// Reads in every way that a caller has; each must fail with a container error of exit 13.
async fn assert_damaged(inner: &Arc<InMemory>, path: &str, what: &str) {
    let view = || over(inner.clone());
    let one = std::slice::from_ref(&(0..1));
    let by_ranges = view().get_ranges(&Path::from(path), one).await.map(|_| Vec::new());
    for error in [read(&view(), path).await, by_ranges] {
        let error = error.expect_err(what);
        let found = container_error(&error).unwrap_or_else(|| panic!("{what}: {error:?}"));
        assert!([13, 14].contains(&found.exit_code()), "{what}: {found}");
    }
}

#[tokio::test]
async fn every_flipped_byte_of_small_objects_is_detected() {
    for length in [0, 1, 2, 100] {
        let (store, inner) = memory();
        put(&store, "x", &pattern(length)).await;
        let good = stored(&*inner, "x").await;
        for at in 0..good.len() {
            for bit in [1, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= bit;
                put(&*inner, "x", &bad).await;
                let what = format!("{length} bytes, byte {at}, bit {bit:#x}");
                let error = read(&over(inner.clone()), "x").await.expect_err(&what);
                let code = container_error(&error).expect(&what).exit_code();
                // The version byte is the one place where a flip reads as something else than damage.
                assert_eq!(code, if at == 7 { 14 - u8::from(bad[7] == 0) } else { 13 }, "{what}");
                assert!(vector_keys().open_bytes("x", &bad).is_err(), "{what}");
                if length > 0 {
                    assert_damaged(&inner, "x", &what).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn every_truncation_and_extension_is_detected() {
    let (store, inner) = memory();
    put(&store, "x", &pattern(50)).await;
    let good = stored(&*inner, "x").await;
    for length in (0..good.len()).chain(good.len() + 1..good.len() + 40) {
        let mut bad = good.clone();
        bad.resize(length, 0);
        put(&*inner, "x", &bad).await;
        assert_damaged(&inner, "x", &format!("{length} of {} bytes", good.len())).await;
        assert!(vector_keys().open_bytes("x", &bad).is_err());
    }
    // At the borders of chunks, where the length alone says nothing.
    put(&store, "y", &pattern(3 * CHUNK)).await;
    let good = stored(&*inner, "y").await;
    for chunks in 0..=3 {
        for extra in [0_usize, 1, 16, 17, 500] {
            let length = HEADER + chunks * SEALED_CHUNK + extra;
            if length == good.len() {
                continue;
            }
            let mut bad = good.clone();
            bad.resize(length, 0);
            put(&*inner, "y", &bad).await;
            assert!(read(&over(inner.clone()), "y").await.is_err(), "{length}");
            assert!(vector_keys().open_bytes("y", &bad).is_err(), "{length}");
            let suffix = GetOptions::new().with_range(Some(object_store::GetRange::Suffix(10)));
            let opened = match over(inner.clone()).get_opts(&Path::from("y"), suffix).await {
                Ok(tail) => tail.bytes().await.is_ok(),
                Err(_) => false,
            };
            assert!(!opened, "{length}");
        }
    }
}

#[tokio::test]
async fn chunks_that_are_moved_repeated_or_left_out_are_detected() {
    let (store, inner) = memory();
    put(&store, "x", &pattern(3 * CHUNK + 7)).await;
    let good = stored(&*inner, "x").await;
    let (header, body) = good.split_at(HEADER);
    let chunks: Vec<&[u8]> = body.chunks(SEALED_CHUNK).collect();
    for order in [vec![1, 0, 2, 3], vec![0, 1, 1, 3], vec![0, 2, 3], vec![3], vec![0, 1, 2, 2, 3], vec![0, 1, 2]] {
        let mut bad = header.to_vec();
        order.iter().for_each(|chunk| bad.extend_from_slice(chunks[*chunk]));
        put(&*inner, "x", &bad).await;
        assert_eq!(cause(read(&over(inner.clone()), "x").await).1, 13, "{order:?}");
    }
    // Flips at all edges of chunks, by whole reads and by ranges that touch the chunk.
    for chunk in 0..4_usize {
        for at in [HEADER + chunk * SEALED_CHUNK, (HEADER + (chunk + 1) * SEALED_CHUNK).min(good.len()) - 1] {
            let mut bad = good.clone();
            bad[at] ^= 4;
            put(&*inner, "x", &bad).await;
            let (message, _) = cause(read(&over(inner.clone()), "x").await);
            assert!(message.contains(&format!("(chunk {chunk} fails its tag)")), "{message}");
            let start = (chunk * CHUNK) as u64;
            assert_eq!(cause(read_range(&over(inner.clone()), "x", start..start + 1).await).1, 13);
        }
    }
}

#[tokio::test]
async fn swapped_objects_and_foreign_keys_are_detected() {
    let (store, inner) = memory();
    put(&store, "a", b"of a").await;
    put(&store, "b", b"of b").await;
    let (a, b) = (stored(&*inner, "a").await, stored(&*inner, "b").await);
    put(&*inner, "a", &b).await;
    put(&*inner, "b", &a).await;
    for path in ["a", "b"] {
        let (message, code) = cause(read(&over(inner.clone()), path).await);
        assert!(message.contains("commitment differs") && code == 13, "{message}");
    }
    // The salt and chunks of one under the header of another.
    put(&*inner, "a", &[&a[..HEADER], &b[HEADER..]].concat()).await;
    assert!(cause(read(&over(inner.clone()), "a").await).0.contains("chunk 0 fails its tag"));
    put(&*inner, "a", &a).await;
    let foreign = EncryptedStore::new(inner.clone(), Path::default(), foreign_keys(), never_clear);
    let (message, code) = cause(read(&foreign, "a").await);
    assert!(code == 13 && message.contains("epoch 2, the keyring has epochs 1 to 1"), "{message}");
}

#[tokio::test]
async fn plain_and_empty_objects_in_the_place_of_containers_are_refused() {
    let (_, inner) = memory();
    put(&*inner, "plain", &pattern(500)).await;
    put(&*inner, "empty", b"").await;
    let store = over(inner.clone());
    assert!(cause(read(&store, "plain").await).0.contains("is not an encrypted object of restow"));
    for path in ["empty"] {
        assert!(cause(read(&store, path).await).0.contains("no length of an encrypted object"));
        assert_eq!(cause(read_range(&store, path, 0..1).await).1, 13);
        assert_eq!(cause(store.head(&Path::from(path)).await).1, 13);
        assert_eq!(cause(store.list_with_delimiter(None).await).1, 13);
    }
}

#[tokio::test]
async fn what_a_manifest_names_is_held_against_the_store() {
    let (store, inner) = memory();
    let (path, bytes) = (Path::from("data/x"), pattern(200_000));
    put(&store, "data/x", &bytes).await;
    let known = store.header(&path).await.unwrap();
    let good = stored(&*inner, "data/x").await;
    let view = || {
        let view = over(inner.clone());
        view.remember_header(&path, known.header, known.stored_len);
        view
    };
    assert_eq!(read(&view(), "data/x").await.unwrap(), bytes);
    // An older or newer version of the object is valid by itself, and still refused.
    put(&over(inner.clone()), "data/x", &bytes).await;
    assert!(cause(read(&view(), "data/x").await).0.contains("another header than the manifest names"));
    assert_eq!(cause(read_range(&view(), "data/x", 5..6).await).1, 13);
    for length in [good.len() - 1, good.len() + 1, 80 + SEALED_CHUNK, 96, 0] {
        let mut bad = good.clone();
        bad.resize(length, 0);
        put(&*inner, "data/x", &bad).await;
        let message = cause(read(&view(), "data/x").await).0;
        assert!(
            message.contains(&format!("has {length} stored bytes where the manifest names {}", good.len())),
            "{message}"
        );
        for range in [0..10, 150_000..150_010, 199_990..200_000] {
            assert!(cause(read_range(&view(), "data/x", range).await).0.contains("where the manifest names"));
        }
        assert_eq!(cause(view().head(&path).await).1, 13);
    }
}

#[tokio::test]
async fn plaintext_is_in_no_stored_byte() {
    let (store, inner) = memory();
    let needle = b"a sentence about Ouagadougou";
    put(&store, "a", needle).await;
    put(&store, "b", &needle.repeat(10_000)).await;
    let mut upload = store.put_multipart(&Path::from("c")).await.unwrap();
    upload.put_part(needle.repeat(500_000).into()).await.unwrap();
    upload.complete().await.unwrap();
    for path in ["a", "b", "c"] {
        let bytes = stored(&*inner, path).await;
        assert!(!bytes.windows(8).any(|window| needle.windows(8).any(|n| n == window)), "{path}");
    }
    // The same content twice shares nothing but magic, epoch and zeros.
    put(&store, "d", needle).await;
    assert_ne!(stored(&*inner, "a").await[16..], stored(&*inner, "d").await[16..]);
}

#[test]
fn mutated_containers_never_panic_and_never_open() {
    let keys = vector_keys();
    let good = keys.seal_bytes("x", &pattern(70_000)).unwrap();
    let mut state = 42_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for _ in 0..3000 {
        let mut bad = good.clone();
        for _ in 0..1 + random() % 3 {
            let at = if random() % 2 == 0 { random() % 96 } else { random() % bad.len().max(1) };
            match random() % 4 {
                0 if at < bad.len() => bad[at] = random() as u8,
                1 => bad.truncate(at),
                2 => bad.resize(bad.len() + random() % 70_000, random() as u8),
                _ if at < bad.len() => bad.insert(at, random() as u8),
                _ => {}
            }
        }
        if bad != good {
            assert!(keys.open_bytes("x", &bad).is_err());
        }
    }
}

#[test]
fn the_container_error_is_found_behind_other_errors() {
    let inner = ContainerError::Commitment { path: "x".to_owned() };
    let store = object_store::Error::from(inner);
    let io = std::io::Error::other(std::io::Error::from(store));
    assert_eq!(container_error(&io).map(ContainerError::exit_code), Some(13));
    assert!(container_error(&std::io::Error::other("x")).is_none());
    let debug =
        format!("{:?} {:?}", over(Arc::new(InMemory::new())), ObjectCipher::create(&vector_keys(), "x").unwrap());
    assert!(!debug.contains("128, 129") && !debug.contains("8081"), "{debug}");
}
