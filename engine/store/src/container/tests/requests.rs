//! What the layer asks of the store below.

use super::spy::Spy;
use super::*;
use crate::location::{LOCAL_PART, REMOTE_PART};

#[tokio::test]
async fn a_range_read_with_a_known_header_is_one_request_of_whole_chunks() {
    let spy = Arc::new(Spy::default());
    let store = over(spy.clone());
    put(&store, "data/x", &pattern(1_000_000)).await;
    let known = store.header(&Path::from("data/x")).await.unwrap();

    let view = over(spy.clone());
    spy.clear();
    read_range(&view, "data/x", 500_000..500_010).await.unwrap();
    assert_eq!(spy.gets(), ["Some(Bounded(0..80))", "Some(Bounded(458944..524496))"]);
    spy.clear();
    read_range(&view, "data/x", 0..10).await.unwrap();
    assert_eq!(spy.gets(), ["Some(Bounded(80..65632))"], "the header that was read is kept");

    let view = over(spy.clone());
    view.remember_header(&Path::from("data/x"), known.header, known.stored_len);
    spy.clear();
    let ranges = [0..4, 999_990..1_000_000, 65_530..65_540];
    view.get_ranges(&Path::from("data/x"), &ranges).await.unwrap();
    let suffix = GetOptions::new().with_range(Some(object_store::GetRange::Suffix(8)));
    view.get_opts(&Path::from("data/x"), suffix).await.unwrap().bytes().await.unwrap();
    let whole = format!("Some(Bounded(80..{}))", known.stored_len);
    let tail = format!("Some(Bounded({}..{}))", 80 + 15 * SEALED_CHUNK, known.stored_len);
    assert_eq!(spy.gets(), [whole, tail], "near ranges are one request, and none is for the header");
}

#[tokio::test]
async fn a_small_object_is_read_with_one_request() {
    let spy = Arc::new(Spy::default());
    put(&over(spy.clone()), "control/pin/x", b"pin").await;
    spy.clear();
    assert_eq!(read(&over(spy.clone()), "control/pin/x").await.unwrap(), b"pin");
    assert_eq!(spy.gets(), ["None"]);
}

#[tokio::test]
async fn multipart_parts_are_equal_whatever_the_caller_gives() {
    for (part, plain) in [(LOCAL_PART, 3_500_000), (REMOTE_PART, 30_000_000)] {
        for piece in [1_000_003, 5 * 1024 * 1024, 8 * 1024 * 1024, 30_000_000] {
            let spy = Arc::new(Spy::default());
            let store = over(spy.clone()).with_parts_of(part);
            let bytes = pattern(plain);
            let mut upload = store.put_multipart(&Path::from("x")).await.unwrap();
            for piece in bytes.chunks(piece) {
                upload.put_part(piece.to_vec().into()).await.unwrap();
            }
            upload.complete().await.unwrap();
            let last = stored_len(plain as u64) as usize - 3 * part;
            assert_eq!(spy.parts(), [part, part, part, last]);
            assert_eq!(read(&store, "x").await.unwrap(), bytes);
        }
    }
}

/// Objects that end just before, at and behind the end of a part.
#[tokio::test]
async fn parts_end_where_the_object_does() {
    // So many plain bytes are two parts, sealed.
    let two_parts = 16_773_040;
    assert_eq!(stored_len(two_parts) as usize, 2 * REMOTE_PART);
    for (plain, last) in [(two_parts - 1, REMOTE_PART - 1), (two_parts, REMOTE_PART), (two_parts + 1, 1)] {
        for piece in [65_535, 65_536, 1 << 20] {
            let spy = Arc::new(Spy::default());
            let store = over(spy.clone());
            let bytes = pattern(plain as usize);
            let mut upload = store.put_multipart(&Path::from("x")).await.unwrap();
            for piece in bytes.chunks(piece) {
                upload.put_part(piece.to_vec().into()).await.unwrap();
            }
            upload.complete().await.unwrap();
            let parts = spy.parts();
            assert_eq!((parts.last(), parts.iter().sum::<usize>()), (Some(&last), stored_len(plain) as usize));
            assert!(parts.iter().rev().skip(1).all(|part| *part == REMOTE_PART), "{plain} {piece} {parts:?}");
            assert_eq!(read(&store, "x").await.unwrap(), bytes, "{plain} {piece}");
        }
    }
}

#[tokio::test]
async fn an_upload_with_a_failed_part_cannot_be_completed() {
    let spy = Arc::new(Spy::default());
    let store = over(spy.clone());
    let mut upload = store.put_multipart(&Path::from("x")).await.unwrap();
    spy.fail_part(1);
    upload.put_part(pattern(9_000_000).into()).await.unwrap();
    assert!(upload.put_part(pattern(9_000_000).into()).await.is_err());
    let (message, code) = cause(upload.complete().await);
    assert_eq!((message.contains("1 of its parts were not stored"), code), (true, 1), "{message}");
    assert!(spy.head(&Path::from("x")).await.is_err());
}

#[tokio::test]
async fn other_tasks_run_while_a_large_object_is_sealed_and_opened() {
    let (store, _) = memory();
    let ticks = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = Arc::clone(&ticks);
    let ticker = tokio::spawn(async move {
        loop {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let count = || ticks.load(std::sync::atomic::Ordering::Relaxed);
    // 32 MiB are 64 batches; the other task must have had a turn between them, on this one thread.
    put(&store, "x", &pattern(32 << 20)).await;
    let sealed = count();
    read(&store, "x").await.unwrap();
    assert!(sealed >= 60 && count() >= sealed + 60, "{sealed}, {}", count());
    ticker.abort();
}
