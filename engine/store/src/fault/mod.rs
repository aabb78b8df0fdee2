//! A store that goes wrong as a plan says: **a testing aid**. No data of value belongs behind it.
//!
//! [`FaultStore`] is a layer over any object store. It counts operations, and on the n-th one, on those of a kind or
//! path, or at random it fails, delays, hangs, tears, lies, loses the reply, or dies: from then on everything fails,
//! as if the process were gone. [`Plan`] says what, also as text: `put:7=drop-reply,get:*=delay(50ms)`.
//!
//! Pipelines reach it by the address of a store: `fault+file:///backups`, `fault+s3://bucket/prefix`,
//! `fault+memory://name`, with the plan in `RESTOW_FAULTS`, or in the address behind `?fault=`. Without a plan
//! (`none` is
//! one) such an address is an error, and without `fault+` the variable means nothing: nobody gets here by accident.
//! Places opened by the same address and plan in one process share their counters and die together.
//!
//! A torn or half-done write leaves what a real store could be left with (a temporary file, parts of an upload), never
//! a visible half object; only a plan that says `lie` makes those.

mod error;
mod plan;
mod read;
mod state;
mod upload;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

pub use error::Injected;
use error::Visit;
pub use plan::{Fault, Kind, Lie, Moment, Plan, PlanError};
pub use state::{Faults, Operation};
use upload::FaultUpload;

use crate::location::Location;

/// A store that goes wrong as a plan says.
#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    faults: Arc<Faults>,
}

impl FaultStore {
    /// A layer over `inner` with counters of its own.
    pub fn new(inner: Arc<dyn ObjectStore>, plan: Plan) -> Self {
        Self::sharing(inner, Arc::new(Faults::new(plan)))
    }

    /// A layer over `inner` that shares a plan and its counters with others.
    pub fn sharing(inner: Arc<dyn ObjectStore>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }

    /// The plan at work: its counters and its record.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// The same place behind this layer.
    pub fn over(location: &Location, faults: &Arc<Faults>) -> Location {
        let store = Self::sharing(Arc::clone(&location.store), Arc::clone(faults));
        Location { store: Arc::new(store), ..location.clone() }
    }

    /// An operation that is done at once or not at all, and whose lie is `lied`.
    async fn whole<T>(
        &self,
        kind: Kind,
        path: &Path,
        act: impl Future<Output = Result<T>> + Send,
        lied: T,
    ) -> Result<T> {
        match self.faults.enter(kind, path.as_ref(), 0).await? {
            (_, None | Some(Fault::Lie(Lie::Overwrite | Lie::Keep | Lie::Exists))) => act.await,
            (_, Some(Fault::Lie(_))) => Ok(lied),
            (visit, Some(fault @ (Fault::DropReply | Fault::Crash(Moment::After)))) => {
                // What it would have said, nobody learns.
                let _ = act.await;
                Err(visit.error(fault))
            }
            (visit, Some(fault)) => Err(visit.error(fault)),
        }
    }

    /// Leaves half of a write where no reader sees it: a temporary file, or an upload that nobody completes.
    async fn leave_half(&self, location: &Path, payload: &PutPayload) {
        let half = cut(payload, payload.content_length() / 2);
        if let Ok(mut upload) = self.inner.put_multipart_opts(location, PutMultipartOptions::default()).await {
            let _ = upload.put_part(half).await;
            self.faults.leave(upload);
        }
    }

    async fn lying_put(
        &self,
        lie: Lie,
        visit: &Visit,
        location: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        let nothing = Ok(PutResult { e_tag: None, version: None });
        let creates = opts.mode == PutMode::Create;
        match lie {
            Lie::Plain => nothing,
            Lie::Half => {
                let half = cut(&payload, payload.content_length() / 2);
                self.inner.put_opts(location, half, opts).await
            }
            Lie::Corrupt => self.inner.put_opts(location, flip(&payload, self.faults.random()), opts).await,
            Lie::Overwrite => {
                if creates {
                    opts.mode = PutMode::Overwrite;
                }
                self.inner.put_opts(location, payload, opts).await
            }
            Lie::Keep => match self.inner.put_opts(location, payload, opts).await {
                Err(object_store::Error::AlreadyExists { .. }) if creates => nothing,
                other => other,
            },
            Lie::Exists if creates => Err(visit.exists()),
            Lie::Exists => self.inner.put_opts(location, payload, opts).await,
        }
    }
}

/// The first bytes of a payload.
fn cut(payload: &PutPayload, mut length: usize) -> PutPayload {
    let mut pieces = Vec::new();
    for piece in payload {
        let taken = piece.slice(..length.min(piece.len()));
        length -= taken.len();
        pieces.push(taken);
    }
    pieces.into_iter().collect()
}

/// A payload with one flipped bit; an empty one stays empty.
fn flip(payload: &PutPayload, random: u64) -> PutPayload {
    let mut bytes: Vec<u8> = payload.iter().flatten().copied().collect();
    flip_in(&mut bytes, random);
    bytes.into()
}

/// Flips one bit.
fn flip_in(bytes: &mut [u8], random: u64) {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX).max(1);
    let at = usize::try_from((random >> 3) % length).unwrap_or(0);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (random % 8);
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let bytes = u64::try_from(payload.content_length()).unwrap_or(u64::MAX);
        match self.faults.enter(Kind::Put, location.as_ref(), bytes).await? {
            (_, None) => self.inner.put_opts(location, payload, opts).await,
            (visit, Some(Fault::Lie(lie))) => self.lying_put(lie, &visit, location, payload, opts).await,
            (visit, Some(fault @ (Fault::DropReply | Fault::Crash(Moment::After)))) => {
                let _ = self.inner.put_opts(location, payload, opts).await;
                Err(visit.error(fault))
            }
            (visit, Some(fault)) => {
                self.leave_half(location, &payload).await;
                Err(visit.error(fault))
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (visit, fault) = self.faults.enter(Kind::Multipart, location.as_ref(), 0).await?;
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        match fault {
            None | Some(Fault::Lie(_)) => {
                Ok(Box::new(FaultUpload::new(upload, Arc::clone(&self.faults), location.to_string())))
            }
            Some(fault) => {
                self.faults.leave(upload);
                Err(visit.error(fault))
            }
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let kind = if options.head { Kind::Head } else { Kind::Get };
        let (visit, fault) = self.faults.enter(kind, location.as_ref(), 0).await?;
        let found = self.inner.get_opts(location, options).await;
        self.read(visit, fault, kind, found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (visit, fault) = self.faults.enter(Kind::Get, location.as_ref(), 0).await?;
        let found = self.inner.get_ranges(location, ranges).await;
        self.read_ranges(&visit, fault, found)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .map(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    store.whole(Kind::Delete, &location, store.inner.delete(&location), ()).await?;
                    Ok(location)
                }
            })
            .buffered(10)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list(prefix);
        self.listing(prefix, listed)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list_with_offset(prefix, offset);
        self.listing(prefix, listed)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.map(Path::as_ref).unwrap_or_default();
        let (visit, fault) = self.faults.enter(Kind::List, path, 0).await?;
        let listed = self.inner.list_with_delimiter(prefix).await;
        read::list_result(&visit, fault, listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.whole(Kind::Copy, to, self.inner.copy_opts(from, to, options), ()).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.whole(Kind::Rename, to, self.inner.rename_opts(from, to, options), ()).await
    }
}

/// Plans at work by address and text.
type ByAddress = Mutex<HashMap<(String, String), Arc<Faults>>>;

/// The plans of places that were opened by address, so that places of one address share them.
static BY_ADDRESS: LazyLock<ByAddress> = LazyLock::new(Mutex::default);

/// The plan at work of an address without `fault+`, as text.
pub(crate) fn by_address(address: &str, plan: &str) -> Result<Arc<Faults>, PlanError> {
    let parsed = plan.parse()?;
    let mut known = BY_ADDRESS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (address.to_owned(), plan.to_owned());
    Ok(Arc::clone(known.entry(key).or_insert_with(|| Arc::new(Faults::recording(parsed)))))
}
