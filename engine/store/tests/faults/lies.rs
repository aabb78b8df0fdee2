//! Stores that say what is not true. What a run reports as done has to be there; what a store cannot do is found out
//! first.

use std::sync::Arc;

use futures::{StreamExt, stream};
use restow_store::fault::{Fault, Faults, Kind, Lie, Plan};
use restow_store::repository::{CreateOptions, ExitClass, Repository, RepositoryError};

use crate::backup::{Job, backup, read, snapshots};
use crate::crashes::MOMENTS;
use crate::place::{BACKENDS, Backend, Place, new_key, plain_and_encrypted};

/// Whatever single operation lies: a run that reports success has made a snapshot that reads as it should.
#[tokio::test]
async fn no_single_lie_makes_a_reported_snapshot_a_broken_one() {
    for lie in [Lie::Plain, Lie::Half, Lie::Corrupt] {
        for key in plain_and_encrypted() {
            let key = key.as_ref();
            let (base, job) = (&Place::new(Backend::Memory), &Job::new("first", 0));
            let counted = Arc::new(Faults::new(Plan::none()));
            backup(&base.copy().await.faulty(&counted), key, job).await.unwrap();
            let succeeded: Vec<bool> = stream::iter(1..=counted.operations())
                .map(|n| async move {
                    let at = format!("operation {n}, {lie:?}, encrypted {}", key.is_some());
                    let place = base.copy().await;
                    let faults = Arc::new(Faults::recording(Plan::at(n, Fault::Lie(lie))));
                    match backup(&place.faulty(&faults), key, job).await {
                        Ok(done) => {
                            let lied = faults.log()[n as usize - 1].clone();
                            let found = read(&place.location(), key, &done.snapshot).await;
                            let found = found.unwrap_or_else(|e| panic!("{at} ({lied:?}): {e}"));
                            assert!(found == job.content(), "{at}: {lied:?}");
                            true
                        }
                        Err(_) => false,
                    }
                })
                .buffer_unordered(16)
                .collect()
                .await;
            let ok = succeeded.iter().filter(|ok| **ok).count();
            println!("lie {lie:?}, encrypted {}: {} cases, {ok} succeeded rightly", key.is_some(), succeeded.len());
        }
    }
}

/// Whatever goes wrong with a single operation of a restore: it gives what was backed up, or an error.
#[tokio::test]
async fn a_read_is_right_or_an_error() {
    let faults = [Fault::Fail, Fault::Transient(503), Fault::NotFound, Fault::Denied, Fault::Tear, Fault::DropReply]
        .into_iter()
        .chain([Lie::Plain, Lie::Half, Lie::Corrupt].map(Fault::Lie))
        .chain(MOMENTS.map(Fault::Crash));
    for backend in BACKENDS {
        for key in plain_and_encrypted() {
            let (place, job) = (Place::new(backend), Job::new("first", 0));
            let id = backup(&place.location(), key.as_ref(), &job).await.unwrap().snapshot;
            let counted = Arc::new(Faults::new(Plan::none()));
            read(&place.faulty(&counted), key.as_ref(), &id).await.unwrap();
            let (count, mut cases, mut ok) = (counted.operations(), 0, 0);
            for (n, fault) in (1..=count).flat_map(|n| faults.clone().map(move |fault| (n, fault))) {
                let broken = Arc::new(Faults::new(Plan::at(n, fault).with_seed(n)));
                if let Ok(found) = read(&place.faulty(&broken), key.as_ref(), &id).await {
                    assert!(found == job.content(), "{fault:?} at {n} of {count}");
                    ok += 1;
                }
                assert_eq!(broken.fired(), 1, "{fault:?} at {n} of {count}");
                cases += 1;
            }
            assert!(read(&place.location(), key.as_ref(), &id).await.unwrap() == job.content());
            let encrypted = key.is_some();
            println!(
                "restore, {backend:?}, encrypted {encrypted}: {count} operations, {cases} cases, {ok} right, no wrong one"
            );
        }
    }
}

/// A lie about data is found before the receipt, and the next run mends it.
#[tokio::test]
async fn lies_about_data_are_found_at_read_back_and_the_next_run_mends_them() {
    let mut cases = 0;
    for lie in ["lie", "lie(half)", "lie(corrupt)"] {
        for key in plain_and_encrypted() {
            for n in 1..=10 {
                let (place, job) = (Place::new(Backend::Memory), Job::new("first", 0));
                let faults = Arc::new(Faults::new(format!("put@/data/:{n}={lie}").parse().unwrap()));
                let result = backup(&place.faulty(&faults), key.as_ref(), &job).await;
                if faults.fired() == 0 {
                    continue;
                }
                match result {
                    Err(e) => assert_eq!(e.exit_class(), ExitClass::Tampered, "{lie} {n}: {e}"),
                    // Nothing is the half of nothing.
                    Ok(done) => assert_eq!(done.written, job.splits.len(), "{lie} {n}"),
                }
                backup(&place.location(), key.as_ref(), &job).await.unwrap();
                let found = snapshots(&place.location(), key.as_ref(), &[&job], lie).await;
                assert!(found[0] >= 1, "{lie} {n}");
                cases += 1;
            }
        }
    }
    println!("lies about data: {cases} cases");
}

async fn create(place: &Place, plan: &str, encrypted: bool) -> Result<(), RepositoryError> {
    let faults = Arc::new(Faults::new(plan.parse().unwrap()));
    let options = CreateOptions { encryption: encrypted.then(new_key), ..CreateOptions::default() };
    Repository::create(place.faulty(&faults), options).await.map(|_| ())
}

/// A store that ignores the precondition of a creation, in each of the ways it can, is refused with the remedy.
#[tokio::test]
async fn a_store_without_create_if_absent_is_refused_at_creation() {
    let plans = [
        // It replaces what is there and says nothing.
        "put:*=lie(overwrite)",
        // It keeps what is there and says that it was replaced.
        "put:*=lie(keep)",
        // It says that something is there where nothing is.
        "put:*=lie(exists)",
        // It keeps nothing, half, or something else.
        "put:*=lie",
        "put:*=lie(half)",
        "put:*=lie(corrupt)",
    ];
    let cases = BACKENDS.into_iter().flat_map(|backend| {
        [false, true].into_iter().flat_map(move |encrypted| plans.map(|plan| (backend, encrypted, plan)))
    });
    let done: Vec<()> = stream::iter(cases)
        .map(|(backend, encrypted, plan)| async move {
            let place = Place::new(backend);
            let error = create(&place, plan, encrypted).await.expect_err(plan);
            assert!(matches!(error, RepositoryError::NoCreateIfAbsent { .. }), "{plan}: {error}");
            assert_eq!(error.exit_class(), ExitClass::Refused, "{plan}: {error}");
            assert!(error.to_string().contains("use a store with conditional writes"), "{plan}: {error}");
            assert!(place.objects().await.is_empty(), "{plan}: nothing is left");
            // The same place on a store that keeps the promise.
            create(&place, "none", encrypted).await.unwrap();
            assert!(place.objects().await.keys().all(|path| !path.contains("probe")), "{plan}: a probe is left");
        })
        // Creations that meet something are tried again for six seconds.
        .buffer_unordered(100)
        .collect()
        .await;
    println!("stores that break the promise of create-if-absent: {} refused", done.len());
}

/// A lost reply to the probe's own creations is no reason to refuse a store that is right.
#[tokio::test]
async fn the_probe_bears_lost_replies() {
    for n in 1..=2 {
        let place = Place::new(Backend::Memory);
        let result = create(&place, &format!("put@probe:{n}=drop-reply"), false).await;
        match result {
            Ok(()) => {}
            Err(e) => assert_eq!(e.exit_class(), ExitClass::Unreachable, "{n}: {e}"),
        }
        create(&place, "none", false)
            .await
            .or_else(|e| if matches!(e, RepositoryError::Exists { .. }) { Ok(()) } else { Err(e) })
            .unwrap();
    }
}

/// Nothing rests on copy or rename: object_store 0.13.2 swaps their create modes on GCS.
#[tokio::test]
async fn no_protocol_copies_or_renames() {
    for key in plain_and_encrypted() {
        let (place, job) = (Place::new(Backend::Memory), Job::new("first", 0));
        let faults = Arc::new(Faults::new(Plan::none()));
        backup(&place.faulty(&faults), key.as_ref(), &job).await.unwrap();
        read(
            &place.faulty(&faults),
            key.as_ref(),
            &backup(&place.location(), key.as_ref(), &job).await.unwrap().snapshot,
        )
        .await
        .unwrap();
        assert_eq!((faults.count(Kind::Copy), faults.count(Kind::Rename)), (0, 0));
        assert_eq!(faults.count(Kind::Delete), 1, "the probe's own object");
    }
}
