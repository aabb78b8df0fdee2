//! The threads that encode: as many as there are processors.
//!
//! The runtime's own pool for blocking work has a thread for every file that is waited for. Encoding there would let more threads compute than
//! there are processors; and since glibc keeps what is freed for each thread by itself, every one of them would hold the buffers of a
//! row group.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use restow_core::{EngineError, Result};

type Job = Box<dyn FnOnce() + Send>;

/// Threads at most, however many processors there are.
const MAX_THREADS: usize = 64;

/// Runs work that takes processor time away from the threads that drive the runtime.
///
/// # Errors
/// Those of the work; it panicked; no thread can be started.
pub(super) async fn compute<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let ended = |what: &str| EngineError::failed(format!("a codec task ended unexpectedly: {what}"));
    let (done, result) = tokio::sync::oneshot::channel();
    let job: Job = Box::new(move || {
        // Whoever asked may be gone: then nobody wants the result.
        let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
    });
    jobs()?.send(job).map_err(|_| ended("its threads are gone"))?;
    match result.await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(ended(&text_of(panic.as_ref()))),
        Err(_) => Err(ended("it was dropped")),
    }
}

/// Runs work that reads, and so mostly waits, on the runtime's pool for that.
///
/// # Errors
/// Those of the work; it panicked.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(EngineError::failed(format!("a codec task ended unexpectedly: {error}"))),
    }
}

fn jobs() -> Result<Sender<Job>> {
    static JOBS: OnceLock<std::io::Result<Sender<Job>>> = OnceLock::new();
    match JOBS.get_or_init(start) {
        Ok(jobs) => Ok(jobs.clone()),
        Err(error) => Err(EngineError::failed(format!("a thread for encoding cannot be started: {error}"))),
    }
}

fn start() -> std::io::Result<Sender<Job>> {
    let (jobs, next) = channel::<Job>();
    let next = Arc::new(Mutex::new(next));
    let threads = thread::available_parallelism().map_or(2, usize::from).clamp(1, MAX_THREADS);
    for number in 0..threads {
        let next = Arc::clone(&next);
        let started = thread::Builder::new().name("restow-codec".to_owned()).spawn(move || serve(&next));
        match started {
            Ok(_) => {}
            // Fewer threads are slower, and enough.
            Err(_) if number > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(jobs)
}

fn serve(next: &Mutex<Receiver<Job>>) {
    loop {
        let job = next.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_errors_and_panics_come_back() {
        assert_eq!(compute(|| Ok(1)).await.unwrap(), 1);
        let failed = compute(|| Err::<(), _>(EngineError::failed("no"))).await.unwrap_err();
        assert_eq!(failed.to_string(), "no");
        let panicked = compute(|| if true { panic!("a page of {} bytes", 3) } else { Ok(()) }).await.unwrap_err();
        assert!(panicked.to_string().contains("a page of 3 bytes"), "{panicked}");
        // The thread that it was on still serves.
        let all = futures::future::join_all((0..100).map(|number| compute(move || Ok(number)))).await;
        assert_eq!(all.into_iter().map(Result::unwrap).sum::<i32>(), 4950);
    }
}
