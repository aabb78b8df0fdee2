//! How long the vectors of a class are. No definition says so: only its objects do.

use std::collections::BTreeMap;

use restow_core::Result;

use super::class::VectorIndex;
use super::client::proto::{MULTI_FP32, MetadataRequest, PropertiesRequest, SearchRequest};
use super::client::{Client, Fault};

/// The lengths that were met, by the place of the vector in its class.
pub type Lengths = BTreeMap<usize, Vec<i32>>;

/// Adds the lengths of the vectors of the first objects of a class, or of one of its tenants.
///
/// # Errors
/// They cannot be read.
pub async fn of_first(
    client: &Client,
    class: &str,
    vectors: &[VectorIndex],
    tenant: Option<&str>,
    objects: u32,
    lengths: &mut Lengths,
) -> Result<()> {
    let request = SearchRequest {
        collection: class.to_owned(),
        tenant: tenant.unwrap_or_default().to_owned(),
        properties: Some(PropertiesRequest::default()),
        metadata: Some(MetadataRequest { uuid: true, vector: true, ..MetadataRequest::default() }),
        limit: objects,
        ..SearchRequest::default()
    };
    let failed = |fault: Fault| fault.about(format!("{}: reading the first objects of {class}", client.name()));
    let reply = client.search(request).await.map_err(failed)?;
    for metadata in reply.results.iter().filter_map(|result| result.metadata.as_ref()) {
        for (index, vector) in vectors.iter().enumerate() {
            let (bytes, several) = match &vector.name {
                None => (&metadata.vector_bytes, false),
                Some(name) => match metadata.vectors.iter().find(|found| found.name == *name) {
                    Some(found) => (&found.vector_bytes, found.kind == MULTI_FP32),
                    None => continue,
                },
            };
            let length = match bytes.first_chunk::<2>() {
                Some(head) if several => i32::from(u16::from_le_bytes(*head)),
                Some(_) => i32::try_from(bytes.len() / 4).unwrap_or(i32::MAX),
                None => continue,
            };
            let known = lengths.entry(index).or_default();
            if !known.contains(&length) {
                known.push(length);
            }
        }
    }
    Ok(())
}

/// Adds lengths that were met elsewhere.
pub fn merge(lengths: &mut Lengths, more: Lengths) {
    for (index, met) in more {
        let known = lengths.entry(index).or_default();
        for length in met {
            if !known.contains(&length) {
                known.push(length);
            }
        }
    }
}
