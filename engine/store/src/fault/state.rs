//! What a plan has seen and decided: counters, the record of operations, and whether the process is dead.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::{Error, MultipartUpload, Result};

use super::error::Visit;
use super::plan::When;
use super::{Fault, Kind, Plan};

/// An operation that the layer saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What it was.
    pub kind: Kind,
    /// What it worked on; the prefix of a listing; the target of a copy or rename.
    pub path: String,
    /// Bytes that it was to write.
    pub bytes: u64,
    /// What went wrong with it, but for delays.
    pub fault: Option<Fault>,
}

/// A plan at work. The layers that share it share its counters, and die together.
pub struct Faults {
    plan: Plan,
    recording: bool,
    dead: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    operations: u64,
    by_kind: BTreeMap<Kind, u64>,
    fired: u64,
    /// How many operations each rule concerned.
    concerned: Vec<u64>,
    random: u64,
    log: Vec<Operation>,
    /// Uploads of a process that died: dropping them would tidy up, which the dead do not do.
    left: Vec<Box<dyn MultipartUpload>>,
}

impl Faults {
    /// A plan that counts, and goes on for ever.
    pub fn new(plan: Plan) -> Self {
        let state = State { concerned: vec![0; plan.rules.len()], random: plan.seed, ..State::default() };
        Self { plan, recording: false, dead: AtomicBool::new(false), state: Mutex::new(state) }
    }

    /// The same, which also remembers every operation.
    pub fn recording(plan: Plan) -> Self {
        Self { recording: true, ..Self::new(plan) }
    }

    /// How many operations it saw. A dead process makes none.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// How many operations of one kind it saw.
    pub fn count(&self, kind: Kind) -> u64 {
        self.lock().by_kind.get(&kind).copied().unwrap_or(0)
    }

    /// How many faults happened, delays too: a test that asked for one should have got it.
    pub fn fired(&self) -> u64 {
        self.lock().fired
    }

    /// The operations that it saw, where it records.
    pub fn log(&self) -> Vec<Operation> {
        self.lock().log.clone()
    }

    /// Whether the process is dead.
    pub fn crashed(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    pub(super) fn can_crash(&self) -> bool {
        self.plan.can_crash()
    }

    /// Keeps an upload from tidying up, as far as the process is dead or the connection broke.
    pub(super) fn leave(&self, upload: Box<dyn MultipartUpload>) {
        self.lock().left.push(upload);
    }

    /// A number that depends on the seed and on what was decided before.
    pub(super) fn random(&self) -> u64 {
        next(&mut self.lock().random)
    }

    /// Counts an operation and decides what happens to it. Delays happen here. What is an error before anything was
    /// done
    /// is returned as such; the other faults are the operation's own business.
    pub(super) async fn enter(&self, kind: Kind, path: &str, bytes: u64) -> Result<(Visit, Option<Fault>)> {
        let entered = self.decide(kind, path, bytes);
        self.begin(entered).await
    }

    /// The second half of [`Self::enter`], for operations that are counted before they are awaited.
    pub(super) async fn begin(&self, entered: Entered) -> Result<(Visit, Option<Fault>)> {
        let Entered { visit, delay, fault } = entered;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match fault {
            Some(Fault::Hang) => futures::future::pending().await,
            Some(
                f @ (Fault::Fail | Fault::Transient(_) | Fault::NotFound | Fault::Denied | Fault::NoSpace)
                | f @ Fault::Crash(super::Moment::Before),
            ) => Err(visit.error(f)),
            other => Ok((visit, other)),
        }
    }

    /// Counts an operation and decides.
    pub(super) fn decide(&self, kind: Kind, path: &str, bytes: u64) -> Entered {
        let mut state = self.lock();
        let state = &mut *state;
        if self.crashed() {
            let visit = Visit { kind, path: path.to_owned(), index: state.operations };
            return Entered { visit, delay: Duration::ZERO, fault: Some(Fault::Crash(super::Moment::Before)) };
        }
        state.operations += 1;
        *state.by_kind.entry(kind).or_default() += 1;
        let (mut delay, mut fault) = (Duration::ZERO, None);
        for (rule, concerned) in self.plan.rules.iter().zip(&mut state.concerned) {
            if !rule.concerns(kind, path) {
                continue;
            }
            *concerned += 1;
            let hit = match rule.when {
                When::Always => true,
                When::Between(first, last) => (first..=last).contains(concerned),
                When::PerMillion(chance) => next(&mut state.random) % 1_000_000 < chance,
            };
            match rule.fault {
                Fault::Delay(time) if hit => {
                    state.fired += 1;
                    delay = delay.saturating_add(time);
                }
                other if hit && fault.is_none() => {
                    state.fired += 1;
                    fault = Some(other);
                }
                _ => {}
            }
        }
        // What runs beside this operation dies with it.
        if matches!(fault, Some(Fault::Crash(_))) {
            self.dead.store(true, Ordering::Release);
        }
        if self.recording {
            state.log.push(Operation { kind, path: path.to_owned(), bytes, fault });
        }
        Entered { visit: Visit { kind, path: path.to_owned(), index: state.operations }, delay, fault }
    }

    /// The error of a dead process in the middle of something.
    pub(super) fn dead(&self, visit: &Visit) -> Option<Error> {
        self.crashed().then(|| visit.error(Fault::Crash(super::Moment::Middle)))
    }

    /// A panic elsewhere leaves counters that are right or one short.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation that was counted and decided, but not begun.
pub(super) struct Entered {
    pub(super) visit: Visit,
    delay: Duration,
    fault: Option<Fault>,
}

impl Entered {
    /// What is going to happen.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }
}

/// SplitMix64: small, and good enough to choose operations and bits.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("plan", &self.plan).field("crashed", &self.crashed()).finish_non_exhaustive()
    }
}
