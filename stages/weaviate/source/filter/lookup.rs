//! Asks the inverted index for the ids of a search. The cursor over objects takes no filter, so the ids are found first and the
//! objects read by them, from where they are stored.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use tokio::sync::OnceCell;

use super::super::super::client::proto::{Filters, MetadataRequest, PropertiesRequest, SearchRequest};
use super::super::super::client::{Client, Fault};
use super::super::super::decode::id_of;
use super::super::ranges::number;
use super::Ids;

/// The most objects that a search may find. A server gives 10,000 at once (`QUERY_MAXIMUM_RESULTS`); the rest is for those that are
/// written in between.
pub const MOST: u64 = 9_000;
/// What a server gives at once.
const AT_ONCE: u32 = 10_000;
/// A search is used where it finds at most one object in so many.
const SHARE: u64 = 4;

type Key = (String, String, Vec<u8>);
type Answer = Arc<OnceCell<Option<Ids>>>;

/// Searches of a run: each is made once for all splits of a tenant.
#[derive(Debug, Default)]
pub struct Lookups(Mutex<HashMap<Key, Answer>>);

impl Lookups {
    /// The ids that a search finds; none where everything is to be read.
    ///
    /// # Errors
    /// The server stays away, or the key has no right.
    pub async fn find(
        &self,
        client: &Client,
        class: &str,
        tenant: Option<&str>,
        search: &Filters,
    ) -> Result<Option<Ids>, Fault> {
        let key = (class.to_owned(), tenant.unwrap_or_default().to_owned(), search.encode_to_vec());
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(cells.entry(key).or_default())
        };
        let found = cell.get_or_try_init(|| async {
            match look(client, class, tenant, search).await {
                // Stop words, a filter that this version does not know, a lower limit: then everything is read.
                Err(Fault::Refused(_) | Fault::Missing(_) | Fault::TooLarge(_)) => Ok(None),
                found => found,
            }
        });
        found.await.cloned()
    }
}

async fn look(client: &Client, class: &str, tenant: Option<&str>, search: &Filters) -> Result<Option<Ids>, Fault> {
    // Counted first: a search that meets its limit may stop short of it, at entries of objects that are gone.
    let count = client.count_of(class, tenant, Some(search.clone())).await?;
    if count > MOST || count.saturating_mul(SHARE) > client.count(class, tenant).await? {
        return Ok(None);
    }
    let request = SearchRequest {
        collection: class.to_owned(),
        tenant: tenant.unwrap_or_default().to_owned(),
        properties: Some(PropertiesRequest::default()),
        metadata: Some(MetadataRequest { uuid: true, ..MetadataRequest::default() }),
        limit: AT_ONCE,
        filters: Some(search.clone()),
        ..SearchRequest::default()
    };
    let reply = client.search(request).await?;
    // Fewer than were counted: the index and the objects disagree, or the server gives less at once.
    if reply.results.len() >= AT_ONCE as usize || (reply.results.len() as u64) < count {
        return Ok(None);
    }
    let ids = reply.results.iter().map(|result| {
        let id = id_of(result).unwrap_or_default();
        number(&id).ok_or_else(|| Fault::Refused(format!("an object with the id {id:?}")))
    });
    Ok(Some(Ids::of(ids.collect::<Result<Vec<_>, _>>()?)))
}
