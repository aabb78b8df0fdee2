//! Reads one range of ids to its end.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use futures::{Stream, stream};
use restow_core::stage::{Evidence, ReadRequest, SplitEvent};
use restow_core::{EngineError, Result};
use tokio::task::JoinHandle;

use super::super::client::Fault;
use super::super::columns::Column;
use super::super::rows::RowBuilder;
use super::discover::Collection;
use super::pages::{Cursor, Page, PageRequest};
use super::ranges::{Piece, number};
use super::state::State as Content;
use crate::weaviate::client::Client;

/// A range being read. The next page is under way while this one is decoded.
pub struct Reading {
    pages: PageRequest,
    piece: Piece,
    /// The last id of the range.
    to: Option<u128>,
    cursor: Cursor,
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
    /// Begins a range.
    ///
    /// # Errors
    /// A column of the request is none of the collection's.
    pub fn new(
        client: Client,
        collection: &Collection,
        piece: Piece,
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
        Ok(Self {
            pages: PageRequest {
                client,
                class: collection.class.name.clone(),
                tenant: piece.tenant.clone().unwrap_or_default(),
                columns,
                by_grpc,
                page_bytes,
            },
            to: piece.to.as_deref().and_then(number),
            cursor: Cursor::behind(piece.after.as_deref()),
            piece,
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
        })
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
        self.cursor.advance(&page, self.pages.page_bytes);
        let beyond = |id: u128| self.to.is_some_and(|to| id > to);
        let last = page.rows.last().map(|(id, ..)| *id);
        let is_end = page.is_empty || last.is_some_and(beyond) || last == self.to && last.is_some();
        if !is_end && self.limit.is_none_or(|limit| self.rows + (page.rows.len() as u64) < limit) {
            self.under_way = Some(self.fetch());
        }
        self.bytes += page.bytes;
        for (id, updated, row) in page.rows {
            if self.to.is_some_and(|to| id > to) {
                break;
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
        let proof = match (&self.piece.to, self.limit) {
            (_, Some(limit)) if self.rows >= limit => "as many rows as were asked for".to_owned(),
            (Some(to), _) => format!("an id above {to}, or none"),
            (None, _) => "an empty page".to_owned(),
        };
        let proof = format!("{proof}; read from {} to {}", self.began.to_rfc3339(), chrono::Utc::now().to_rfc3339());
        Evidence { rows: Some(self.rows), bytes: self.bytes, proof, state: Some(self.content.digest()) }
    }

    fn place(&self) -> String {
        let tenant = self.piece.tenant.as_ref().map(|tenant| format!(", tenant {tenant:?}")).unwrap_or_default();
        format!("{}: reading {:?}{tenant} after id {:?}", self.pages.client.name(), self.pages.class, self.cursor.after)
    }
}
