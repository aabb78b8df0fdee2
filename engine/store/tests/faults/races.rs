//! Many processes on one repository.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use restow_store::fault::{Faults, Plan};
use restow_store::repository::{ExitClass, Repository, random_hex};
use restow_store::run_state::Intent;

use crate::backup::{Job, backup, begin, open_or_create, run, snapshots};
use crate::place::{BACKENDS, Place, plain_and_encrypted};

/// Two runs that commit one snapshot id: a process that was stopped and its successor share the nonce, so both
/// succeed with
/// one snapshot; with different nonces one wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_with_one_snapshot_id() {
    let (mut cases, mut both) = (0, 0);
    for backend in BACKENDS {
        for key in plain_and_encrypted() {
            for round in 0..20 {
                let (place, job) = (Place::new(backend), Job::new("first", 0));
                let repository = open_or_create(&place.location(), key.as_ref()).await.unwrap();
                let one = begin(&repository, &job).await;
                let same = round % 2 == 0;
                let two = if same {
                    one.clone()
                } else {
                    let nonce = random_hex().unwrap();
                    let other = Intent { run_id: random_hex().unwrap(), nonce, ..one.clone() };
                    repository.run_state().begin(&other).await.unwrap();
                    other
                };
                let tasks = [one, two].map(|intent| {
                    // Delays that differ from round to round shuffle the steps.
                    let plan = format!("*:30%=delay(1ms),seed={}", round * 2 + i32::from(intent.run_id.as_str() > "8"));
                    let location = place.faulty(&Arc::new(Faults::new(plan.parse::<Plan>().unwrap())));
                    let (key, job) = (key.clone(), job.clone());
                    tokio::spawn(async move {
                        let repository = Repository::open(location, key.as_ref()).await.unwrap();
                        run(&repository, &intent, &job).await
                    })
                });
                let mut won = 0;
                for task in tasks {
                    match task.await.unwrap() {
                        Ok(_) => won += 1,
                        Err(e) => assert_eq!(e.exit_class(), ExitClass::LostRace, "{e}"),
                    }
                }
                assert_eq!(won, if same { 2 } else { 1 }, "round {round}");
                assert_eq!(snapshots(&place.location(), key.as_ref(), &[&job], "race").await, [1]);
                both += u64::from(same);
                cases += 1;
            }
        }
    }
    println!("two writers with one snapshot id: {cases} races, {both} of them of one run");
}

/// Twenty writers, a reader all the time: what is listed is whole at any moment, and at the end all is there, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_writers_and_a_reader() {
    const NAMES: [&str; 20] =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    for backend in BACKENDS {
        for key in plain_and_encrypted() {
            let place = Place::new(backend);
            open_or_create(&place.location(), key.as_ref()).await.unwrap();
            let jobs: Vec<Job> = (0..).zip(NAMES).map(|(i, name)| Job::new(name, i)).collect();
            let (over, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
            let reader = {
                let (location, key, jobs) = (place.location(), key.clone(), jobs.clone());
                let (over, reads) = (Arc::clone(&over), Arc::clone(&reads));
                tokio::spawn(async move {
                    let jobs: Vec<&Job> = jobs.iter().collect();
                    let mut before = 0;
                    while !over.load(Ordering::Relaxed) {
                        let found = snapshots(&location, key.as_ref(), &jobs, "reader").await;
                        assert!(found.iter().all(|count| *count <= 1), "{found:?}");
                        let now: usize = found.iter().sum();
                        assert!(now >= before, "a snapshot vanished");
                        before = now;
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                })
            };
            let writers: Vec<_> = jobs
                .iter()
                .map(|job| {
                    let (location, key, job) = (place.location(), key.clone(), job.clone());
                    tokio::spawn(async move { backup(&location, key.as_ref(), &job).await.unwrap() })
                })
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
            over.store(true, Ordering::Relaxed);
            reader.await.unwrap();
            let all: Vec<&Job> = jobs.iter().collect();
            assert_eq!(snapshots(&place.location(), key.as_ref(), &all, "end").await, [1; 20]);
            let reads = reads.load(Ordering::Relaxed);
            println!("20 writers, {backend:?}, encrypted {}: {reads} reads of everything meanwhile", key.is_some());
        }
    }
}

/// Several processes create one repository at the same moment: one repository, and each of them works or says why not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_creators() {
    let mut refused = 0;
    for backend in BACKENDS {
        for key in plain_and_encrypted() {
            for _ in 0..10 {
                let (place, job) = (Place::new(backend), Job::new("first", 0));
                let tasks: Vec<_> = (0..4)
                    .map(|_| {
                        let (location, key) = (place.location(), key.clone());
                        tokio::spawn(async move { open_or_create(&location, key.as_ref()).await.map(|r| r.id()) })
                    })
                    .collect();
                let mut ids = Vec::new();
                for task in tasks {
                    match task.await.unwrap() {
                        Ok(id) => ids.push(id),
                        Err(e) => {
                            assert!(matches!(e.exit_class(), ExitClass::LostRace | ExitClass::Refused), "{e}");
                            refused += 1;
                        }
                    }
                }
                let there = Repository::open(place.location(), key.as_ref()).await.unwrap();
                assert!(!ids.is_empty() && ids.iter().all(|id| *id == there.id()));
                backup(&place.location(), key.as_ref(), &job).await.unwrap();
                assert_eq!(snapshots(&place.location(), key.as_ref(), &[&job], "creators").await, [1]);
            }
        }
    }
    println!("four creators of one repository: 40 races, {refused} of 160 refused");
}
