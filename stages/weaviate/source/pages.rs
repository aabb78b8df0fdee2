//! One page of objects at a time, by gRPC or by REST, sized in bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use restow_core::Result;
use restow_core::stage::Reject;
use uuid::Uuid;

use super::super::client::proto::{
    FilterTarget, Filters, MetadataRequest, PropertiesRequest, SearchRequest, TextValues, operator,
};
use super::super::client::{Client, Fault};
use super::super::columns::{Column, Content};
use super::super::decode::{self, RestObject, RestPage, id_of, number_of};
use super::super::rows::Cell;
use super::ranges::{number, text};

/// Objects of the first page, before their size is known.
const FIRST_LIMIT: u32 = 100;
/// The most objects of a page: what servers allow by default (`QUERY_MAXIMUM_RESULTS`).
const MAX_LIMIT: u32 = 10_000;
/// How many more objects are asked for at the end of a range than seem to be there.
const END_MARGIN: f64 = 1.05;
/// Objects that are asked for by themselves, at once.
const OBJECTS_AT_ONCE: usize = 8;

/// What to ask for.
#[derive(Debug, Clone)]
pub struct PageRequest {
    pub client: Client,
    pub class: String,
    pub tenant: String,
    /// The columns to fill, in this order.
    pub columns: Vec<Column>,
    /// Whether gRPC gives all of them as they are.
    pub by_grpc: bool,
    /// What a page should hold, in bytes.
    pub page_bytes: usize,
}

/// An object: its id, when it was last written (milliseconds), and its cells, or why it has none.
pub type Row = (u128, i64, Result<Vec<Cell>, Reject>);

/// How many objects of a collection make a full page, shared by all who read it: only the first of them has to begin with small ones.
#[derive(Debug, Default)]
pub struct PageSize(AtomicU32);

impl PageSize {
    /// `None` before the first page.
    pub fn known(&self) -> Option<u32> {
        Some(self.0.load(Relaxed)).filter(|limit| *limit > 0)
    }

    /// What the last page taught.
    pub fn learn(&self, limit: u32) {
        self.0.store(limit, Relaxed);
    }
}

/// What came.
#[derive(Debug, Default)]
pub struct Page {
    /// Ids, times of the last change and rows, in the order of the ids.
    pub rows: Vec<Row>,
    /// Bytes of the page.
    pub bytes: u64,
    /// Whether there was nothing at all behind the cursor: only this is the end.
    pub is_empty: bool,
    /// The last id of the page, where its object is gone.
    pub skipped_to: Option<u128>,
}

/// Where the reading is.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// The id after which the page begins; empty at the very beginning.
    pub after: String,
    /// Objects to ask for.
    limit: u32,
    /// Where the page begins and where nothing more is wanted, both with it.
    from: u128,
    to: u128,
    /// How far apart the ids of the last page were.
    gap: f64,
}

impl Cursor {
    /// A cursor that is nowhere yet: [`Self::jump`] follows. `limit` is what [`Self::learned`] said of pages like those to come.
    pub fn new(limit: Option<u32>) -> Self {
        Self { after: String::new(), limit: limit.unwrap_or(FIRST_LIMIT), from: 0, to: u128::MAX, gap: 0.0 }
    }

    /// A cursor for one id.
    pub fn at(id: u128) -> Self {
        let mut cursor = Self::new(None);
        cursor.jump(id, id);
        cursor
    }

    /// Moves before `from`. Nothing behind `to` is wanted.
    pub fn jump(&mut self, from: u128, to: u128) {
        self.after = from.checked_sub(1).map(text).unwrap_or_default();
        (self.from, self.to) = (from, to);
    }

    /// How many objects are asked for: what fits into a page, and not many more than there seem to be before the end.
    fn limit(&self) -> u32 {
        let ids = self.to.saturating_sub(self.from).saturating_add(1);
        let possible = u32::try_from(ids).unwrap_or(MAX_LIMIT).max(1);
        // Ids are spread as on the last page, more or less; where that is wrong, one more page is read.
        let expected = (ids as f64 / self.gap) * END_MARGIN;
        let expected = if expected < f64::from(MAX_LIMIT) { expected as u32 } else { MAX_LIMIT };
        self.limit.min(possible).min(expected.max(FIRST_LIMIT)).max(1)
    }

    /// Objects of a full page, as far as it is known.
    pub fn learned(&self) -> u32 {
        self.limit
    }

    /// Sizes the next page by this one.
    pub fn learn(&mut self, page: &Page, page_bytes: usize) {
        let (Some((first, ..)), Some((last, ..))) = (page.rows.first(), page.rows.last()) else { return };
        let rows = page.rows.len();
        let average = (page.bytes / rows as u64).max(1);
        let fitting = u32::try_from(page_bytes as u64 / average).unwrap_or(MAX_LIMIT);
        // Objects differ: the next page is at most four times this one.
        let grown = u32::try_from(rows).unwrap_or(MAX_LIMIT).saturating_mul(4);
        self.limit = fitting.min(grown.max(self.limit)).clamp(1, MAX_LIMIT);
        self.gap = if rows > 1 { last.saturating_sub(*first) as f64 / (rows - 1) as f64 } else { 0.0 };
    }
}

impl Page {
    /// The last id that it has seen; none where there was nothing.
    pub fn last(&self) -> Option<u128> {
        self.skipped_to.or(self.rows.last().map(|(last, ..)| *last))
    }
}

impl PageRequest {
    /// The page behind the cursor. A page that is too large or that the server cannot give is asked for in halves, then by REST,
    /// then object by object.
    ///
    /// # Errors
    /// The server stays away, or refuses for a reason that has nothing to do with the objects.
    pub async fn fetch(&self, cursor: &Cursor) -> Result<Page, Fault> {
        let mut limit = cursor.limit();
        loop {
            let page = if self.by_grpc {
                self.results(self.search(&cursor.after, limit)).await
            } else {
                self.by_rest(&cursor.after, limit).await
            };
            match page {
                Err(Fault::TooLarge(_) | Fault::Refused(_)) if limit > 1 => limit = (limit / 2).max(1),
                Err(Fault::TooLarge(_) | Fault::Refused(_)) => return self.one(&cursor.after).await,
                page => return page,
            }
        }
    }

    fn search(&self, after: &str, limit: u32) -> SearchRequest {
        SearchRequest {
            collection: self.class.clone(),
            tenant: self.tenant.clone(),
            limit,
            after: after.to_owned(),
            ..SearchRequest::default()
        }
    }

    /// What a search finds, with all columns.
    async fn results(&self, search: SearchRequest) -> Result<Page, Fault> {
        let (mut names, mut vectors, mut unnamed) = (Vec::new(), Vec::new(), false);
        for column in &self.columns {
            match &column.content {
                Content::Property(property) => names.push(property.name.clone()),
                Content::DateText(name) => names.push(name.clone()),
                Content::Vector(vector, _) => match &vector.name {
                    Some(name) => vectors.push(name.clone()),
                    None => unnamed = true,
                },
                Content::Id | Content::Tenant | Content::Created | Content::Updated => {}
            }
        }
        names.dedup();
        let request = SearchRequest {
            properties: Some(PropertiesRequest { non_ref_properties: names }),
            metadata: Some(MetadataRequest {
                uuid: true,
                vector: unnamed,
                creation_time_unix: true,
                last_update_time_unix: true,
                // With `vector` the server gives all named vectors anyway.
                vectors: if unnamed { Vec::new() } else { vectors },
            }),
            ..search
        };
        let mut reply = self.client.search(request).await?;
        let mut page = Page {
            rows: Vec::with_capacity(reply.results.len()),
            bytes: reply.encoded_len() as u64,
            is_empty: reply.results.is_empty(),
            skipped_to: None,
        };
        for result in &mut reply.results {
            let id = id_of(result).ok_or_else(|| Fault::Refused("an object without an id".to_owned()))?;
            let key = number_of(result).ok_or_else(|| Fault::Refused(format!("an object with the id {id:?}")))?;
            // Twice on the wire, see `proto`.
            page.bytes += result.metadata.as_ref().map_or(0, |metadata| metadata.vector_bytes.len() as u64);
            let updated = result.metadata.as_ref().map_or(0, |metadata| metadata.last_update_time_unix);
            let cells = decode::of_grpc(&self.columns, result, id, &self.tenant);
            let cells = cells.map_err(|reason| decode::reject(&self.class, &self.tenant, &text(key), reason, None));
            page.rows.push((key, updated, cells));
        }
        Ok(page)
    }

    /// The objects of these ids that are there, in the order of the ids.
    ///
    /// # Errors
    /// As for [`Self::fetch`].
    pub async fn of_ids(&self, ids: &[Uuid]) -> Result<Page, Fault> {
        let page = match self.by_grpc {
            true => self.results(self.search_ids(ids)).await,
            false => self.by_rest_one_by_one(ids).await,
        };
        match (page, ids) {
            (Err(Fault::TooLarge(_) | Fault::Refused(_)), [_, _, ..]) => {
                let (first, second) = ids.split_at(ids.len() / 2);
                let mut page = Box::pin(self.of_ids(first)).await?;
                let rest = Box::pin(self.of_ids(second)).await?;
                page.rows.extend(rest.rows);
                page.bytes += rest.bytes;
                Ok(page)
            }
            (Err(Fault::TooLarge(reason) | Fault::Refused(reason)), [id]) => {
                let id = id.hyphenated().to_string();
                let reject = decode::reject(&self.class, &self.tenant, &id, reason, None);
                Ok(Page { rows: number(&id).map(|key| (key, 0, Err(reject))).into_iter().collect(), ..Page::default() })
            }
            (page, _) => page,
        }
    }

    fn search_ids(&self, ids: &[Uuid]) -> SearchRequest {
        let values = ids.iter().map(|id| id.hyphenated().to_string()).collect();
        let filters = Filters {
            operator: operator::CONTAINS_ANY,
            value_text_array: Some(TextValues { values }),
            target: Some(FilterTarget { property: Some("_id".to_owned()) }),
            ..Filters::default()
        };
        let limit = u32::try_from(ids.len()).unwrap_or(MAX_LIMIT);
        SearchRequest { filters: Some(filters), ..self.search("", limit) }
    }

    async fn by_rest_one_by_one(&self, ids: &[Uuid]) -> Result<Page, Fault> {
        let tenant = if self.tenant.is_empty() { String::new() } else { format!("?tenant={}", self.tenant) };
        let one = |id: Uuid| {
            let path = format!("/objects/{}/{}{tenant}", self.class, id.hyphenated());
            async move {
                match self.client.raw(reqwest::Method::GET, &path, None).await {
                    Err(Fault::Missing(_)) => Ok(None),
                    answer => answer.map(Some),
                }
            }
        };
        let found: Vec<Option<Bytes>> =
            stream::iter(ids.to_vec()).map(one).buffered(OBJECTS_AT_ONCE).try_collect().await?;
        let mut page = Page::default();
        for body in found.into_iter().flatten() {
            page.bytes += body.len() as u64;
            let text =
                std::str::from_utf8(&body).map_err(|error| Fault::Refused(format!("an object is no text: {error}")))?;
            page.rows.push(self.of_rest(text)?);
        }
        if self.has_vectors() && !page.rows.is_empty() {
            self.add_vectors(&mut page, self.search_ids(ids)).await?;
        }
        Ok(page)
    }

    fn has_vectors(&self) -> bool {
        self.columns.iter().any(|column| matches!(column.content, Content::Vector(..)))
    }

    /// Properties by REST, which has them as they are stored; vectors by gRPC, which alone has those with NaN in them.
    async fn by_rest(&self, after: &str, limit: u32) -> Result<Page, Fault> {
        let tenant = if self.tenant.is_empty() { String::new() } else { format!("&tenant={}", self.tenant) };
        let path = format!("/objects?class={}&limit={limit}&after={after}{tenant}", self.class);
        let body = self.client.raw(reqwest::Method::GET, &path, None).await?;
        let page: RestPage =
            serde_json::from_slice(&body).map_err(|error| Fault::Refused(format!("a page cannot be read: {error}")))?;
        let objects = page.objects.unwrap_or_default();
        let rows = Vec::with_capacity(objects.len());
        let mut page = Page { rows, bytes: body.len() as u64, is_empty: objects.is_empty(), skipped_to: None };
        for text in objects {
            page.rows.push(self.of_rest(text.get())?);
        }
        if self.has_vectors() && !page.is_empty {
            self.add_vectors(&mut page, self.search(after, limit)).await?;
        }
        Ok(page)
    }

    /// Fills in the vectors of a page. An object that was deleted since the page was read is left out of it.
    async fn add_vectors(&self, page: &mut Page, search: SearchRequest) -> Result<(), Fault> {
        let unnamed = self
            .columns
            .iter()
            .any(|column| matches!(&column.content, Content::Vector(vector, _) if vector.name.is_none()));
        let named = self.columns.iter().filter_map(|column| match &column.content {
            Content::Vector(vector, _) => vector.name.clone(),
            _ => None,
        });
        let vectors = if unnamed { Vec::new() } else { named.collect() };
        let request = SearchRequest {
            properties: Some(PropertiesRequest::default()),
            metadata: Some(MetadataRequest { uuid: true, vector: unnamed, vectors, ..MetadataRequest::default() }),
            ..search
        };
        let reply = self.client.search(request).await?;
        page.bytes += reply.encoded_len() as u64;
        let mut found = HashMap::new();
        for result in reply.results {
            if let Some(key) = id_of(&result).as_deref().and_then(number) {
                found.insert(key, result);
            }
        }
        let last = page.rows.last().map(|(key, ..)| *key);
        let mut rows = Vec::with_capacity(page.rows.len());
        for (key, updated, row) in page.rows.drain(..) {
            match (found.remove(&key), row) {
                (Some(mut result), Ok(mut cells)) => {
                    let id = uuid::Uuid::from_u128(key).hyphenated().to_string();
                    let filled = decode::put_vectors(&self.columns, &mut cells, &mut result);
                    rows.push((
                        key,
                        updated,
                        filled
                            .map(|()| cells)
                            .map_err(|reason| decode::reject(&self.class, &self.tenant, &id, reason, None)),
                    ));
                }
                (_, Err(reject)) => rows.push((key, updated, Err(reject))),
                // The cursor goes on behind the last one in any case.
                (None, Ok(_)) if Some(key) == last => page.skipped_to = Some(key),
                (None, Ok(_)) => {}
            }
        }
        page.rows = rows;
        Ok(())
    }

    /// The row of one object's JSON.
    fn of_rest(&self, text: &str) -> Result<Row, Fault> {
        let refused = |what: String| Fault::Refused(what);
        let mut object: RestObject =
            serde_json::from_str(text).map_err(|error| refused(format!("an object cannot be read: {error}")))?;
        let id = object.id.clone();
        let key = number(&id).ok_or_else(|| refused(format!("an object with the id {id:?}")))?;
        let updated = object.last_update_time_unix;
        let cells = decode::of_rest(&self.columns, &mut object, &self.tenant);
        let cells =
            cells.map_err(|reason| decode::reject(&self.class, &self.tenant, &id, reason, Some(text.to_owned())));
        Ok((key, updated, cells))
    }

    /// The one object behind the cursor, by REST; what cannot be read at all is a reject under its id.
    async fn one(&self, after: &str) -> Result<Page, Fault> {
        let request = SearchRequest {
            properties: Some(PropertiesRequest::default()),
            metadata: Some(MetadataRequest { uuid: true, last_update_time_unix: true, ..MetadataRequest::default() }),
            ..self.search(after, 1)
        };
        let reply = self.client.search(request).await?;
        let first = reply.results.first();
        let Some(id) = first.and_then(id_of) else {
            return Ok(Page { is_empty: true, ..Page::default() });
        };
        let key = number(&id).ok_or_else(|| Fault::Refused(format!("an object with the id {id:?}")))?;
        let updated =
            first.and_then(|first| first.metadata.as_ref()).map_or(0, |metadata| metadata.last_update_time_unix);
        let tenant = if self.tenant.is_empty() { String::new() } else { format!("&tenant={}", self.tenant) };
        let path = format!("/objects/{}/{id}?include=vector{tenant}", self.class);
        let body: Bytes = match self.client.raw(reqwest::Method::GET, &path, None).await {
            Ok(body) => body,
            Err(fault @ (Fault::Away { .. } | Fault::Denied(_) | Fault::Untrusted(_) | Fault::Lost { .. })) => {
                return Err(fault);
            }
            // Deleted since: read on behind it.
            Err(Fault::Missing(_)) => {
                return Box::pin(self.fetch(&Cursor { after: id, limit: 1, ..Cursor::new(None) })).await;
            }
            Err(Fault::TooLarge(reason) | Fault::Refused(reason)) => {
                let reject = decode::reject(&self.class, &self.tenant, &id, reason, None);
                return Ok(Page { rows: vec![(key, updated, Err(reject))], ..Page::default() });
            }
        };
        let text =
            std::str::from_utf8(&body).map_err(|error| Fault::Refused(format!("object {id} is no text: {error}")))?;
        Ok(Page { rows: vec![self.of_rest(text)?], bytes: body.len() as u64, ..Page::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(ids: impl Iterator<Item = u128>, bytes: u64) -> Page {
        let rows: Vec<Row> = ids.map(|id| (id, 0, Ok(Vec::new()))).collect();
        Page { bytes: bytes * rows.len() as u64, rows, ..Page::default() }
    }

    #[test]
    fn pages_grow_to_their_bytes_and_shrink_before_the_end() {
        let mut cursor = Cursor::new(None);
        cursor.jump(0, 999_999);
        assert_eq!(cursor.limit(), FIRST_LIMIT);
        cursor.learn(&page((0..100).map(|id| id * 100), 1_000), 1_000_000);
        assert_eq!(cursor.limit(), 400);
        cursor.learn(&page((100..500).map(|id| id * 100), 1_000), 1_000_000);
        cursor.jump(50_000, 999_999);
        assert_eq!(cursor.limit(), 1_000);
        // 300 more objects, if they go on like this.
        cursor.jump(970_000, 999_999);
        assert_eq!(cursor.limit(), 315);
        cursor.jump(999_990, 999_999);
        assert_eq!(cursor.limit(), 10);
        assert_eq!(Cursor::new(Some(cursor.learned())).limit(), 1_000);
    }

    #[test]
    fn crowds_after_deserts_are_read_in_pages_that_grow_again() {
        let mut cursor = Cursor::new(Some(1_000));
        cursor.jump(0, u128::MAX);
        // Far apart, as it seems: hardly anything is left.
        cursor.learn(&page((0..1_000).map(|id| id << 117), 100), 100_000);
        cursor.jump(1_000 << 117, u128::MAX);
        let few = cursor.limit();
        assert!((FIRST_LIMIT..=1_000).contains(&few), "{few}");
        // Then they come close together.
        cursor.learn(&page((0..u128::from(few)).map(|id| (1_000 << 117) + id), 100), 100_000);
        cursor.jump((1_000 << 117) + u128::from(few), u128::MAX);
        assert_eq!(cursor.limit(), 1_000);
    }
}
