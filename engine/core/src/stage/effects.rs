//! Side effects of reading on a server: recorded before they happen, undone by this run or by the next.

use std::sync::{Arc, Mutex, PoisonError};

use restow_store::run_state::{RunStateStore, WorkLock};
use serde_json::Value;

use crate::error::Result;
use crate::progress::Progress;

/// The side effects of one run.
#[derive(Debug)]
pub struct Effects {
    state: RunStateStore,
    progress: Arc<Progress>,
    /// Those of this run, with the locks by which others know that it lives.
    own: Mutex<Vec<(String, Value, Option<WorkLock>)>>,
}

impl Effects {
    /// Side effects that are recorded in this state, and counted.
    pub fn new(state: RunStateStore, progress: Arc<Progress>) -> Self {
        Self { state, progress, own: Mutex::default() }
    }

    /// Records an effect. To be called before it happens.
    ///
    /// # Errors
    /// The state cannot be written: the effect must not happen then.
    pub async fn record(&self, effect: Value) -> Result<()> {
        let name = self.state.record_effect(&effect).await?;
        self.progress.effect();
        let lock = self.state.lock(&format!("effect-{name}"))?;
        self.own.lock().unwrap_or_else(PoisonError::into_inner).push((name, effect, lock));
        Ok(())
    }

    /// The effects of runs that are dead. Where the state is on this machine, a run that lives holds a lock; elsewhere nobody can
    /// tell, and every run but this one counts as dead.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn of_the_dead(&self) -> Result<Vec<(String, Value)>> {
        let own: Vec<String> =
            self.own.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|own| own.0.clone()).collect();
        let recorded = self.state.effects().await?;
        let dead = |name: &str| !own.contains(&name.to_owned()) && self.state.lock(&format!("effect-{name}")).is_ok();
        Ok(recorded.into_iter().filter(|(name, _)| dead(name)).collect())
    }

    /// The effects of this run.
    pub fn own(&self) -> Vec<(String, Value)> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.iter().map(|(name, effect, _)| (name.clone(), effect.clone())).collect()
    }

    /// Records that an effect is undone.
    ///
    /// # Errors
    /// The state cannot be written.
    pub async fn undone(&self, name: &str) -> Result<()> {
        self.state.end_effect(name).await?;
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let before = own.len();
        own.retain(|own| own.0 != name);
        if own.len() < before {
            self.progress.effect_undone();
        }
        Ok(())
    }
}
