use std::time::Duration;

use object_store::integration as suite;
use object_store::memory::InMemory;
use object_store::{Error, GetRange};

use super::*;
use crate::location::{self, StoreOptions};
use crate::repository::{ExitClass, exit_class_of};

fn store(plan: &str) -> (Arc<InMemory>, FaultStore) {
    let inner = Arc::new(InMemory::new());
    let faults = Arc::new(Faults::recording(plan.parse().unwrap()));
    (Arc::clone(&inner), FaultStore::sharing(inner, faults))
}

fn at(path: &str) -> Path {
    Path::from(path)
}

async fn read(store: &dyn ObjectStore, path: &str) -> Result<Bytes> {
    store.get(&at(path)).await?.bytes().await
}

fn class(error: &Error) -> ExitClass {
    exit_class_of(error)
}

#[tokio::test]
async fn an_empty_plan_conforms_to_the_object_store_suite() {
    let (_, store) = store("none");
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
    suite::put_get_attributes(&store).await;
    suite::get_opts(&store).await;
    suite::put_opts(&store, true).await;
    assert_eq!(store.faults().fired(), 0);
}

#[test]
fn plans_parse_and_wrong_ones_say_why() {
    for good in [
        "none",
        "put:7=drop-reply,get:*=delay(50ms)",
        "put@snapshots/*/manifest.json:1=lie(half), seed=9",
        "write:5%=transient(503),read:2-4=tear,*:100+=crash(middle)",
        "list:1=hang,delete:1=no-space,rename:1=lie(overwrite),head:3=not-found,abort:1=denied,part:*=lie(corrupt)",
    ] {
        good.parse::<Plan>().unwrap_or_else(|e| panic!("{good}: {e}"));
    }
    for (bad, says) in [
        ("", "KIND:WHEN=FAULT"),
        ("put", "KIND:WHEN=FAULT"),
        ("put=fail", "KIND:WHEN=FAULT"),
        ("putt:1=fail", "no operation \"putt\"; there are put, multipart"),
        ("put:0=fail", "no WHEN"),
        ("put:4-2=fail", "no WHEN"),
        ("put:101%=fail", "no WHEN"),
        ("put:1=explode", "no fault \"explode\"; there are fail"),
        ("put:1=delay(5)", "no duration; write 50ms"),
        ("put:1=transient(200)", "400 to 599"),
        ("get:1=fail,seed=x", "a seed is a number"),
        ("get:1=fail,", "KIND:WHEN=FAULT"),
    ] {
        let error = bad.parse::<Plan>().expect_err(bad).to_string();
        assert!(error.contains(says), "{bad}: {error}");
    }
}

#[tokio::test]
async fn operations_are_counted_recorded_and_hit_by_number_kind_and_path() {
    let (inner, store) = store("put@b/*.json:2=fail");
    for path in ["a/1.json", "b/1.json", "b/1.txt", "b/2.json", "b/3.json"] {
        let result = store.put(&at(path), "x".into()).await;
        assert_eq!(result.is_err(), path == "b/2.json", "{path}");
    }
    assert!(read(&*inner, "b/2.json").await.is_err());
    let faults = store.faults();
    assert_eq!((faults.operations(), faults.count(Kind::Put), faults.fired()), (5, 5, 1));
    let fourth = Operation { kind: Kind::Put, path: "b/2.json".into(), bytes: 1, fault: Some(Fault::Fail) };
    assert_eq!(faults.log()[3], fourth);
}

#[tokio::test]
async fn errors_mean_what_those_of_real_stores_mean() {
    for (fault, expected) in [
        ("fail", ExitClass::Failed),
        ("transient", ExitClass::Unreachable),
        ("transient(503)", ExitClass::Unreachable),
        ("not-found", ExitClass::NotFound),
        ("denied", ExitClass::Failed),
        ("no-space", ExitClass::NoSpace),
        ("tear", ExitClass::Unreachable),
        ("drop-reply", ExitClass::Unreachable),
        ("crash", ExitClass::Failed),
    ] {
        let (_, store) = store(&format!("put:1={fault}"));
        let error = store.put(&at("x"), "x".into()).await.unwrap_err();
        assert_eq!(class(&error), expected, "{fault}: {error}");
        assert!(error.to_string().contains("fault plan"), "{error}");
    }
}

#[tokio::test]
async fn a_lost_reply_is_of_something_that_was_done() {
    let (inner, store) = store("*:*=drop-reply");
    store.put(&at("x"), "x".into()).await.unwrap_err();
    assert_eq!(read(&*inner, "x").await.unwrap(), "x");
    store.rename(&at("x"), &at("y")).await.unwrap_err();
    store.copy(&at("y"), &at("z")).await.unwrap_err();
    store.delete(&at("y")).await.unwrap_err();
    assert!(read(&*inner, "y").await.is_err());
    assert_eq!(read(&*inner, "z").await.unwrap(), "x");
    store.get(&at("z")).await.unwrap_err();
    store.list(None).try_collect::<Vec<_>>().await.unwrap_err();
}

use futures::TryStreamExt;

#[tokio::test]
async fn torn_writes_show_nothing_and_lies_show_what_they_leave() {
    let (inner, torn) = store("put:1=tear,part:2=tear");
    torn.put(&at("x"), "0123".into()).await.unwrap_err();
    let mut upload = torn.put_multipart(&at("y")).await.unwrap();
    upload.put_part("0123".into()).await.unwrap();
    upload.put_part("4567".into()).await.unwrap_err();
    upload.complete().await.unwrap_err();
    assert!(inner.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());

    let (inner, lying) = store("put:1=lie,put:2=lie(half),put:3=lie(corrupt),get:2=lie,get:3=lie(half),delete:1=lie");
    for path in ["a", "b", "c", "d"] {
        lying.put(&at(path), "0123".into()).await.unwrap();
    }
    assert!(read(&*inner, "a").await.is_err());
    assert_eq!(read(&*inner, "b").await.unwrap(), "01");
    let flipped = read(&*inner, "c").await.unwrap();
    let bits: u32 = flipped.iter().zip(b"0123").map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!((flipped.len(), bits), (4, 1));
    assert_eq!(read(&lying, "d").await.unwrap(), "0123");
    assert_ne!(read(&lying, "d").await.unwrap(), "0123");
    assert_eq!(read(&lying, "d").await.unwrap(), "01");
    lying.delete(&at("d")).await.unwrap();
    assert_eq!(read(&*inner, "d").await.unwrap(), "0123");
}

#[tokio::test]
async fn a_store_may_lie_about_creation() {
    let (inner, store) = store("put:2=lie(overwrite),put:3=lie(keep),put:4=lie(exists)");
    let create =
        async |path: &str, text: &'static str| store.put_opts(&at(path), text.into(), PutMode::Create.into()).await;
    create("x", "1").await.unwrap();
    create("x", "2").await.unwrap();
    assert_eq!(read(&*inner, "x").await.unwrap(), "2");
    create("x", "3").await.unwrap();
    assert_eq!(read(&*inner, "x").await.unwrap(), "2");
    assert!(matches!(create("y", "4").await, Err(Error::AlreadyExists { .. })));
    assert!(read(&*inner, "y").await.is_err());
}

#[tokio::test]
async fn a_dead_process_does_nothing_any_more() {
    for (moment, stored) in [("before", false), ("middle", false), ("after", true)] {
        let (inner, store) = store(&format!("put:2=crash({moment})"));
        store.put(&at("a"), "0123".into()).await.unwrap();
        let open = store.get(&at("a")).await.unwrap();
        let mut upload = store.put_multipart(&at("u")).await.unwrap();
        store.put(&at("b"), "0123".into()).await.unwrap_err();
        assert!(store.faults().crashed());
        assert_eq!(read(&*inner, "b").await.is_ok(), stored, "{moment}");
        assert!(open.bytes().await.is_err(), "a read that was under way");
        upload.put_part("x".into()).await.unwrap_err();
        upload.complete().await.unwrap_err();
        for error in [
            store.put(&at("c"), "x".into()).await.unwrap_err(),
            store.head(&at("a")).await.unwrap_err(),
            store.list_with_delimiter(None).await.unwrap_err(),
            store.delete(&at("a")).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains("the process died"), "{error}");
        }
        assert_eq!(store.faults().operations(), 4, "the dead make no operations");
        assert!(read(&*inner, "a").await.is_ok());
    }
}

#[tokio::test]
async fn half_a_read_is_given_before_the_connection_breaks() {
    let (_, store) = store("get:2=tear");
    store.put(&at("x"), vec![7; 1000].into()).await.unwrap();
    assert_eq!(read(&store, "x").await.unwrap().len(), 1000);
    let options = GetOptions { range: Some(GetRange::Bounded(100..900)), ..GetOptions::default() };
    let mut stream = store.get_opts(&at("x"), options).await.unwrap().into_stream();
    assert_eq!(stream.try_next().await.unwrap().unwrap().len(), 400);
    stream.try_next().await.unwrap_err();
}

#[tokio::test]
async fn delays_add_up_and_hanging_never_ends() {
    let (_, store) = store("put:*=delay(20ms),*:1=delay(20ms),get:1=hang");
    let begin = std::time::Instant::now();
    store.put(&at("x"), "x".into()).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(40));
    tokio::time::timeout(Duration::from_millis(50), store.get(&at("x"))).await.unwrap_err();
}

#[tokio::test]
async fn what_is_random_follows_from_the_seed() {
    let hits = async |seed: u64| {
        let (_, store) = store(&format!("put:30%=fail,seed={seed}"));
        let mut hits = Vec::new();
        for i in 0..200 {
            hits.push(store.put(&at(&i.to_string()), "x".into()).await.is_err());
        }
        hits
    };
    let one = hits(1).await;
    assert_eq!(one, hits(1).await);
    assert_ne!(one, hits(2).await);
    let count = one.iter().filter(|hit| **hit).count();
    assert!((30..90).contains(&count), "{count}");
}

#[tokio::test]
async fn an_address_reaches_it_only_with_prefix_and_plan() {
    let with = |plan: &str| StoreOptions {
        environment: [("RESTOW_FAULTS".to_owned(), plan.to_owned())].into(),
        ..StoreOptions::default()
    };
    let plain = location::open("memory:fault-address", &with("*:*=fail")).unwrap();
    plain.store.put(&at("x"), "x".into()).await.unwrap();

    let place = location::open("fault+memory://fault-address", &with("get:2=fail")).unwrap();
    assert_eq!(place.url, "fault+memory:fault-address");
    assert_eq!(read(&*place.store, "x").await.unwrap(), "x");
    let same = location::open("fault+memory://fault-address", &with("get:2=fail")).unwrap();
    read(&*same.store, "x").await.unwrap_err();
    assert_eq!(read(&*place.store, "x").await.unwrap(), "x", "the counter is shared");

    let inline = location::open("fault+memory:fault-address?fault=get:1=fail", &with("none")).unwrap();
    read(&*inline.store, "x").await.unwrap_err();
    let dir = tempfile::tempdir().unwrap();
    let local = location::open(&format!("fault+file://{}", dir.path().display()), &with("put:1=fail")).unwrap();
    local.store.put(&local.path("x").unwrap(), "x".into()).await.unwrap_err();

    let error = location::open("fault+memory:x", &StoreOptions::default()).unwrap_err().to_string();
    assert!(error.contains("set RESTOW_FAULTS"), "{error}");
    let error = location::open("fault+memory:x", &with("put:1=explode")).unwrap_err().to_string();
    assert!(error.contains("there is no fault \"explode\""), "{error}");
}
