//! Stores that answer with errors, too late, or not at all; and replies that are lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use restow_store::fault::{Fault, Faults, Kind, Plan};
use restow_store::repository::ExitClass;

use crate::backup::{Job, backup, snapshots};
use crate::crashes::{check_error, operations, settle};
use crate::place::{BACKENDS, Backend, Place, plain_and_encrypted};

/// Every operation of a first backup meets the fault once.
async fn each(backends: &[Backend], fault: Fault, class: ExitClass) {
    for backend in backends.iter().copied() {
        for key in plain_and_encrypted() {
            let (base, job) = (&Place::new(backend), &Job::new("first", 0));
            let key = key.as_ref();
            let count = operations(base, key, job).await;
            let succeeded: Vec<bool> = stream::iter(1..=count)
                .map(|n| async move {
                    let at = format!("{n} of {count}, {fault:?}");
                    let place = base.copy().await;
                    let faults = Arc::new(Faults::new(Plan::at(n, fault)));
                    let result = backup(&place.faulty(&faults), key, job).await;
                    assert_eq!(faults.fired(), 1, "{at}");
                    check_error(&result, class, &at);
                    settle(&place, key, (None, job), &result, &at).await;
                    result.is_ok()
                })
                .buffer_unordered(32)
                .collect()
                .await;
            let ok = succeeded.iter().filter(|ok| **ok).count();
            println!("{fault:?} once, {backend:?}, encrypted {}: {count} cases, {ok} succeeded", key.is_some());
        }
    }
}

#[tokio::test]
async fn a_lost_reply() {
    each(&BACKENDS, Fault::DropReply, ExitClass::Unreachable).await;
}

#[tokio::test]
async fn a_server_error() {
    each(&[Backend::Memory], Fault::Transient(503), ExitClass::Unreachable).await;
}

#[tokio::test]
async fn a_broken_connection() {
    each(&BACKENDS, Fault::Tear, ExitClass::Unreachable).await;
}

#[tokio::test]
async fn a_failure() {
    each(&[Backend::Memory], Fault::Fail, ExitClass::Failed).await;
}

#[tokio::test]
async fn a_missing_permission() {
    each(&[Backend::Memory], Fault::Denied, ExitClass::Failed).await;
}

#[tokio::test]
async fn a_full_store() {
    each(&[Backend::Memory], Fault::NoSpace, ExitClass::NoSpace).await;
}

/// Small objects are created again after a lost reply, and find themselves.
#[tokio::test]
async fn a_lost_reply_to_a_creation_is_no_error() {
    for key in plain_and_encrypted() {
        let (base, job) = (Place::new(Backend::Memory), Job::new("first", 0));
        let place = base.copy().await;
        let created = "repository.json|keys/1.json|intent.json|receipts/|artifacts/|inventory-|manifest.json";
        let mut cases = 0;
        for path in created.split('|').filter(|path| key.is_some() || *path != "keys/1.json") {
            let place = place.copy().await;
            let faults = Arc::new(Faults::new(format!("put@{path}:1=drop-reply").parse().unwrap()));
            let done =
                backup(&place.faulty(&faults), key.as_ref(), &job).await.unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!(faults.fired(), 1, "{path}");
            assert_eq!(done.already, path == "manifest.json", "{path}");
            assert_eq!(snapshots(&place.location(), key.as_ref(), &[&job], path).await, [1]);
            cases += 1;
        }
        println!("lost replies to creations, encrypted {}: {cases} cases", key.is_some());
    }
}

/// Everything fails from an operation on: an error in bounded time, and nothing lost.
#[tokio::test]
async fn a_store_that_stays_away() {
    for (text, class) in [("transient(503)", ExitClass::Unreachable), ("denied", ExitClass::Failed)] {
        let (base, job) = (&Place::new(Backend::Memory), &Job::new("first", 0));
        let count = operations(base, None, job).await;
        let begin = Instant::now();
        let cases: Vec<()> = stream::iter((1..=count).step_by(3))
            .map(|n| async move {
                let at = format!("{text} from {n}");
                let place = base.copy().await;
                let faults = Arc::new(Faults::new(format!("*:{n}+={text}").parse().unwrap()));
                let result = backup(&place.faulty(&faults), None, job).await;
                check_error(&result, class, &at);
                assert!(result.is_err() || n == count, "{at}");
                settle(&place, None, (None, job), &result, &at).await;
            })
            .buffer_unordered(1000)
            .collect()
            .await;
        assert!(begin.elapsed() < Duration::from_secs(45), "{:?}", begin.elapsed());
        println!("{text} from an operation on, Memory: {} cases in {:?}", cases.len(), begin.elapsed());
    }
}

/// Random mixes, by seed.
#[tokio::test]
async fn random_mixes_of_faults() {
    let (mut fired, mut succeeded, mut cases) = (0, 0, 0);
    for key in plain_and_encrypted() {
        let key = key.as_ref();
        let (base, job) = (&Place::new(Backend::Memory), &Job::new("first", 0));
        let results: Vec<(u64, bool)> = stream::iter(0..150)
            .map(|seed| async move {
                let plan = "read:3%=tear,read:2%=transient,write:3%=drop-reply,write:3%=transient(503),*:1%=fail,\
                            *:1%=crash(middle),*:5%=delay(1ms)";
                let faults = Arc::new(Faults::new(plan.parse::<Plan>().unwrap().with_seed(seed)));
                let place = base.copy().await;
                let result = backup(&place.faulty(&faults), key, job).await;
                let at = format!("seed {seed}");
                if let Err(e) = &result {
                    assert!(matches!(e.exit_class(), ExitClass::Failed | ExitClass::Unreachable), "{at}: {e}");
                }
                settle(&place, key, (None, job), &result, &at).await;
                (faults.fired(), result.is_ok())
            })
            .buffer_unordered(32)
            .collect()
            .await;
        fired += results.iter().map(|(fired, _)| fired).sum::<u64>();
        succeeded += results.iter().filter(|(_, ok)| *ok).count();
        cases += results.len();
    }
    println!("random mixes, Memory: {cases} runs, {fired} faults, {succeeded} succeeded");
}

#[tokio::test]
async fn a_hanging_store_is_waited_for_and_a_slow_one_is_no_error() {
    let (place, job) = (Place::new(Backend::Memory), Job::new("first", 0));
    let faults = Arc::new(Faults::new("*:*=delay(1ms),put@manifest:1=hang".parse().unwrap()));
    let location = place.faulty(&faults);
    let hung = tokio::time::timeout(Duration::from_secs(2), backup(&location, None, &job)).await;
    assert!(hung.is_err(), "the store's own time limits end a request; here there is none");
    assert!(faults.count(Kind::Put) > 10);
    settle(
        &place,
        None,
        (None, &job),
        &Err(restow_store::repository::RepositoryError::ReadOnly { url: String::new() }),
        "hang",
    )
    .await;
}
