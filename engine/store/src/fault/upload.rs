//! Multipart uploads that go wrong.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::{Fault, Faults, Kind, Lie, Moment, cut, flip};

/// An upload whose parts, completion and abort are operations of their own.
pub(super) struct FaultUpload {
    /// Taken where it is left behind.
    inner: Option<Box<dyn MultipartUpload>>,
    faults: Arc<Faults>,
    path: String,
    /// Whether a part failed: a store knows its parts, so such an upload cannot be completed.
    torn: Arc<AtomicBool>,
}

impl FaultUpload {
    pub(super) fn new(inner: Box<dyn MultipartUpload>, faults: Arc<Faults>, path: String) -> Self {
        Self { inner: Some(inner), faults, path, torn: Arc::default() }
    }

    fn leave(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.faults.leave(inner);
        }
    }
}

fn gone() -> Error {
    Error::Generic { store: "fault", source: "the upload is over, or a part of it failed".into() }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let bytes = data.content_length();
        let entered = self.faults.decide(Kind::Part, &self.path, u64::try_from(bytes).unwrap_or(u64::MAX));
        let fault = entered.fault();
        // Parts take their place in the object in the order of these calls, so the inner call is made now.
        let upload = match (&mut self.inner, fault) {
            (None, _) => return futures::future::ready(Err(gone())).boxed(),
            (Some(inner), Some(Fault::Tear | Fault::Crash(Moment::Middle) | Fault::Lie(Lie::Half))) => {
                Some(inner.put_part(cut(&data, bytes / 2)))
            }
            (Some(inner), Some(Fault::Lie(Lie::Corrupt))) => Some(inner.put_part(flip(&data, self.faults.random()))),
            (_, Some(Fault::Lie(Lie::Plain))) => None,
            (Some(inner), None | Some(Fault::Lie(_) | Fault::DropReply | Fault::Crash(Moment::After))) => {
                Some(inner.put_part(data))
            }
            (Some(_), Some(_)) => None,
        };
        let (faults, torn) = (Arc::clone(&self.faults), Arc::clone(&self.torn));
        async move {
            let begun = faults.begin(entered).await.inspect_err(|_| torn.store(true, Ordering::Release))?;
            let sent = match upload {
                Some(upload) => upload.await,
                None => Ok(()),
            };
            match begun {
                (_, None | Some(Fault::Lie(_))) => sent.inspect_err(|_| torn.store(true, Ordering::Release)),
                (visit, Some(fault)) => {
                    torn.store(true, Ordering::Release);
                    Err(visit.error(fault))
                }
            }
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (visit, fault) = self.faults.enter(Kind::Complete, &self.path, 0).await?;
        if self.torn.load(Ordering::Acquire) {
            return Err(gone());
        }
        let inner = self.inner.as_mut().ok_or_else(gone)?;
        match fault {
            None | Some(Fault::Lie(Lie::Overwrite | Lie::Keep | Lie::Exists)) => inner.complete().await,
            Some(Fault::Lie(_)) => {
                self.leave();
                Ok(PutResult { e_tag: None, version: None })
            }
            Some(fault @ (Fault::DropReply | Fault::Crash(Moment::After))) => {
                let _ = inner.complete().await;
                Err(visit.error(fault))
            }
            Some(fault) => Err(visit.error(fault)),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        let (visit, fault) = self.faults.enter(Kind::Abort, &self.path, 0).await?;
        let inner = self.inner.as_mut().ok_or_else(gone)?;
        match fault {
            None | Some(Fault::Lie(Lie::Overwrite | Lie::Keep | Lie::Exists)) => inner.abort().await,
            Some(Fault::Lie(_)) => {
                self.leave();
                Ok(())
            }
            Some(fault @ (Fault::DropReply | Fault::Crash(Moment::After))) => {
                let _ = inner.abort().await;
                Err(visit.error(fault))
            }
            Some(fault) => Err(visit.error(fault)),
        }
    }
}

impl Drop for FaultUpload {
    fn drop(&mut self) {
        // A dead process tidies nothing up.
        if self.faults.crashed() {
            self.leave();
        }
    }
}

impl fmt::Debug for FaultUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultUpload").field("path", &self.path).finish_non_exhaustive()
    }
}
