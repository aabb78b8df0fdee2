//! Progress in bytes: a spinner with a rate on a terminal, a status line every 30 s elsewhere.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::number::bytes;
use crate::console::Console;

/// How often a spinner is drawn.
const DRAW: Duration = Duration::from_millis(150);
/// How often a status line is printed where there is no terminal.
const STATUS: Duration = Duration::from_secs(30);

/// What is measured.
pub struct Meter<'a> {
    /// What is going on, such as `verifying X`.
    pub what: String,
    /// Bytes so far.
    pub done: &'a AtomicU64,
}

/// Shows the bytes of the work until it ends.
pub async fn watch<F: Future>(console: &Console, meter: &Meter<'_>, work: F) -> F::Output {
    let mut work = pin!(work);
    let spinner = Spinner::new(console);
    let (began, mut last) = (Instant::now(), Instant::now());
    let mut tick = tokio::time::interval(DRAW);
    loop {
        tokio::select! {
            biased;
            ended = &mut work => return ended,
            _ = tick.tick() => {}
        }
        let (done, time) = (meter.done.load(Relaxed), began.elapsed().as_secs_f64());
        if let Some(bar) = &spinner.0 {
            bar.set_message(line(&meter.what, done, time));
            bar.tick();
        } else if last.elapsed() >= STATUS {
            last = Instant::now();
            if console.is_json() {
                console.record("status", &json!({ "what": meter.what, "bytes": done, "seconds": time }));
            } else {
                console.note(&line(&meter.what, done, time));
            }
        }
    }
}

/// `verifying X: 8.2 MB, 4.1 MB/s`.
fn line(what: &str, done: u64, time: f64) -> String {
    let rate = if time > 0.0 { done as f64 / time } else { 0.0 };
    format!("{what}: {}, {}/s", bytes(done), bytes(rate as u64))
}

/// Gone before anything else is printed.
struct Spinner(Option<ProgressBar>);

impl Spinner {
    fn new(console: &Console) -> Self {
        let bar = console.is_live().then(|| {
            let style =
                ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::no_length().with_style(style)
        });
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line() {
        assert_eq!(line("verifying x", 2_000_000, 2.0), "verifying x: 2.0 MB, 1.0 MB/s");
        assert_eq!(line("verifying x", 0, 0.0), "verifying x: 0 B, 0 B/s");
    }
}
