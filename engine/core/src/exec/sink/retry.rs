//! Back-off between attempts: exponential, jittered, bounded, and never before the time that a server asked for.

use std::time::Duration;

use crate::error::{EngineError, Retry};

/// How often and how long to retry.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// First pause, before jitter; doubled at each further attempt.
    pub first_delay: Duration,
    /// No pause is longer than this, except where a server asks for more (at most ten times as much).
    pub max_delay: Duration,
}

impl RetryPolicy {
    /// How long to wait after `attempt` (from 1) failed with this error; `None` where it must not be made again.
    pub fn pause(&self, attempt: u32, error: &EngineError) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let doubled = self.first_delay.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let bounded = doubled.min(self.max_delay);
        match error.retry() {
            Retry::Never => None,
            Retry::Transient => Some(jitter(bounded)),
            Retry::After(asked) => Some(jitter(bounded).max(asked.min(self.max_delay.saturating_mul(10)))),
        }
    }
}

/// Between half of the pause and all of it, so that many clients do not come back at once.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0_u8; 1];
    let share = if getrandom::fill(&mut byte).is_ok() { f64::from(byte[0]) / 255.0 } else { 1.0 };
    pause.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { attempts: 3, first_delay: Duration::from_millis(200), max_delay: Duration::from_secs(1) };

    #[test]
    fn only_transient_errors_are_made_again_and_only_so_often() {
        assert_eq!(POLICY.pause(1, &EngineError::failed("x")), None);
        let pause = POLICY.pause(1, &EngineError::transient("x")).expect("a pause");
        assert!(pause >= POLICY.first_delay / 2 && pause <= POLICY.first_delay);
        assert!(POLICY.pause(2, &EngineError::transient("x")).is_some());
        assert_eq!(POLICY.pause(3, &EngineError::transient("x")), None);
    }

    #[test]
    fn retry_after_is_honoured_and_bounded() {
        let asked = EngineError::transient("x").with_retry(Retry::After(Duration::from_secs(5)));
        assert_eq!(POLICY.pause(1, &asked), Some(Duration::from_secs(5)));
        let absurd = EngineError::transient("x").with_retry(Retry::After(Duration::from_secs(99_999)));
        assert_eq!(POLICY.pause(1, &absurd), Some(Duration::from_secs(10)));
    }
}
