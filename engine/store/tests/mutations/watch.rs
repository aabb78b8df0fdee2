//! What must not happen while the mutations run: a panic on any thread, a read that does not end, memory without bound.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// Of one read. The dearest that is allowed, two passphrases at 256 MiB and 16 passes each, takes some seconds.
const LIMIT: Duration = Duration::from_secs(120);
/// Memory of the whole process at its highest.
const MEMORY_KIB: u64 = 512 * 1024;

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Ends the process where one read takes too long: nothing else stops a loop.
pub struct Watch(Arc<Mutex<Option<(Instant, String)>>>);

impl Watch {
    pub fn new() -> Self {
        note_panics();
        let now = Arc::new(Mutex::new(None::<(Instant, String)>));
        let seen = Arc::downgrade(&now);
        std::thread::spawn(move || {
            while let Some(now) = seen.upgrade() {
                if let Some((begin, what)) = now.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
                    && begin.elapsed() > LIMIT
                {
                    eprintln!("no end after {LIMIT:?}: {what}");
                    std::process::abort();
                }
                drop(now);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self(now)
    }

    /// Does it, and gives its time; every panic meanwhile is the error.
    pub fn over<T>(&self, what: &str, work: impl FnOnce() -> T) -> Result<(T, Duration), String> {
        let begin = Instant::now();
        *self.0.lock().unwrap() = Some((begin, what.to_owned()));
        let done = catch_unwind(AssertUnwindSafe(work));
        *self.0.lock().unwrap() = None;
        let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner));
        match done {
            Ok(value) if panics.is_empty() => Ok((value, begin.elapsed())),
            _ => Err(panics.join("; ")),
        }
    }
}

/// Also those of other threads, which a runtime may turn into errors.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            before(info);
        }));
    });
}

/// The most memory that this process ever had, in KiB; asserts that it is below the bound.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
    assert!(peak < MEMORY_KIB, "{peak} KiB of memory");
    peak
}
