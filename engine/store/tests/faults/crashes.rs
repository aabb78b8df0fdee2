//! A process that dies before, in the middle of and after every store operation of a backup.

use std::sync::Arc;

use futures::{StreamExt, stream};
use restow_store::fault::{Faults, Kind, Moment, Plan};
use restow_store::keys::KeySource;
use restow_store::repository::{ExitClass, Repository, RepositoryError};

use crate::backup::{Done, Job, Result, backup, snapshots};
use crate::place::{BACKENDS, Backend, Place, plain_and_encrypted};

pub const MOMENTS: [Moment; 3] = [Moment::Before, Moment::Middle, Moment::After];

/// Cases under way at once.
const BESIDE: usize = 8;

/// Store operations of one run without faults.
pub async fn operations(base: &Place, key: Option<&KeySource>, job: &Job) -> u64 {
    let place = base.copy().await;
    let faults = Arc::new(Faults::new(Plan::none()));
    backup(&place.faulty(&faults), key, job).await.unwrap();
    faults.operations()
}

/// What holds after any run that a fault met, whatever came of it; then the next run, without faults.
pub async fn settle(
    place: &Place,
    key: Option<&KeySource>,
    (older, job): (Option<&Job>, &Job),
    result: &Result<Done>,
    at: &str,
) {
    let jobs: Vec<&Job> = older.into_iter().chain([job]).collect();
    let expect = |of_job: usize| -> Vec<usize> { older.map(|_| 1).into_iter().chain([of_job]).collect() };
    let location = place.location();
    let mut committed = 0;
    let mut receipts = 0;
    if Repository::exists(&location).await.unwrap() {
        let found = snapshots(&location, key, &jobs, at).await;
        committed = *found.last().unwrap();
        assert_eq!(found, expect(committed), "{at}: older snapshots");
        let repository = Repository::open(location.clone(), key).await.unwrap();
        let open = repository.run_state().open_runs().await.unwrap_or_else(|e| panic!("{at}: {e}"));
        assert!(open.damaged.is_empty(), "{at}: {:?}", open.damaged);
        assert!(open.intents.len() + committed <= 1, "{at}: a run is finished or open");
        for intent in open.intents {
            receipts = repository.run_state().receipts(&intent.run_id).await.unwrap().len();
        }
    }
    if result.is_ok() {
        assert_eq!(committed, 1, "{at}: what reported success is there");
    }
    let faults = Arc::new(Faults::recording(Plan::none()));
    let again = backup(&place.faulty(&faults), key, job).await.unwrap_or_else(|e| panic!("{at}: the next run: {e}"));
    assert_eq!((again.kept, again.written), (receipts, job.splits.len() - receipts), "{at}: finished splits stay");
    let data = |path: &str| path.contains("/data/") && !path.ends_with(".sha256");
    let puts = faults.log().iter().filter(|op| op.kind == Kind::Put && data(&op.path)).count();
    assert_eq!(puts, again.written, "{at}: nothing else was written");
    assert_eq!(snapshots(&location, key, &jobs, at).await, expect(committed + 1), "{at}: after the next run");
}

/// The three moments of every operation of a run of `job` over copies of `base`. Gives operations and cases.
async fn sweep(base: &Place, key: Option<&KeySource>, older: Option<&Job>, job: &Job) -> (u64, u64) {
    let count = operations(base, key, job).await;
    let cases = (1..=count).flat_map(|n| MOMENTS.map(|moment| (n, moment)));
    let done: Vec<()> = stream::iter(cases)
        .map(|(n, moment)| async move {
            let at = format!("{} of {count}, {moment:?}", n);
            let place = base.copy().await;
            let faults = Arc::new(Faults::new(Plan::crash(n, moment)));
            let result = backup(&place.faulty(&faults), key, job).await;
            assert!(faults.crashed(), "{at}: the run has fewer operations than the one before");
            check_error(&result, ExitClass::Failed, &at);
            settle(&place, key, (older, job), &result, &at).await;
        })
        .buffer_unordered(BESIDE)
        .collect()
        .await;
    (count, done.len() as u64)
}

/// An injected error must not look like damage, a wrong key, or anything that it is not.
pub fn check_error<T>(result: &std::result::Result<T, RepositoryError>, expected: ExitClass, at: &str) {
    if let Err(error) = result {
        assert_eq!(error.exit_class(), expected, "{at}: {error}");
    }
}

#[tokio::test]
async fn the_first_backup_of_a_new_repository() {
    for backend in BACKENDS {
        for key in plain_and_encrypted() {
            let (count, cases) = sweep(&Place::new(backend), key.as_ref(), None, &Job::new("first", 0)).await;
            println!(
                "crash, create and back up, {backend:?}, encrypted {}: {count} operations, {cases} cases",
                key.is_some()
            );
        }
    }
}

#[tokio::test]
async fn the_second_backup() {
    for backend in BACKENDS {
        for key in plain_and_encrypted() {
            let (place, older) = (Place::new(backend), Job::new("older", 0));
            backup(&place.location(), key.as_ref(), &older).await.unwrap();
            let (count, cases) = sweep(&place, key.as_ref(), Some(&older), &Job::new("newer", 60)).await;
            println!("crash, back up, {backend:?}, encrypted {}: {count} operations, {cases} cases", key.is_some());
        }
    }
}

#[tokio::test]
async fn a_resumed_backup() {
    for backend in BACKENDS {
        for key in plain_and_encrypted() {
            let (place, older, job) = (Place::new(backend), Job::new("older", 0), Job::new("newer", 60));
            backup(&place.location(), key.as_ref(), &older).await.unwrap();
            // A run that died behind its second receipt.
            let faults = Arc::new(Faults::new("put@/receipts/:2=crash(after)".parse().unwrap()));
            backup(&place.faulty(&faults), key.as_ref(), &job).await.unwrap_err();
            let (count, cases) = sweep(&place, key.as_ref(), Some(&older), &job).await;
            println!("crash, resume, {backend:?}, encrypted {}: {count} operations, {cases} cases", key.is_some());
        }
    }
}

/// Objects of more than one part: the operations of the upload alone.
#[tokio::test]
async fn an_object_of_several_parts() {
    for key in plain_and_encrypted() {
        let (place, older, job) =
            (Place::new(Backend::Memory), Job::new("older", 0), Job::of_size("large", 60, 9 << 20));
        backup(&place.location(), key.as_ref(), &older).await.unwrap();
        let copy = place.copy().await;
        let faults = Arc::new(Faults::recording(Plan::none()));
        backup(&copy.faulty(&faults), key.as_ref(), &job).await.unwrap();
        let of_upload = |kind: &Kind| matches!(kind, Kind::Multipart | Kind::Part | Kind::Complete);
        let log = faults.log();
        let numbers = (1..).zip(&log).filter(|(_, op)| of_upload(&op.kind)).map(|(n, _)| n);
        let mut cases = 0;
        for (n, moment) in numbers.flat_map(|n| MOMENTS.map(|moment| (n, moment))) {
            let at = format!("{n}, {moment:?}");
            let place = place.copy().await;
            let faults = Arc::new(Faults::new(Plan::crash(n, moment)));
            let result = backup(&place.faulty(&faults), key.as_ref(), &job).await;
            check_error(&result, ExitClass::Failed, &at);
            // The next run: a multipart upload is no put.
            let jobs = [&older, &job];
            assert_eq!(snapshots(&place.location(), key.as_ref(), &jobs, &at).await, [1, 0], "{at}");
            assert_eq!(backup(&place.location(), key.as_ref(), &job).await.unwrap().written, 1);
            assert_eq!(snapshots(&place.location(), key.as_ref(), &jobs, &at).await, [1, 1], "{at}");
            cases += 1;
        }
        assert!(cases >= 12, "{cases}: multipart, two parts, complete");
        println!("crash, upload of several parts, Memory, encrypted {}: {cases} cases", key.is_some());
    }
}
