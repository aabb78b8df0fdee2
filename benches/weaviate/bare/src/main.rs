//! Reads and writes a Weaviate collection by bare gRPC, and prints one line of JSON: how many objects, in how many seconds.
//!
//!     bare drain ADDRESS COLLECTION STREAMS PAGE                 reads all of it, decodes it, and keeps none of it
//!     bare fill  ADDRESS COLLECTION FROM TO DIMENSIONS VECTOR    makes up objects number FROM to TO and writes them
//!     bare copy  ADDRESS COLLECTION TO STREAMS BATCH             reads it into memory, then writes it: only the writing is timed
//!
//! ADDRESS is host:port; VECTOR the name of the vector, or - for the one without a name. The key is in WEAVIATE_API_KEY, the process
//! of the server in WEAVIATE_PID: the processor time of both sides is printed too.

mod proto;

use std::env;
use std::error::Error;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use prost::Message;
use prost::bytes::Bytes;
use proto::{
    BatchObject, BatchObjectsReply, BatchObjectsRequest, BatchProperties, Kind, MetadataRequest, PropertiesRequest,
    SearchReply, SearchRequest, SearchResult, Struct, StructKind, StructValue, Vectors,
};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const MESSAGE_LIMIT: usize = 104_858_000;
const FILL_BATCH: u64 = 1_000;
const FILL_STREAMS: usize = 2;
const WORDS: [&str; 16] = [
    "amber", "basalt", "canopy", "delta", "ember", "fjord", "granite", "harbour", "island", "juniper", "karst",
    "lagoon", "meadow", "nectar", "orchard", "prairie",
];

/// What the clock and the processors say since it was made.
struct Clock {
    began: Instant,
    own: f64,
    server: f64,
}

impl Clock {
    fn start() -> Self {
        Self { began: Instant::now(), own: spent("self"), server: server_spent() }
    }

    fn stop(&self) -> Times {
        let seconds = self.began.elapsed().as_secs_f64();
        Times { seconds, own: spent("self") - self.own, server: server_spent() - self.server }
    }
}

/// In seconds.
#[derive(Default)]
struct Times {
    seconds: f64,
    own: f64,
    server: f64,
}

impl Times {
    fn and(self, more: &Self) -> Self {
        let Self { seconds, own, server } = self;
        Self { seconds: seconds + more.seconds, own: own + more.own, server: server + more.server }
    }
}

/// Processor time of a process, as Linux counts it: in hundredths of a second. 0 where there is none.
fn spent(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn server_spent() -> f64 {
    env::var("WEAVIATE_PID").map_or(0.0, |process| spent(&process))
}

/// One connection.
#[derive(Clone)]
struct Connection {
    channel: Channel,
    bearer: Option<MetadataValue<Ascii>>,
}

impl Connection {
    async fn open(address: &str) -> Outcome<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .initial_stream_window_size(16 << 20)
            .initial_connection_window_size(32 << 20)
            .tcp_nodelay(true);
        let bearer = env::var("WEAVIATE_API_KEY").ok().map(|key| format!("Bearer {key}").parse()).transpose()?;
        Ok(Self { channel: endpoint.connect().await?, bearer })
    }

    async fn call<Q: Message + 'static, A: Message + Default + 'static>(
        &self,
        path: &'static str,
        message: Q,
    ) -> Outcome<A> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        grpc.ready().await?;
        let mut request = tonic::Request::new(message);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        let codec = tonic_prost::ProstCodec::<Q, A>::default();
        Ok(grpc.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner())
    }

    /// Reads the ids from `from` to `to`, page after page, and gives each page away.
    async fn range(
        &self,
        collection: &str,
        from: u128,
        to: u128,
        page: u32,
        mut taken: impl FnMut(Vec<SearchResult>),
    ) -> Outcome<()> {
        let mut after = from.checked_sub(1).map(text).unwrap_or_default();
        loop {
            let request = SearchRequest {
                collection: collection.to_owned(),
                properties: Some(PropertiesRequest { return_all_nonref_properties: true }),
                metadata: Some(MetadataRequest {
                    uuid: true,
                    vector: true,
                    creation_time_unix: true,
                    last_update_time_unix: true,
                }),
                limit: page,
                after,
                uses_123_api: true,
                uses_125_api: true,
                uses_127_api: true,
            };
            let mut results = self.call::<_, SearchReply>("/weaviate.v1.Weaviate/Search", request).await?.results;
            let Some(last) = results.last().map(id_of).transpose()? else { return Ok(()) };
            let mut inside = results.len();
            while inside > 0 && id_of(&results[inside - 1])? > to {
                inside -= 1;
            }
            results.truncate(inside);
            taken(results);
            if last >= to {
                return Ok(());
            }
            after = text(last);
        }
    }

    async fn write(&self, request: BatchObjectsRequest) -> Outcome<()> {
        let reply: BatchObjectsReply = self.call("/weaviate.v1.Weaviate/BatchObjects", request).await?;
        match reply.errors.first() {
            Some(first) => {
                Err(format!("{} objects were refused, the first: {}", reply.errors.len(), first.error).into())
            }
            None => Ok(()),
        }
    }
}

/// The pages of a collection by several streams, each over its share of all ids and by a connection of its own.
async fn drain<T: Default + Send + 'static>(
    address: &str,
    collection: &str,
    streams: u32,
    page: u32,
    keep: fn(&mut T, Vec<SearchResult>),
) -> Outcome<Vec<T>> {
    let share = u128::MAX / u128::from(streams);
    let mut tasks = Vec::new();
    for stream in 0..streams {
        let from = share * u128::from(stream) + u128::from(stream > 0);
        let to = if stream + 1 == streams { u128::MAX } else { share * u128::from(stream + 1) };
        let (connection, collection) = (Connection::open(address).await?, collection.to_owned());
        tasks.push(tokio::spawn(async move {
            let mut kept = T::default();
            connection.range(&collection, from, to, page, |results| keep(&mut kept, results)).await?;
            Outcome::Ok(kept)
        }));
    }
    let mut kept = Vec::new();
    for task in tasks {
        kept.push(task.await??);
    }
    Ok(kept)
}

/// Writes requests, in their order, by several streams.
async fn write_all(address: &str, requests: Vec<BatchObjectsRequest>, streams: usize) -> Outcome<Times> {
    let mut connections = Vec::new();
    for _ in 0..streams {
        connections.push(Connection::open(address).await?);
    }
    let requests: Arc<Vec<Mutex<Option<BatchObjectsRequest>>>> =
        Arc::new(requests.into_iter().map(|one| Mutex::new(Some(one))).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let clock = Clock::start();
    let tasks = connections.into_iter().map(|connection| {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        tokio::spawn(async move {
            while let Some(slot) = requests.get(next.fetch_add(1, Relaxed)) {
                let request = slot.lock().map_err(|_| "a writer died")?.take().ok_or("a request was taken twice")?;
                connection.write(request).await?;
            }
            Outcome::Ok(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    Ok(clock.stop())
}

fn id_of(result: &SearchResult) -> Outcome<u128> {
    let metadata = result.metadata.as_ref().ok_or("an object without metadata")?;
    Ok(u128::from_be_bytes(metadata.id_as_bytes.as_ref().try_into()?))
}

fn text(id: u128) -> String {
    let hex = format!("{id:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// What was read, as what is written.
fn object_of(result: SearchResult, collection: &str) -> Outcome<BatchObject> {
    let uuid = text(id_of(&result)?);
    let metadata = result.metadata.unwrap_or_default();
    let fields = result.properties.and_then(|found| found.non_ref_props).unwrap_or_default().fields;
    let values = fields.into_iter().map(|(name, value)| {
        let kind = value.kind.map(|kind| match kind {
            Kind::Number(value) => StructKind::Number(value),
            Kind::Int(value) => StructKind::Number(value as f64),
            Kind::Bool(value) => StructKind::Bool(value),
            Kind::Text(value) => StructKind::Text(value),
        });
        (name, StructValue { kind })
    });
    Ok(BatchObject {
        uuid,
        collection: collection.to_owned(),
        properties: Some(BatchProperties { non_ref_properties: Some(Struct { fields: values.collect() }) }),
        vector_bytes: metadata.vector_bytes,
        vectors: metadata.vectors,
    })
}

/// SplitMix64: the same objects on every machine, and in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From -1 to 1, with all bits of the mantissa used, as in embeddings.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }
}

/// Object `number`: an id of version 4, four properties, and a vector.
fn made_up(number: u64, collection: &str, dimensions: usize, vector: &str) -> BatchObject {
    let mut random = Random(number.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1));
    let id = (u128::from(random.next()) << 64) | u128::from(random.next());
    let id = id & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let title: Vec<&str> = (0..8).map(|_| WORDS[(random.next() % 16) as usize]).collect();
    let fields = [
        ("title", StructKind::Text(format!("{} {number}", title.join(" ")))),
        ("position", StructKind::Number(number as f64)),
        ("score", StructKind::Number(f64::from(random.float()))),
        ("active", StructKind::Bool(random.next().is_multiple_of(2))),
    ];
    let bytes: Bytes = (0..dimensions).flat_map(|_| random.float().to_le_bytes()).collect::<Vec<u8>>().into();
    let unnamed = vector == "-";
    BatchObject {
        uuid: text(id),
        collection: collection.to_owned(),
        properties: Some(BatchProperties {
            non_ref_properties: Some(Struct {
                fields: fields
                    .into_iter()
                    .map(|(name, kind)| (name.to_owned(), StructValue { kind: Some(kind) }))
                    .collect(),
            }),
        }),
        vector_bytes: if unnamed { bytes.clone() } else { Bytes::new() },
        vectors: if unnamed {
            Vec::new()
        } else {
            vec![Vectors { name: vector.to_owned(), vector_bytes: bytes, kind: 1 }]
        },
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (objects, times) = match arguments[..] {
        ["drain", address, collection, streams, page] => {
            let clock = Clock::start();
            let counts: Vec<usize> =
                drain(address, collection, streams.parse()?, page.parse()?, |count: &mut usize, results| {
                    *count += results.len()
                })
                .await?;
            (counts.iter().sum(), clock.stop())
        }
        ["fill", address, collection, from, to, dimensions, vector] => {
            let (from, to, dimensions): (u64, u64, usize) = (from.parse()?, to.parse()?, dimensions.parse()?);
            let mut times = Times::default();
            // In parts: all of them at once would be gigabytes.
            for part in (from..to).step_by(20 * FILL_BATCH as usize) {
                let numbers: Vec<u64> = (part..to.min(part + 20 * FILL_BATCH)).collect();
                let requests = numbers.chunks(FILL_BATCH as usize).map(|numbers| BatchObjectsRequest {
                    objects: numbers.iter().map(|number| made_up(*number, collection, dimensions, vector)).collect(),
                });
                times = times.and(&write_all(address, requests.collect(), FILL_STREAMS).await?);
            }
            (usize::try_from(to - from)?, times)
        }
        ["copy", address, collection, to, streams, batch] => {
            let read: Vec<Vec<SearchResult>> =
                drain(address, collection, 2, 2_000, |kept: &mut Vec<SearchResult>, results| kept.extend(results))
                    .await?;
            let objects: Vec<BatchObject> =
                read.into_iter().flatten().map(|result| object_of(result, to)).collect::<Outcome<_>>()?;
            let count = objects.len();
            let (mut requests, mut objects) = (Vec::new(), objects.into_iter().peekable());
            while objects.peek().is_some() {
                requests.push(BatchObjectsRequest { objects: objects.by_ref().take(batch.parse()?).collect() });
            }
            (count, write_all(address, requests, streams.parse()?).await?)
        }
        _ => return Err("drain, fill or copy: see the head of main.rs".into()),
    };
    let Times { seconds, own, server } = times;
    println!("{{\"objects\":{objects},\"seconds\":{seconds:.6},\"cpu\":{own:.2},\"server_cpu\":{server:.2}}}");
    Ok(())
}
