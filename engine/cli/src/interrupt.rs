//! Ctrl-C and SIGTERM: the first drops the work and leaves everything resumable, the second ends the process at once.

use std::future::Future;

use tokio::sync::oneshot;

use crate::error::CliError;
use crate::exit;

/// Runs the work until it ends or a signal comes; `safe` and `hint` say what is left then.
#[expect(clippy::exit, reason = "the second signal: at once, whatever still runs")]
pub async fn interruptible<T>(
    work: impl Future<Output = Result<T, CliError>>,
    safe: &str,
    hint: &str,
) -> Result<T, CliError> {
    let (tell, told) = oneshot::channel();
    // On a worker thread: the second signal must be heard while the work is being dropped.
    let listener = tokio::spawn(async move {
        if !signal().await {
            return std::future::pending().await;
        }
        let _ = tell.send(());
        signal().await;
        std::process::exit(i32::from(exit::INTERRUPTED))
    });
    tokio::select! {
        biased;
        ended = work => {
            listener.abort();
            ended
        }
        Ok(()) = told => Err(CliError::Interrupted { safe: safe.to_owned(), hint: hint.to_owned() }),
    }
}

/// Waits for a signal; `false` where the system gives none, and the default action (to end at once) stays.
#[cfg(unix)]
async fn signal() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return false;
    };
    tokio::select! {
        got = interrupt.recv() => got.is_some(),
        got = terminate.recv() => got.is_some(),
    }
}

#[cfg(not(unix))]
async fn signal() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}
