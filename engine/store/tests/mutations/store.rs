//! A store in memory that gives each object as it likes: with another size, in small pieces, too short, without end.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use restow_store::location::Location;

/// What [`Lie::Everywhere`] gives, outside of the repository.
const EVERYWHERE: &str = "elsewhere";
/// Pieces of a stream without end that nobody has a reason to take.
const FAR: usize = 1_000;
static FILLER: [u8; 65_536] = [b' '; 65_536];

/// What the store says of one object that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It has so many bytes.
    Size(u64),
    /// Behind its last byte come blanks for ever.
    Endless,
    /// So many bytes are missing at its end.
    Short(usize),
    /// A range begins so many bytes later.
    Shifted(usize),
    /// Below the path every name has an object of 1 MiB.
    Everywhere,
}

/// The store.
#[derive(Debug, Default)]
pub struct Hostile {
    inner: InMemory,
    lies: Mutex<BTreeMap<String, Lie>>,
}

impl Hostile {
    /// The place of a repository on a new store.
    pub async fn place() -> (Arc<Self>, Location) {
        let store = Arc::new(Self::default());
        store.inner.put(&Path::from(EVERYWHERE), vec![b' '; 1 << 20].into()).await.unwrap();
        let location = Location::new(Arc::clone(&store) as _, Path::from("some/where"), "memory:mutations");
        (store, location)
    }

    /// Writes or, without bytes, removes an object below all layers.
    pub async fn set(&self, location: &Location, relative: &str, bytes: Option<&Bytes>) {
        let path = location.path(relative).unwrap();
        match bytes {
            Some(bytes) => self.inner.put(&path, bytes.clone().into()).await.map(|_| ()).unwrap(),
            None => self.inner.delete(&path).await.unwrap(),
        }
    }

    /// Says from now on of the object what is not so; without a lie it is honest again.
    pub fn lie(&self, location: &Location, relative: &str, lie: Option<Lie>) {
        let path = location.path(relative).unwrap().to_string();
        let mut lies = self.lies.lock().unwrap();
        match lie {
            Some(lie) => lies.insert(path, lie),
            None => lies.remove(&path),
        };
    }

    fn of(&self, path: &Path) -> Option<Lie> {
        let lies = self.lies.lock().unwrap();
        let folder = path.as_ref().rsplit_once('/').and_then(|(folder, _)| lies.get(folder));
        lies.get(path.as_ref()).or(folder.filter(|lie| **lie == Lie::Everywhere)).copied()
    }

    fn meta(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(Lie::Size(size)) = self.of(&meta.location) {
            meta.size = size;
        }
        meta
    }

    fn listed(&self, listing: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        let lies = self.lies.lock().unwrap().clone();
        let told = move |mut meta: ObjectMeta| {
            if let Some(Lie::Size(size)) = lies.get(meta.location.as_ref()) {
                meta.size = *size;
            }
            meta
        };
        listing.map_ok(told).boxed()
    }
}

fn filler() -> Bytes {
    Bytes::from_static(&FILLER)
}

/// Ends whoever would read on for ever.
fn far((taken, piece): (usize, Result<Bytes>)) -> Result<Bytes> {
    assert!(taken < FAR, "reads on behind the end of an object");
    piece
}

/// Pieces that are small and of different lengths, one of them empty.
fn pieces(mut bytes: Bytes) -> Vec<Result<Bytes>> {
    let mut all = vec![Ok(bytes.split_to(bytes.len().min(7))), Ok(Bytes::new())];
    while !bytes.is_empty() {
        all.push(Ok(bytes.split_to(bytes.len().min(1000))));
    }
    all
}

impl fmt::Display for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hostile")
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Hostile {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let lie = self.of(location);
        let there = match lie {
            // In the place of what is not there.
            Some(Lie::Everywhere) => Path::from(EVERYWHERE),
            _ => location.clone(),
        };
        let found = self.inner.get_opts(&there, options.clone()).await?;
        let Some(lie) = lie else { return Ok(found) };
        let (mut meta, mut range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
        let mut bytes = if options.head { Bytes::new() } else { found.bytes().await? };
        let mut end = None;
        match lie {
            Lie::Size(size) => {
                meta.size = size;
                // The answer fits the lie: what was asked for is what is claimed to come.
                range = match &options.range {
                    Some(asked) => asked.as_range(size).unwrap_or(range),
                    None => 0..size,
                };
            }
            Lie::Endless if !options.head => end = Some(stream::repeat_with(|| Ok(filler())).enumerate().map(far)),
            Lie::Endless | Lie::Everywhere => {}
            Lie::Short(by) => bytes.truncate(bytes.len().saturating_sub(by)),
            Lie::Shifted(by) => drop(bytes.split_to(bytes.len().min(by))),
        }
        let told = stream::iter(pieces(bytes));
        let payload = GetResultPayload::Stream(match end {
            Some(end) => told.chain(end).boxed(),
            None => told.boxed(),
        });
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut found = self.inner.list_with_delimiter(prefix).await?;
        found.objects = found.objects.into_iter().map(|meta| self.meta(meta)).collect();
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
