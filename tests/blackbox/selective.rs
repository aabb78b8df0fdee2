//! A query of a remote snapshot fetches little, counted at the server.

use std::fmt::Write;

use crate::support::{KEY, Place, Ran, backup, files_below};
use crate::web::{Served, serve};

const ROWS: u64 = 85_000;

/// About 1.6 kB that does not compress to less than three quarters, another for each row.
fn text(row: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(1600);
    while text.len() < 1600 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (0..10).for_each(|n| text.push(char::from(LETTERS[(state >> (6 * n)) as usize & 63])));
    }
    text
}

/// As database ids are: the order of the rows says nothing about them.
fn id(row: u64) -> String {
    let mixed = (row ^ 0x5bd1_e995).wrapping_mul(0xff51_afd7_ed55_8ccd);
    format!("{mixed:016x}-{:08x}", mixed.rotate_left(23) as u32)
}

/// A snapshot of more than 100 MB, in an encrypted repository behind a server.
fn remote() -> (Place, Served, String, u64) {
    let mut place = Place::new();
    place.set("RESTOW_KEY", KEY);
    let mut lines = String::new();
    for row in 0..ROWS {
        let _ = writeln!(lines, "{{\"id\": \"{}\", \"n\": {row}, \"text\": \"{}\"}}", id(row), text(row));
    }
    place.write("rows.jsonl", lines);
    place.write(
        "p.yaml",
        backup("rows.jsonl", "repo", "- encrypt: { aes-256-gcm: { key: \"${secret:env:RESTOW_KEY}\" } }"),
    );
    let ran = place.run(&["run", "p.yaml", "--json"]).ends_with(0);
    let snapshot = ran.summary()["snapshot"].as_str().unwrap().to_owned();
    let stored = files_below(&place.path("repo/data")).iter().map(|(_, path)| path.metadata().unwrap().len()).sum();
    assert!(stored > 100_000_000, "only {stored} bytes are stored");
    let served = serve(place.path("repo"));
    let settings = format!(
        "connections: {{ far: {{ repository: {{ url: \"{}\", allow_http: true, unlock: {{ key: \"${{secret:env:RESTOW_KEY}}\" }} }} }} }}\n",
        served.url
    );
    place.write("restow.yaml", settings);
    (place, served, snapshot, stored)
}

fn query(place: &Place, snapshot: &str, sql: &str) -> Ran {
    place.run(&["catalog", "query", snapshot, sql, "-r", "far", "--format", "csv"]).ends_with(0)
}

#[test]
fn little_of_a_large_snapshot_is_fetched() {
    let (place, served, snapshot, stored) = remote();
    let wanted = id(ROWS / 3);

    let rows = query(&place, &snapshot, "SELECT count(*) AS n FROM rows");
    assert_eq!(rows.stdout, format!("n\n{ROWS}\n"));
    assert_eq!(served.sent("/data/"), (0, 0), "count(*) is in the manifest");

    let rows = query(&place, &snapshot, &format!("SELECT id, n FROM rows WHERE id = '{wanted}'"));
    assert_eq!(rows.stdout, format!("id,n\n{wanted},{}\n", ROWS / 3));
    let (by_id, requests) = served.sent("/data/");
    println!("one row by id: {by_id} of {stored} bytes ({:.2} %) in {requests} requests", percent(by_id, stored));
    assert!(by_id > 0 && by_id * 20 < stored, "{by_id} of {stored} bytes");

    // With the wide column of that one row: of it, pages are read, not the column.
    let rows = query(&place, &snapshot, &format!("SELECT text FROM rows WHERE id = '{wanted}'"));
    assert_eq!(rows.stdout, format!("text\n{}\n", text(ROWS / 3)));
    let (whole, requests) = served.sent("/data/");
    println!("its whole row: {whole} of {stored} bytes ({:.2} %) in {requests} requests", percent(whole, stored));
    assert!(whole * 10 < stored, "{whole} of {stored} bytes");

    let rows = query(&place, &snapshot, "SELECT count(*) AS n FROM rows WHERE n < 100");
    assert_eq!(rows.stdout, "n\n100\n");
    let (few, _) = served.sent("/data/");
    assert!(few > 0 && few * 20 < stored, "{few} of {stored} bytes");
}

fn percent(of: u64, all: u64) -> f64 {
    of as f64 * 100.0 / all as f64
}
