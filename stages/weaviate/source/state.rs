//! What a range of ids holds, as a digest of ids and times of the last change: by it a settled scan knows what has changed since it was
//! read. Both are in every answer, so that the pass that looks again fetches neither properties nor vectors.

use sha2::{Digest, Sha256};

use super::super::client::proto::{MetadataRequest, PropertiesRequest, SearchRequest};
use super::super::client::{Client, Fault};
use super::super::decode::id_of;
use super::ranges::{Piece, number};

/// Objects of one page of the pass.
const PAGE: u32 = 1_000;

/// A digest that grows object by object, in the order of the ids.
#[derive(Debug, Default)]
pub struct State(Sha256);

impl State {
    /// Adds an object: its id, and when it was last written (milliseconds, by the server's clock).
    pub fn add(&mut self, id: u128, updated: i64) {
        self.0.update(id.to_be_bytes());
        self.0.update(updated.to_be_bytes());
    }

    /// The digest, hex.
    pub fn digest(&self) -> String {
        self.0.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a range holds now.
///
/// # Errors
/// See [`Fault`].
pub async fn of_piece(client: &Client, class: &str, piece: &Piece) -> Result<String, Fault> {
    let mut state = State::default();
    let to = piece.to.as_deref().and_then(number);
    let mut after = piece.after.clone().unwrap_or_default();
    loop {
        let request = SearchRequest {
            collection: class.to_owned(),
            tenant: piece.tenant.clone().unwrap_or_default(),
            properties: Some(PropertiesRequest::default()),
            metadata: Some(MetadataRequest { uuid: true, last_update_time_unix: true, ..MetadataRequest::default() }),
            limit: PAGE,
            after: after.clone(),
            ..SearchRequest::default()
        };
        let reply = client.search(request).await?;
        if reply.results.is_empty() {
            return Ok(state.digest());
        }
        for result in &reply.results {
            let id = id_of(result).ok_or_else(|| Fault::Refused("an object without an id".to_owned()))?;
            let key = number(&id).ok_or_else(|| Fault::Refused(format!("an object with the id {id:?}")))?;
            if to.is_some_and(|to| key > to) {
                return Ok(state.digest());
            }
            state.add(key, result.metadata.as_ref().map_or(0, |metadata| metadata.last_update_time_unix));
            after = id;
        }
    }
}
