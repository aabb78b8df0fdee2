//! Reads one range of ids to its end.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{Stream, stream};
use restow_core::stage::{Evidence, ReadRequest, SplitEvent};
use restow_core::{EngineError, Result};
use tokio::task::JoinHandle;

use super::super::client::Fault;
use super::super::columns::Column;
use super::super::rows::RowBuilder;
use super::discover::Collection;
use super::filter::Ids;
use super::pages::{Cursor, Page, PageRequest, PageSize};
use super::ranges::text;
use super::state::State as Content;
use crate::weaviate::client::Client;

/// Where fewer than one object in so many is wanted, each is asked for by itself; else everything between them is read.
const SPARSE: u64 = 64;

/// What is to be read of a collection or tenant.
pub struct Task {
    /// The tenant, where there are tenants.
    pub tenant: Option<String>,
    /// The ids that are wanted.
    pub ids: Ids,
    /// Why not all ids of the range are, where they are not.
    pub because: Option<&'static str>,
}

/// A range being read. The next page is under way while this one is decoded.
pub struct Reading {
    pages: PageRequest,
    task: Task,
    /// The ranges that the cursor goes through: those of the ids that are wanted, or all between the first and the last of them.
    route: Ids,
    cursor: Cursor,
    /// What all readers of the collection know of its pages.
    page: Arc<PageSize>,
    builder: RowBuilder,
    batch_rows: usize,
    ready: VecDeque<SplitEvent>,
    under_way: Option<Fetch>,
    began: chrono::DateTime<chrono::Utc>,
    rows: u64,
    bytes: u64,
    limit: Option<u64>,
    /// What was read, for a scan that settles.
    content: Content,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Reading,
    AtEnd,
    Done,
}

/// A page that is being fetched; given up with the reading.
struct Fetch(JoinHandle<Result<Page, Fault>>);

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reading {
    /// Begins to read.
    ///
    /// # Errors
    /// A column of the request is none of the collection's.
    pub fn new(
        client: Client,
        collection: &Collection,
        task: Task,
        request: &ReadRequest,
        page_bytes: usize,
    ) -> Result<Self> {
        let columns = request.schema.fields().iter().map(|field| {
            let column = collection.columns.iter().find(|column| column.field.name() == field.name());
            column.cloned().ok_or_else(|| {
                EngineError::failed(format!("collection {:?} has no column {:?}", request.dataset, field.name()))
            })
        });
        let columns: Vec<Column> = columns.collect::<Result<_>>()?;
        let by_grpc = collection.class.is_whole_by_grpc();
        let few = request.split.rows.unwrap_or(0) / SPARSE;
        let route = if task.ids.ranges().len() as u64 > few.max(1) { task.ids.span() } else { task.ids.clone() };
        let mut reading = Self {
            pages: PageRequest {
                client,
                class: collection.class.name.clone(),
                tenant: task.tenant.clone().unwrap_or_default(),
                columns,
                by_grpc,
                page_bytes,
            },
            task,
            route,
            cursor: Cursor::new(collection.page.known()),
            page: Arc::clone(&collection.page),
            builder: RowBuilder::new(&request.schema)?,
            batch_rows: request.batch_rows.max(1),
            ready: VecDeque::new(),
            under_way: None,
            began: chrono::Utc::now(),
            rows: 0,
            bytes: 0,
            limit: request.limit.map(|limit| limit as u64),
            content: Content::default(),
            state: State::Reading,
        };
        if !reading.go_on(Some(0)) {
            reading.state = State::AtEnd;
        }
        Ok(reading)
    }

    /// Moves the cursor to the first id of the route from this one on; says whether there is any.
    fn go_on(&mut self, from: Option<u128>) -> bool {
        let ahead = from.and_then(|from| {
            let ranges = self.route.ranges();
            let (start, end) = ranges.get(ranges.partition_point(|(_, end)| *end < from))?;
            Some((from.max(*start), *end))
        });
        if let Some((start, end)) = ahead {
            self.cursor.jump(start, end);
        }
        ahead.is_some()
    }

    /// Its rows, then its end.
    pub fn events(self) -> impl Stream<Item = Result<SplitEvent>> + Send {
        stream::try_unfold(self, |mut reading| async move { Ok(reading.next().await?.map(|event| (event, reading))) })
    }

    async fn next(&mut self) -> Result<Option<SplitEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self.state {
                State::Done => return Ok(None),
                State::AtEnd => {
                    self.state = State::Done;
                    return Ok(Some(SplitEvent::End(self.evidence())));
                }
                State::Reading => self.page().await?,
            }
        }
    }

    /// Takes in one page.
    async fn page(&mut self) -> Result<()> {
        let fetch = self.under_way.take().unwrap_or_else(|| self.fetch());
        let page = Self::arrived(fetch).await.map_err(|fault| fault.about(self.place()))?;
        self.cursor.learn(&page, self.pages.page_bytes);
        self.page.learn(self.cursor.learned());
        // An empty page is the end of everything; else the route may go on behind the last id.
        let is_end = match page.last() {
            Some(last) if !page.is_empty => !self.go_on(last.checked_add(1)),
            _ => true,
        };
        if !is_end && self.limit.is_none_or(|limit| self.rows + (page.rows.len() as u64) < limit) {
            self.under_way = Some(self.fetch());
        }
        self.bytes += page.bytes;
        let (mut left, batch_rows) = (page.rows.len(), self.batch_rows);
        for (id, updated, row) in page.rows {
            if self.builder.len() == 0 {
                self.builder.reserve(left.min(batch_rows));
            }
            left -= 1;
            if !self.task.ids.has(id) {
                continue;
            }
            self.rows += 1;
            self.content.add(id, updated);
            match row {
                Ok(cells) => self.builder.push(cells)?,
                Err(reject) => self.ready.push_back(SplitEvent::Reject(reject)),
            }
            if self.builder.len() >= self.batch_rows {
                let batch = self.builder.finish()?;
                self.ready.push_back(SplitEvent::Rows(batch));
            }
        }
        let enough = self.limit.is_some_and(|limit| self.rows >= limit);
        if is_end || enough {
            self.state = State::AtEnd;
        }
        if self.builder.len() > 0 {
            let batch: RecordBatch = self.builder.finish()?;
            self.ready.push_back(SplitEvent::Rows(batch));
        }
        Ok(())
    }

    fn fetch(&self) -> Fetch {
        let (pages, cursor) = (self.pages.clone(), self.cursor.clone());
        Fetch(tokio::spawn(async move { pages.fetch(&cursor).await }))
    }

    async fn arrived(mut fetch: Fetch) -> Result<Page, Fault> {
        match (&mut fetch.0).await {
            Ok(page) => page,
            Err(error) => Err(Fault::Refused(format!("the reader of a page died: {error}"))),
        }
    }

    fn evidence(&self) -> Evidence {
        let end = |ids: &Ids| ids.ranges().last().map(|(_, to)| *to);
        let mut proof = match (end(&self.route), self.limit) {
            (_, Some(limit)) if self.rows >= limit => "as many rows as were asked for".to_owned(),
            (None, _) => "no id of this range is wanted".to_owned(),
            (Some(u128::MAX), _) => "an empty page".to_owned(),
            (Some(to), _) => format!("an id above {}, or none", text(to)),
        };
        if let Some(because) = self.task.because {
            proof.push_str("; ");
            proof.push_str(because);
        }
        let proof = format!("{proof}; read from {} to {}", self.began.to_rfc3339(), chrono::Utc::now().to_rfc3339());
        Evidence { rows: Some(self.rows), bytes: self.bytes, proof, state: Some(self.content.digest()) }
    }

    fn place(&self) -> String {
        let tenant = self.task.tenant.as_ref().map(|tenant| format!(", tenant {tenant:?}")).unwrap_or_default();
        format!("{}: reading {:?}{tenant} after id {:?}", self.pages.client.name(), self.pages.class, self.cursor.after)
    }
}
