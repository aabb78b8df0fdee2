//! A process that dies at any store operation of a change of the keyring.

use std::sync::Arc;

use futures::{StreamExt, stream};
use restow_store::fault::{Fault, Faults, Plan};
use restow_store::keys::KeySource;
use restow_store::location::Location;
use restow_store::repository::{ExitClass, KeyChange, RecoveryOutput, Repository};

use crate::backup::{Job, Result, backup, snapshots};
use crate::crashes::{MOMENTS, check_error};
use crate::place::{BACKENDS, Place, new_key};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
    Rewrap,
    Rotate,
    Recovery,
}

const CHANGES: [Change; 5] = [Change::Add, Change::Remove, Change::Rewrap, Change::Rotate, Change::Recovery];

/// Key, second key, and the slot of the second one where it is there.
struct Ring {
    a: KeySource,
    b: KeySource,
    slot: u32,
}

async fn change(location: &Location, ring: &Ring, change: Change) -> Result<KeyChange> {
    let repository = Repository::open(location.clone(), Some(&ring.a)).await?;
    match change {
        Change::Add => repository.add_key(&ring.a, &ring.b).await,
        Change::Remove => repository.remove_key(&ring.a, ring.slot).await,
        Change::Rewrap => repository.rewrap_key(&ring.a, ring.slot, Some(&new_key())).await,
        Change::Rotate => {
            let others = std::slice::from_ref(&ring.b);
            repository.rotate_keys(&ring.a, others, &RecoveryOutput::Show).await
        }
        Change::Recovery => repository.replace_recovery_key(&ring.a, &RecoveryOutput::Show).await,
    }
}

/// A repository with one snapshot, and with the second key where the change needs it.
async fn prepare(base: &Place, change: Change, job: &Job) -> Ring {
    let mut ring = Ring { a: new_key(), b: new_key(), slot: 0 };
    backup(&base.location(), Some(&ring.a), job).await.unwrap();
    if change != Change::Add {
        let repository = Repository::open(base.location(), Some(&ring.a)).await.unwrap();
        ring.slot = repository.add_key(&ring.a, &ring.b).await.unwrap().slot.unwrap().id;
    }
    ring
}

async fn generation(location: &Location, key: &KeySource, at: &str) -> u64 {
    let repository = Repository::open(location.clone(), Some(key)).await.unwrap_or_else(|e| panic!("{at}: {e}"));
    assert!(repository.warnings().is_empty(), "{at}: {:?}", repository.warnings());
    repository.keys().unwrap().generation()
}

/// What holds after a change that a fault met; then the same command again, without faults.
async fn settle(place: &Place, ring: &Ring, what: Change, job: &Job, (before, succeeded): (u64, bool), at: &str) {
    let location = place.location();
    let now = generation(&location, &ring.a, at).await;
    assert!(now == before || now == before + 1, "{at}: generation {now} after {before}");
    assert!(now == before + 1 || !succeeded, "{at}: what reported success is there");
    assert_eq!(snapshots(&location, Some(&ring.a), &[job], at).await, [1], "{at}");
    let again = change(&location, ring, what).await;
    let landed = now > before;
    match &again {
        Ok(_) => {}
        // The first attempt did it, and the command says so.
        Err(e) if landed => assert_eq!(e.exit_class(), ExitClass::Usage, "{at}: {e}"),
        Err(e) => panic!("{at}: the next attempt: {e}"),
    }
    if let Some(recovery) = again.ok().and_then(|made| made.recovery_key) {
        let source = KeySource::Key(zeroize::Zeroizing::new(recovery.text().to_string()));
        assert_eq!(snapshots(&location, Some(&source), &[job], at).await, [1], "{at}: the recovery key that was shown");
    }
    let with_b = Repository::open(location.clone(), Some(&ring.b)).await;
    match what {
        Change::Remove | Change::Rewrap => {
            assert_eq!(with_b.unwrap_err().exit_class(), ExitClass::WrongKey, "{at}: the key that was taken out");
        }
        _ => drop(with_b.unwrap_or_else(|e| panic!("{at}: {e}"))),
    }
    let later = Job::new("later", 60);
    backup(&location, Some(&ring.a), &later).await.unwrap_or_else(|e| panic!("{at}: {e}"));
    assert_eq!(snapshots(&location, Some(&ring.a), &[job, &later], at).await, [1, 1], "{at}");
}

#[tokio::test]
async fn a_change_of_the_keyring_meets_every_fault() {
    let small = Job::of_size("older", 0, 100);
    for backend in BACKENDS {
        for what in CHANGES {
            let base = Place::new(backend);
            let ring = prepare(&base, what, &small).await;
            let before = generation(&base.location(), &ring.a, "base").await;
            let counted = Arc::new(Faults::new(Plan::none()));
            change(&base.copy().await.faulty(&counted), &ring, what).await.unwrap();
            let count = counted.operations();
            let faults =
                MOMENTS.map(Fault::Crash).into_iter().chain([Fault::DropReply, Fault::Transient(500), Fault::Fail]);
            let cases: Vec<_> = (1..=count).flat_map(|n| faults.clone().map(move |fault| (n, fault))).collect();
            let (base, ring, small) = (&base, &ring, &small);
            let done: Vec<()> = stream::iter(cases)
                .map(|(n, fault)| async move {
                    let at = format!("{what:?} {n} of {count}, {fault:?}");
                    let place = base.copy().await;
                    let faults = Arc::new(Faults::new(Plan::at(n, fault)));
                    let result = change(&place.faulty(&faults), ring, what).await;
                    assert_eq!(faults.fired(), 1, "{at}");
                    let class = match fault {
                        Fault::DropReply | Fault::Transient(_) => ExitClass::Unreachable,
                        _ => ExitClass::Failed,
                    };
                    check_error(&result, class, &at);
                    settle(&place, ring, what, small, (before, result.is_ok()), &at).await;
                })
                .buffer_unordered(16)
                .collect()
                .await;
            println!("{what:?} of keys, {backend:?}: {count} operations, {} cases", done.len());
        }
    }
}
