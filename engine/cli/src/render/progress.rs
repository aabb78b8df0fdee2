//! Progress: a bar with rate and estimate on a terminal, a status line every 30 s elsewhere.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use restow_core::progress::{Figures, Progress};
use serde_json::json;

use super::number::{bytes, grouped, rate, seconds};
use crate::console::Console;

/// How often a bar is drawn.
const DRAW: Duration = Duration::from_millis(150);
/// How often a status line is printed where there is no terminal.
const STATUS: Duration = Duration::from_secs(30);

/// Shows the progress of the work until it ends, and every message it leaves.
pub async fn watch<F: Future>(console: &Console, progress: &Progress, work: F) -> F::Output {
    let mut work = pin!(work);
    let mut meter = Meter::new(console);
    // Notices (a key file made, a recovery key to keep) are for the user whatever the verbosity.
    let (printer, bar) = (console.clone(), meter.bar.clone());
    progress.show_with(move |message| match &bar {
        Some(bar) => bar.suspend(|| printer.warn(message)),
        None => printer.warn(message),
    });
    let mut tick = tokio::time::interval(DRAW);
    loop {
        tokio::select! {
            biased;
            ended = &mut work => {
                meter.end();
                return ended;
            }
            _ = tick.tick() => meter.show(progress),
        }
    }
}

struct Meter<'a> {
    console: &'a Console,
    bar: Option<ProgressBar>,
    began: Instant,
    last_status: Instant,
}

impl Drop for Meter<'_> {
    /// An interrupted run must not leave half a bar before its message.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl<'a> Meter<'a> {
    fn new(console: &'a Console) -> Self {
        let bar = console.is_live().then(ProgressBar::no_length);
        Self { console, bar, began: Instant::now(), last_status: Instant::now() }
    }

    fn show(&mut self, progress: &Progress) {
        let figures = progress.figures();
        let time = self.began.elapsed().as_secs_f64();
        match &self.bar {
            Some(bar) => draw(bar, &figures, time),
            None if self.last_status.elapsed() >= STATUS => {
                self.last_status = Instant::now();
                self.status(&figures, time);
            }
            None => {}
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn status(&self, figures: &Figures, time: f64) {
        if self.console.is_json() {
            self.console.record(
                "status",
                &json!({
                    "rows": figures.rows,
                    "expected_rows": figures.expected_rows,
                    "bytes": figures.bytes,
                    "stored_bytes": figures.stored,
                    "splits": figures.splits,
                    "expected_splits": figures.expected_splits,
                    "retries": figures.retries,
                    "seconds": time,
                    "eta_seconds": eta(figures, time),
                }),
            );
        } else {
            self.console.note(&line(figures, time));
        }
    }
}

fn draw(bar: &ProgressBar, figures: &Figures, time: f64) {
    let template = match figures.expected_rows {
        0 => "{spinner} {msg}",
        expected => {
            bar.set_length(expected.max(figures.rows));
            "{bar:24} {percent:>3} %  {msg}"
        }
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_position(figures.rows);
    bar.set_message(line(figures, time));
    bar.tick();
}

/// `1,200 of 4,000 rows, 3 of 8 splits, 3,333 rows/s, 8.2 MB/s, 1.1 MB stored, 2 s left`.
fn line(figures: &Figures, time: f64) -> String {
    let of = |done: u64, all: u64| match all {
        0 => grouped(done),
        all => format!("{} of {}", grouped(done), grouped(all.max(done))),
    };
    let mut parts = vec![format!("{} rows", of(figures.rows, figures.expected_rows))];
    if figures.expected_splits > 1 {
        parts.push(format!("{} splits", of(figures.splits, figures.expected_splits)));
    }
    // Rows taken over from an earlier attempt were not read in this time.
    if figures.rows > 0 && figures.taken_over == 0 {
        parts.push(rate(figures.rows, figures.bytes, time));
    }
    if figures.stored > 0 {
        parts.push(format!("{} stored", bytes(figures.stored)));
    }
    if figures.retries > 0 {
        parts.push(format!("{} retries", grouped(figures.retries)));
    }
    if let Some(left) = eta(figures, time) {
        parts.push(format!("{} left", seconds(left)));
    }
    parts.join(", ")
}

/// The time that is left at the rate so far, once there is enough to tell.
fn eta(figures: &Figures, time: f64) -> Option<f64> {
    let known = figures.expected_rows > figures.rows && figures.rows > 0 && figures.taken_over == 0 && time > 0.5;
    known.then(|| (figures.expected_rows - figures.rows) as f64 * time / figures.rows as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line() {
        let figures = Figures {
            rows: 1000,
            expected_rows: 4000,
            bytes: 2_000_000,
            splits: 1,
            expected_splits: 4,
            stored: 500_000,
            ..Figures::default()
        };
        assert_eq!(
            line(&figures, 1.0),
            "1,000 of 4,000 rows, 1 of 4 splits, 1,000 rows/s, 2.0 MB/s, 500.0 kB stored, 3.0 s left"
        );
        assert_eq!(line(&Figures::default(), 0.0), "0 rows");
    }
}
