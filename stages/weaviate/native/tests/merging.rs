//! Which of several files counts.

use super::support::{Bucket, Random, entry, log, segment, stored};

const A: [u8; 16] = [1; 16];
const B: [u8; 16] = [2; 16];

fn value(id: [u8; 16], updated: i64) -> Vec<u8> {
    entry(id, Some(&stored(id, updated, "{}")), 1)
}

/// The ids and the times of what is left.
fn found(bucket: &Bucket) -> Vec<(u8, i64)> {
    bucket.read().unwrap().iter().map(|object| (object.id[0], object.updated_ms)).collect()
}

#[test]
fn the_newest_file_counts() {
    let mut bucket = Bucket::new();
    bucket.put("segment-100.l0.s0.db", &segment(&[value(A, 1), value(B, 1)], 1));
    bucket.put("segment-200.db", &segment(&[value(A, 2)], 1));
    assert_eq!(found(&bucket), [(1, 2), (2, 1)]);
    // Times are not looked at: a replica may write an older object later.
    bucket.put("segment-300.db", &segment(&[value(B, 0)], 1));
    assert_eq!(found(&bucket), [(1, 2), (2, 0)]);
    bucket.put("segment-400.wal", &log(&[entry(A, None, 1), value(B, 7), entry(B, None, 1), value(B, 8)]));
    assert_eq!(found(&bucket), [(2, 8)]);
}

#[test]
fn the_last_log_is_newer_than_segments() {
    let mut bucket = Bucket::new();
    bucket.put("segment-100.wal", &log(&[value(A, 1), value(B, 1)]));
    bucket.put("segment-200.db", &segment(&[value(A, 2), value(B, 2)], 1));
    bucket.put("segment-150.wal", &log(&[value(A, 3)]));
    assert_eq!(found(&bucket), [(1, 3), (2, 2)]);
}

#[test]
fn a_segment_beside_its_log_was_not_finished() {
    let mut bucket = Bucket::new();
    bucket.put("segment-100.l0.s0.db", b"half a segment");
    bucket.put("segment-100.wal", &log(&[value(A, 1)]));
    assert_eq!(found(&bucket), [(1, 1)]);
    // An empty log is removed by the server, and says nothing.
    bucket.put("segment-200.db", &segment(&[value(B, 2)], 1));
    bucket.put("segment-200.wal", b"");
    assert_eq!(found(&bucket), [(1, 1), (2, 2)]);
}

#[test]
fn many_files_merge_like_a_map() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let mut bucket = Bucket::new();
        let mut expected = std::collections::BTreeMap::new();
        for file in 0..random.below(9) {
            let mut ids: Vec<u8> = (0..random.below(40)).map(|_| u8::try_from(random.below(60)).unwrap()).collect();
            ids.sort_unstable();
            ids.dedup();
            let mut entries = Vec::new();
            for id in ids {
                if random.below(4) == 0 {
                    expected.remove(&id);
                    entries.push(entry([id; 16], None, 1));
                } else {
                    let updated = i64::try_from(file).unwrap();
                    expected.insert(id, updated);
                    entries.push(value([id; 16], updated));
                }
            }
            bucket.put(&format!("segment-{}.db", 1000 + file), &segment(&entries, 1));
        }
        assert_eq!(found(&bucket), expected.into_iter().collect::<Vec<_>>(), "seed {seed}");
    }
}
