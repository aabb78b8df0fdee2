//! The right to change a target, asked for at the last moment before a request is whole. A process may stand still (a suspended
//! laptop, a paused container) while another one takes its run over; what it then wakes up with must not be sent any more.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use restow_store::run_state::{Claim, RunStateStore};

use crate::error::{EngineError, Result};

/// How long a claim is taken for good once it was looked at.
const CHECKED_WITHIN: Duration = Duration::from_millis(500);
/// How often a slow answer is asked for again.
const TRIES: usize = 10;

/// A process's claim to a run, and when it was last found to be the highest. Clones share that.
#[derive(Clone)]
pub struct Fence {
    inner: Arc<Inner>,
}

struct Inner {
    state: RunStateStore,
    claim: Option<Claim>,
    checked: Mutex<Option<Instant>>,
}

impl Fence {
    /// Of a claim in a run's state; without a claim there is nobody who could take the run over, and every check succeeds.
    pub(super) fn new(state: RunStateStore, claim: Option<Claim>) -> Self {
        Self { inner: Arc::new(Inner { state, claim, checked: Mutex::default() }) }
    }

    /// Whether the claim was looked at within the last half second. A process that stood still has not: time goes on without it.
    pub fn is_fresh(&self) -> bool {
        let checked = *self.inner.checked.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.claim.is_none() || checked.is_some_and(|checked| checked.elapsed() < CHECKED_WITHIN)
    }

    /// Makes sure that it [is fresh](Self::is_fresh): asks where it is not. An answer that took longer than it is good for is asked for
    /// again, since the process may have stood still before it read it.
    ///
    /// # Errors
    /// Another process has taken the run over (exit code 11), or the state cannot be read, or not in time.
    pub async fn check(&self) -> Result<()> {
        for _ in 0..TRIES {
            if self.is_fresh() {
                return Ok(());
            }
            self.ask().await?;
        }
        if self.is_fresh() {
            return Ok(());
        }
        Err(EngineError::transient(format!(
            "the run state takes longer than {} ms, {TRIES} times in a row, to tell whether this process may go on writing",
            CHECKED_WITHIN.as_millis()
        ))
        .with_hint("give `state` a store that is nearer; nothing was written by this request"))
    }

    /// Asks in any case.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn ask(&self) -> Result<()> {
        let Some(claim) = &self.inner.claim else { return Ok(()) };
        // Before the question, not after the answer.
        let asked = Instant::now();
        self.inner.state.check_claim(claim).await?;
        *self.inner.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        Ok(())
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("claim", &self.inner.claim).finish_non_exhaustive()
    }
}
