//! The wire: the only place that speaks HTTP and gRPC to a server.

mod auth;
mod cluster;
mod export;
mod fault;
mod fence;
pub mod proto;
mod rest;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use restow_core::stage::{Fence, OpenContext};
use restow_core::{EngineError, Result};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use zeroize::Zeroizing;

use cluster::{Cluster, Node};
pub use export::ExportStatus;
pub use fault::Fault;
use fence::{Guard, GuardedChannel};
use proto::{
    AggregateReply, AggregateRequest, BatchObjectsReply, BatchObjectsRequest, Filters, SearchReply, SearchRequest,
};
pub use rest::Meta;

use super::address::Address;
use super::config::WeaviateConnection;

/// The limit of messages of servers that do not tell theirs (before 1.28), in bytes.
const OLD_MESSAGE_LIMIT: usize = 104_858_000;
/// No answer within this time is a failure that passes.
const TIMEOUT: Duration = Duration::from_secs(120);
/// No connection within this time is a failure that passes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server, or a cluster behind one address or several. Clones share the connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// The claim without which nothing is changed.
    fence: Option<Fence>,
}

struct Inner {
    /// All addresses of the connection, those too that are left out.
    address: String,
    http: reqwest::Client,
    cluster: Cluster,
    bearer: Option<Zeroizing<String>>,
    meta: Meta,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.inner.address)
            .field("meta", &self.inner.meta)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects, and asks the server who it is.
    ///
    /// # Errors
    /// Nobody answers, the server is not ready, it refuses the key, or the addresses are of several clusters.
    pub async fn connect(options: &WeaviateConnection, context: &OpenContext) -> Result<Self> {
        let addresses = options.addresses()?;
        let address = addresses.iter().map(|address| address.rest.as_str()).collect::<Vec<_>>().join(",");
        let bearer = options.bearer(context)?;
        auth::check(bearer.as_ref().map(|bearer| bearer.as_str()), &format!("weaviate {address}"), context.now)?;
        let authority = options.ca_file.as_deref().map(|file| read(&context.directory.join(file))).transpose()?;
        let http = rest::client(authority.as_deref())?;
        let nodes = addresses.into_iter().map(|address| {
            let channel = channel(&address, authority.as_deref())?;
            Ok(Node::new(address, channel))
        });
        let cluster = Cluster::new(nodes.collect::<Result<_>>()?);
        let inner = Arc::new(Inner { address, http, cluster, bearer, meta: Meta::default() });
        let client = Self { inner, fence: None };
        client.introduced().await
    }

    /// The same, knowing whom it speaks to.
    async fn introduced(self) -> Result<Self> {
        let early = || EngineError::failed("a client was shared too early");
        let mut client = self;
        if client.inner.cluster.is_several() {
            let same = client.one_cluster().await?;
            let inner = Arc::into_inner(client.inner).ok_or_else(early)?;
            let cluster = inner.cluster.only(same);
            client = Self { inner: Arc::new(Inner { cluster, ..inner }), fence: None };
        }
        let meta = client.meta().await?;
        let inner = Arc::into_inner(client.inner).ok_or_else(early)?;
        Ok(Self { inner: Arc::new(Inner { meta, ..inner }), fence: None })
    }

    /// The same connections, on which every request that changes something needs this claim until its last byte.
    #[must_use]
    pub fn fenced(&self, fence: &Fence) -> Self {
        Self { inner: Arc::clone(&self.inner), fence: Some(fence.clone()) }
    }

    /// `weaviate http://localhost:8080`, for messages.
    pub fn name(&self) -> String {
        format!("weaviate {}", self.inner.address)
    }

    /// The address without credentials; several with commas between them.
    pub fn address(&self) -> &str {
        &self.inner.address
    }

    /// Addresses that were away when the connection was made, each with the reason; they are not asked any more.
    pub fn left_out(&self) -> &[String] {
        self.inner.cluster.left_out()
    }

    /// What the server said about itself when it was connected to.
    pub fn server(&self) -> &Meta {
        &self.inner.meta
    }

    /// The most bytes of one gRPC message, either way.
    pub fn message_limit(&self) -> usize {
        self.inner.meta.message_limit.unwrap_or(OLD_MESSAGE_LIMIT)
    }

    /// One page of objects, or the objects of a filter.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn search(&self, request: SearchRequest) -> Result<SearchReply, Fault> {
        let request = SearchRequest { uses_123_api: true, uses_125_api: true, uses_127_api: true, ..request };
        self.asked("/weaviate.v1.Weaviate/Search", request).await
    }

    /// Writes objects; an object without an error in the reply was taken.
    ///
    /// # Errors
    /// The request failed as a whole: see [`Fault`].
    pub async fn batch(&self, request: BatchObjectsRequest) -> Result<BatchObjectsReply, Fault> {
        self.call("/weaviate.v1.Weaviate/BatchObjects", request, self.fence.as_ref()).await
    }

    /// How many objects a class, or one of its tenants, has now. Exact, unlike the counts of `/nodes`.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn count(&self, class: &str, tenant: Option<&str>) -> Result<u64, Fault> {
        // GraphQL wants a right to every class: only older servers are asked so.
        if !self.server().is_at_least(1, 29) {
            return self.count_by_graphql(class, tenant).await;
        }
        self.count_of(class, tenant, None).await
    }

    /// How many objects of a class or tenant the index finds for these filters; for servers from 1.29 on.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn count_of(&self, class: &str, tenant: Option<&str>, filters: Option<Filters>) -> Result<u64, Fault> {
        let request = AggregateRequest {
            collection: class.to_owned(),
            tenant: tenant.unwrap_or_default().to_owned(),
            objects_count: true,
            filters,
        };
        let reply: AggregateReply = self.asked("/weaviate.v1.Weaviate/Aggregate", request).await?;
        let count = reply.single_result.and_then(|single| single.objects_count);
        count
            .and_then(|count| u64::try_from(count).ok())
            .ok_or_else(|| Fault::Refused("counting: the answer has no count".to_owned()))
    }

    /// A call that changes nothing. A refusal is believed when it comes twice, as in [`Self::once`].
    async fn asked<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Fault>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        match self.call(path, question.clone(), None).await {
            Err(fault) if fault.is_refusal() => self.call(path, question, None).await,
            answer => answer,
        }
    }

    async fn call<Q, A>(&self, path: &'static str, message: Q, fence: Option<&Fence>) -> Result<A, Fault>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let order = self.inner.cluster.order(true);
        let Some((last, others)) = order.split_last() else { return Err(no_address()) };
        for node in others {
            let reply = self.call_one(node, path, message.clone(), fence).await;
            node.met(&reply);
            match reply {
                Err(fault) if fault.was_not_sent() => {}
                reply => return reply,
            }
        }
        let reply = self.call_one(last, path, message, fence).await;
        last.met(&reply);
        reply
    }

    async fn call_one<Q, A>(
        &self,
        node: &Node,
        path: &'static str,
        message: Q,
        fence: Option<&Fence>,
    ) -> Result<A, Fault>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let named = |fault: Fault| fault.at(&format!("gRPC {}", node.address.grpc));
        let guard = Guard::of(fence).await?;
        let channel = GuardedChannel { channel: node.channel.clone(), guard: guard.clone() };
        let mut grpc = tonic::client::Grpc::new(channel)
            .max_decoding_message_size(self.message_limit())
            .max_encoding_message_size(self.message_limit());
        let ready = grpc.ready().await;
        ready.map_err(|error| named(Fault::of_grpc(&tonic::Status::from_error(Box::new(error)))))?;
        let mut request = tonic::Request::new(message);
        request.set_timeout(TIMEOUT);
        if let Some(bearer) = &self.inner.bearer {
            let text = Zeroizing::new(format!("Bearer {}", bearer.as_str()));
            let mut value: MetadataValue<Ascii> = text
                .parse()
                .map_err(|_| Fault::Denied("`api_key` holds characters that a header cannot hold".to_owned()))?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        let codec = tonic_prost::ProstCodec::<Q, A>::default();
        match grpc.unary(request, PathAndQuery::from_static(path), codec).await {
            Ok(reply) => Ok(reply.into_inner()),
            Err(status) => {
                let fault = Guard::fault(guard.as_ref(), Fault::of_grpc(&status));
                Err(named(self.weighed(node, fault).await))
            }
        }
    }
}

#[cfg(test)]
impl Client {
    /// A server of tests: REST at this address, and nobody at gRPC.
    fn of_one(rest: &str) -> Self {
        let address = Address { rest: rest.to_owned(), grpc: "http://127.0.0.1:1".to_owned() };
        let channel = channel(&address, None).expect("a channel");
        let cluster = Cluster::new(vec![Node::new(address, channel)]);
        let http = rest::client(None).expect("a client");
        let inner = Inner { address: rest.to_owned(), http, cluster, bearer: None, meta: Meta::default() };
        Self { inner: Arc::new(inner), fence: None }
    }
}

fn no_address() -> Fault {
    Fault::Missing("the connection has no address".to_owned())
}

fn channel(address: &Address, authority: Option<&[u8]>) -> Result<Channel> {
    let failed =
        |error: tonic::transport::Error| EngineError::usage(format!("gRPC address {:?}: {error}", address.grpc));
    let mut endpoint = Endpoint::from_shared(address.grpc.clone())
        .map_err(failed)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        // Pages are megabytes: the windows of HTTP/2 by default would make each of them wait many times.
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(32 << 20);
    if address.grpc.starts_with("https://") {
        let mut tls = ClientTlsConfig::new().with_native_roots();
        if let Some(authority) = authority {
            tls = tls.ca_certificate(Certificate::from_pem(authority));
        }
        endpoint = endpoint.tls_config(tls).map_err(failed)?;
    }
    Ok(endpoint.connect_lazy())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| EngineError::usage(format!("ca_file {}: {error}", path.display())))
}
