//! Cuts the ids of a collection into ranges with about as many objects each, however the ids are spread: random (v4), counted,
//! by time (v7), or several of these at once. The server tells no quantiles, so the density is measured at the start of each
//! range, and ranges that look crowded are halved.

use futures::{StreamExt, TryStreamExt, stream};
use restow_core::{EngineError, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::client::Client;
use super::super::client::proto::{MetadataRequest, PropertiesRequest, SearchRequest};
pub use super::super::decode::id_text as text;
use super::super::decode::number_of;
use super::filter::Ids;

/// Objects that a range should have: small enough that reading it again costs little, large enough that its requests do.
const TARGET_ROWS: u64 = 20_000;
/// Ids that are looked at to measure the density.
const PROBE: u32 = 64;
/// Ranges are halved at most this often in all; what is left is read as it is.
const MAX_PROBES: usize = 4096;
/// Probes under way at once.
const PROBES_AT_ONCE: usize = 8;

/// A range of ids: above `after`, up to and with `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The tenant, where the collection has tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The id before the first; none for the range that begins with the lowest of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The last id; none for the range that ends with the highest of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// About how many objects it has.
    #[serde(skip)]
    pub rows: Option<u64>,
}

impl Piece {
    /// Its ids.
    ///
    /// # Errors
    /// One of its ends is no id.
    pub fn ids(&self) -> Result<Ids> {
        let end = |text: &Option<String>| match text.as_deref().map(|text| (text, number(text))) {
            None => Ok(None),
            Some((_, Some(id))) => Ok(Some(id)),
            Some((text, None)) => Err(EngineError::failed(format!("{text:?}, the end of a range of ids, is no id"))),
        };
        let (after, to) = (end(&self.after)?, end(&self.to)?);
        let to = to.unwrap_or(u128::MAX);
        Ok(match after {
            None => Ids::range(0, to),
            Some(after) => after.checked_add(1).map_or_else(Ids::none, |from| Ids::range(from, to)),
        })
    }
}

/// A range while it is cut: from `from` to `to`, both with it.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: u128,
    to: u128,
    /// An estimate; exact where all of it was seen.
    rows: u64,
}

/// The ranges of a collection or one of its tenants, which has about `count` objects where that is known.
///
/// # Errors
/// The server cannot be asked.
pub async fn pieces(
    client: &Client,
    class: &str,
    tenant: Option<&str>,
    count: Option<u64>,
    parallel: usize,
) -> Result<Vec<Piece>> {
    let about = |what: &str| format!("{}: {what} {class}", client.name());
    let count = match count {
        Some(count) => count,
        None => client.count(class, tenant).await.map_err(|fault| fault.about(about("counting")))?,
    };
    let whole = Piece { tenant: tenant.map(str::to_owned), after: None, to: None, rows: Some(count) };
    let target = target_rows(count, parallel);
    if count <= target {
        return Ok(vec![whole]);
    }
    let probe = |range: Range| async move {
        probe(client, class, tenant, range).await.map_err(|fault| fault.about(about("looking at the ids of")))
    };
    let mut crowded = vec![Range { from: 0, to: u128::MAX, rows: 0 }];
    let (mut done, mut probes) = (Vec::new(), 0);
    while !crowded.is_empty() && probes < MAX_PROBES {
        probes += crowded.len();
        let measured: Vec<Option<Range>> =
            stream::iter(std::mem::take(&mut crowded)).map(probe).buffered(PROBES_AT_ONCE).try_collect().await?;
        for range in measured.into_iter().flatten() {
            if range.rows <= target || range.from >= range.to {
                done.push(range);
            } else {
                let middle = range.from + (range.to - range.from) / 2;
                crowded.push(Range { to: middle, ..range });
                crowded.push(Range { from: middle + 1, ..range });
            }
        }
    }
    done.append(&mut crowded);
    done.sort_by_key(|range| range.from);
    Ok(joined(&done, target, tenant))
}

/// Few objects are cut into some ranges for each that is read at once, so that none is waited for long; many into ranges of the usual size.
fn target_rows(count: u64, parallel: usize) -> u64 {
    let share = count / (4 * parallel.max(1) as u64);
    share.clamp(1_000, TARGET_ROWS)
}

/// Measures a range: where its ids begin, and how many there are if they go on like the first ones. `None` where it has none.
async fn probe(
    client: &Client,
    class: &str,
    tenant: Option<&str>,
    range: Range,
) -> Result<Option<Range>, super::super::client::Fault> {
    let after = range.from.checked_sub(1).map(text).unwrap_or_default();
    let request = SearchRequest {
        collection: class.to_owned(),
        tenant: tenant.unwrap_or_default().to_owned(),
        properties: Some(PropertiesRequest::default()),
        metadata: Some(MetadataRequest { uuid: true, ..MetadataRequest::default() }),
        limit: PROBE,
        after,
        ..SearchRequest::default()
    };
    let reply = client.search(request).await?;
    let ids = reply.results.iter().filter_map(number_of);
    let inside: Vec<u128> = ids.take_while(|id| *id <= range.to).collect();
    let (Some(first), Some(last)) = (inside.first(), inside.last()) else { return Ok(None) };
    let rows = if inside.len() < PROBE as usize {
        inside.len() as u64
    } else {
        estimate(inside.len(), last - first, range.to - first)
    };
    Ok(Some(Range { from: *first, to: range.to, rows }))
}

/// `seen` ids in `width` of `whole`: how many in all of it.
fn estimate(seen: usize, width: u128, whole: u128) -> u64 {
    let share = whole as f64 / width.max(1) as f64;
    // A float beyond u64 becomes its largest value: crowded enough.
    (share * seen as f64) as u64
}

/// Joins neighbours to ranges of about `target` rows, without a gap: what comes later between them is read too.
fn joined(ranges: &[Range], target: u64, tenant: Option<&str>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut after, mut rows) = (None, 0_u64);
    for (index, range) in ranges.iter().enumerate() {
        rows = rows.saturating_add(range.rows);
        let next = ranges.get(index + 1);
        let full = next.is_some_and(|next| rows.saturating_add(next.rows) > target);
        if full || next.is_none() {
            let to = next.map(|_| range.to);
            pieces.push(Piece {
                tenant: tenant.map(str::to_owned),
                after: after.map(text),
                to: to.map(text),
                rows: Some(rows),
            });
            (after, rows) = (to, 0);
        }
    }
    if pieces.is_empty() {
        pieces.push(Piece { tenant: tenant.map(str::to_owned), after: None, to: None, rows: Some(0) });
    }
    pieces
}

/// An id as a number; the order is the same.
pub fn number(id: &str) -> Option<u128> {
    Uuid::try_parse(id).ok().map(|id| id.as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u128, to: u128, rows: u64) -> Range {
        Range { from, to, rows }
    }

    #[test]
    fn ranges_cover_every_id_once() {
        let pieces = joined(&[range(5, 9, 10), range(20, 29, 10), range(30, 39, 25), range(50, 60, 1)], 20, None);
        let ends: Vec<(Option<u128>, Option<u128>)> = pieces
            .iter()
            .map(|piece| (piece.after.as_deref().and_then(number), piece.to.as_deref().and_then(number)))
            .collect();
        assert_eq!(ends, [(None, Some(29)), (Some(29), Some(39)), (Some(39), None)]);
        assert_eq!(
            joined(&[], 20, Some("t")),
            [Piece { tenant: Some("t".into()), after: None, to: None, rows: Some(0) }]
        );
    }

    #[test]
    fn density_is_carried_on() {
        assert_eq!(estimate(64, 63, 127), 129);
        assert_eq!(estimate(64, 1 << 100, 1 << 101), 128);
        assert_eq!(estimate(64, 0, u128::MAX), u64::MAX);
    }
}
