use serde_json::json;

use super::*;
use crate::repository::testing::{self, create, faulty, moment, snapshot};
use crate::repository::{CommitRequest, SnapshotId, VERSION};

pub(crate) fn intent(run_id: &str) -> Intent {
    Intent {
        format: String::new(),
        run_id: run_id.to_owned(),
        snapshot_id: SnapshotId::generate(moment(0)).unwrap(),
        nonce: random_hex().unwrap(),
        pipeline_hash: "abc".to_owned(),
        created: moment(0),
        restow: VERSION.to_owned(),
        sink: "memory:test".to_owned(),
        source_fingerprint: "f".to_owned(),
        tokens: json!({ "now": 1 }),
        splits: [("Stadt".to_owned(), json!(["shard 1"]))].into(),
        keyring: None,
        extra: json!(null),
    }
}

fn receipt(dataset: &str, split: &str, n: u64) -> Receipt {
    Receipt {
        phase: "write".to_owned(),
        dataset: dataset.to_owned(),
        split: split.to_owned(),
        n,
        rows: n,
        ..Receipt::default()
    }
}

async fn states(test: impl AsyncFn(RunStateStore)) {
    let (_, location) = faulty();
    test(create(&location, None).await.run_state()).await;
    let (_, location) = faulty();
    let key = testing::key();
    let repository = create(&location, Some(&key)).await;
    test(repository.run_state()).await;
    let (_, elsewhere) = faulty();
    test(RunStateStore::at(elsewhere.clone(), None)).await;
    let (_, elsewhere) = faulty();
    test(RunStateStore::at(elsewhere, repository.keys())).await;
}

#[tokio::test]
async fn the_highest_receipt_of_each_split_counts() {
    states(async |state| {
        state.begin(&intent("run-1")).await.unwrap();
        assert!(state.receipts("run-1").await.unwrap().is_empty());
        for n in [1, 2, 10] {
            assert_eq!(state.put_receipt("run-1", &receipt("Größe", "shard 1", n)).await.unwrap(), PutReceipt::Created);
        }
        state.put_receipt("run-1", &receipt("Größe", "shard/2", 1)).await.unwrap();
        state.put_receipt("run-2", &receipt("other", "x", 1)).await.unwrap();
        let mut found: Vec<_> =
            state.receipts("run-1").await.unwrap().into_iter().map(|r| (r.split, r.n, r.rows)).collect();
        found.sort();
        assert_eq!(found, [("shard 1".to_owned(), 10, 10), ("shard/2".to_owned(), 1, 1)]);
        let other = Receipt { rows: 99, ..receipt("Größe", "shard 1", 10) };
        let PutReceipt::Existing(existing) = state.put_receipt("run-1", &other).await.unwrap() else {
            panic!("the first receipt stays")
        };
        assert_eq!(existing.rows, 10);
    })
    .await;
}

#[tokio::test]
async fn open_runs_are_those_without_outcome_newest_first() {
    states(async |state| {
        for (i, name) in ["a", "b", "c"].into_iter().enumerate() {
            state.begin(&Intent { created: moment(i as i64), ..intent(name) }).await.unwrap();
        }
        assert_eq!(state.outcome("b", Outcome::Done).await.unwrap(), Outcome::Done);
        assert_eq!(state.outcome("b", Outcome::Abandoned).await.unwrap(), Outcome::Done, "the first outcome stays");
        assert_eq!(state.outcome_of("b").await.unwrap(), Some(Outcome::Done));
        let open = state.open_runs().await.unwrap();
        assert_eq!(open.intents.iter().map(|i| i.run_id.as_str()).collect::<Vec<_>>(), ["c", "a"]);
        assert!(open.damaged.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_intent_is_created_once() {
    states(async |state| {
        let mine = intent("run-1");
        state.begin(&mine).await.unwrap();
        state.begin(&mine).await.unwrap();
        assert_eq!(state.intent("run-1").await.unwrap().unwrap().nonce, mine.nonce);
        let error = state.begin(&intent("run-1")).await.unwrap_err();
        assert_eq!(error.exit_class(), ExitClass::LostRace, "{error}");
        assert!(state.begin(&intent("../x")).await.is_err());
        assert!(state.intent("run-2").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn in_a_repository_the_manifest_is_the_outcome() {
    let (_, location) = faulty();
    let repository = create(&location, Some(&testing::key())).await;
    let state = repository.run_state();
    let mine = Intent { keyring: repository.keyring_ref(), ..intent("run-1") };
    state.begin(&mine).await.unwrap();
    snapshot(&repository, 7, b"another run's").await;
    assert_eq!(state.open_runs().await.unwrap().intents.len(), 1);
    let file = testing::write_file(&repository, &mine.snapshot_id, b"content").await;
    let manifest = testing::manifest(&repository, &mine.snapshot_id, file);
    repository.commit(CommitRequest { manifest }).await.unwrap();
    assert!(state.open_runs().await.unwrap().intents.is_empty());
}

#[tokio::test]
async fn a_damaged_intent_does_not_hide_the_others() {
    states(async |state| {
        state.begin(&intent("a")).await.unwrap();
        state.begin(&intent("b")).await.unwrap();
        let path = state.location().path("runs/a/intent.json").unwrap();
        let mut bytes = small::read(state.location().store.as_ref(), &path).await.unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        object_store::ObjectStoreExt::put(&state.location().store, &path, bytes.into()).await.unwrap();
        let open = state.open_runs().await.unwrap();
        assert_eq!(open.intents.len(), 1);
        assert_eq!(open.damaged.len(), 1, "{open:?}");
        assert_eq!(open.damaged[0].0, "a");
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_no_run_made_stops_nobody() {
    states(async |state| {
        state.begin(&intent("a")).await.unwrap();
        for name in ["runs/.stray/x", "runs/x y/intent.json", "runs/Größe/intent.json"] {
            let path = state.location().path(name).unwrap();
            object_store::ObjectStoreExt::put(&state.location().store, &path, "x".into()).await.unwrap();
        }
        let open = state.open_runs().await.unwrap();
        assert_eq!((open.intents.len(), open.damaged.len()), (1, 0), "{open:?}");
    })
    .await;
}

#[tokio::test]
async fn run_state_of_a_newer_format_is_not_taken_up() {
    states(async |state| {
        for (member, value) in [("format", json!("2")), ("features", json!({ "required": ["x"] }))] {
            let mut newer = serde_json::to_value(intent("run-9")).unwrap();
            newer["format"] = json!(FORMAT);
            newer[member] = value;
            let path = state.location().path("runs/run-9/intent.json").unwrap();
            let bytes = clear::encode(&newer).unwrap();
            object_store::ObjectStoreExt::put(&state.store, &path, bytes.into()).await.unwrap();
            let error = state.intent("run-9").await.unwrap_err();
            assert_eq!(error.exit_class(), ExitClass::TooNew, "{error}");
            assert_eq!(state.open_runs().await.unwrap().damaged.len(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn an_intent_names_the_keyring_it_began_under() {
    states(async |state| {
        state.begin(&intent("run-1")).await.unwrap();
        let named = state.intent("run-1").await.unwrap().unwrap().keyring;
        assert_eq!(named, state.keys.as_ref().map(Keys::named));
    })
    .await;
}

#[tokio::test]
async fn a_later_claim_voids_an_earlier_one() {
    states(async |state| {
        let first = state.claim("run-1").await.unwrap();
        state.check_claim(&first).await.unwrap();
        let second = state.claim("run-1").await.unwrap();
        assert_eq!((first.n, second.n), (1, 2));
        state.check_claim(&second).await.unwrap();
        let error = state.check_claim(&first).await.unwrap_err();
        assert_eq!(error.exit_class(), ExitClass::LostRace, "{error}");
    })
    .await;
}

#[tokio::test]
async fn rejects_are_written_beside_the_receipts() {
    states(async |state| {
        let mut writer = state.reject_writer("run-1", "jsonl").unwrap();
        writer.write(Bytes::from_static(b"{\"line\": 7}\n")).await.unwrap();
        let written = writer.finish().await.unwrap();
        assert!(written.path.starts_with("runs/run-1/rejects/"), "{}", written.path);
        let path = state.location().path(&written.path).unwrap();
        assert_eq!(small::read(state.store.as_ref(), &path).await.unwrap(), "{\"line\": 7}\n");
    })
    .await;
}

#[tokio::test]
async fn objects_of_another_run_are_noticed() {
    states(async |state| {
        let store = Arc::clone(&state.location().store);
        for run in ["a", "b"] {
            state.begin(&intent(run)).await.unwrap();
            state.put_receipt(run, &receipt("d", "s", 1)).await.unwrap();
            state.outcome(run, Outcome::Done).await.unwrap();
        }
        state.begin(&intent("c")).await.unwrap();
        assert!(state.open_runs().await.unwrap().damaged.is_empty());
        let objects: Vec<_> = store.list(Some(&state.location().path("runs/a").unwrap())).try_collect().await.unwrap();
        for meta in &objects {
            let to = Path::from(meta.location.as_ref().replace("runs/a", "runs/b"));
            store.copy(&meta.location, &to).await.unwrap();
        }
        assert_eq!(state.intent("b").await.unwrap_err().exit_class(), ExitClass::Tampered);
        assert_eq!(state.receipts("b").await.unwrap_err().exit_class(), ExitClass::Tampered);
        assert_eq!(state.put_receipt("b", &receipt("d", "s", 1)).await.unwrap_err().exit_class(), ExitClass::Tampered);
        assert_eq!(state.outcome_of("b").await.unwrap_err().exit_class(), ExitClass::Tampered);
        assert_eq!(state.outcome("b", Outcome::Done).await.unwrap_err().exit_class(), ExitClass::Tampered);
        let open = state.open_runs().await.unwrap();
        assert_eq!((open.intents.len(), open.damaged.len()), (1, 1), "{open:?}");
    })
    .await;
}
