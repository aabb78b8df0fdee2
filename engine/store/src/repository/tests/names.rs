//! Paths, ids, and what follows from them.

use crate::repository::testing::*;
use crate::repository::*;

#[test]
fn names_become_path_parts() {
    assert_eq!(escape("Article_2-x.y"), "Article_2-x.y");
    assert_eq!(escape(""), "!");
    assert_eq!(escape(".."), "!2e.");
    assert_eq!(escape("a/b"), "a!2fb");
    assert_eq!(escape("Größe"), "Gr!c3!b6!c3!9fe");
    assert_eq!(escape("a!2fb"), "a!212fb");
    let long = "x/".repeat(200);
    assert_ne!(escape(&long), escape(&"x/".repeat(201)));
    assert!(escape(&long).len() <= 120, "{}", escape(&long));
    assert!(Path::parse(escape(&long)).is_ok());
}

#[test]
fn snapshot_ids_parse_only_as_they_print() {
    let id = SnapshotId::new(moment(0), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(id.to_string(), "20270115T080000Z-aebagbafay");
    assert_eq!(id.to_string().parse::<SnapshotId>().unwrap(), id);
    assert_eq!(id.time(), moment(0));
    for bad in ["", "latest", "20270115T080000Z", "20270115T080000Z-AEBAGBAFAY", "20271315T080000Z-aebagbafay", "é"] {
        assert!(bad.parse::<SnapshotId>().is_err(), "{bad}");
    }
}

#[test]
fn clear_and_sealed_follow_from_the_path() {
    for clear in ["repository.json", "keys/1.json", "snapshots/x/manifest.json", "snapshots/x/inventory-0.json"] {
        assert!(is_clear(clear), "{clear}");
    }
    for sealed in [
        "data/a/b/c",
        "snapshots/x/artifacts/manifest.json",
        "runs/1/intent.json",
        "control/pin/a",
        "repository.json/x",
    ] {
        assert!(!is_clear(sealed), "{sealed}");
    }
}
