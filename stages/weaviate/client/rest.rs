//! The REST interface below `/v1`.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use restow_core::{EngineError, ExitClass, Result, Retry};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::cluster::Node;
use super::fence::Guard;
use super::{CONNECT_TIMEOUT, Client, Fault, TIMEOUT, auth, no_address};

/// The oldest version that restow knows.
const OLDEST: (u32, u32) = (1, 27);

/// Who a server is: `GET /v1/meta`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Meta {
    /// Its version, for example `1.39.2`.
    pub version: String,
    /// The most bytes of one gRPC message, where it says so.
    #[serde(default, rename = "grpcMaxMessageSize")]
    pub message_limit: Option<usize>,
    /// The modules that are switched on, by their names.
    #[serde(default)]
    pub modules: Option<Map<String, Value>>,
}

impl Meta {
    /// Whether the version is at least `major.minor`.
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let mut parts = self.version.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
    }

    /// Refuses a version that nobody has tried.
    fn check(&self, name: &str) -> Result<()> {
        if self.is_at_least(OLDEST.0, OLDEST.1) {
            return Ok(());
        }
        let (major, minor) = OLDEST;
        let message = format!("{name}: version {:?} of the server is older than {major}.{minor}", self.version);
        Err(EngineError::new(ExitClass::Refused, message)
            .with_hint(format!("update the server to {major}.{minor} or newer; nothing was read or written")))
    }
}

pub(super) fn client(authority: Option<&[u8]>) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .user_agent(concat!("restow/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = authority {
        let certificate = reqwest::Certificate::from_pem(pem)
            .map_err(|error| EngineError::usage(format!("ca_file holds no certificate in PEM form: {error}")))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|error| EngineError::failed(format!("an HTTP client cannot be made: {error}")))
}

impl Client {
    /// Checks that the server is ready, and asks for its version.
    pub(super) async fn meta(&self) -> Result<Meta> {
        let bearer = self.inner.bearer.as_ref().map(|bearer| bearer.as_str());
        let about = format!("{}: connecting", self.name());
        self.raw(Method::GET, "/.well-known/ready", None).await.map_err(|fault| match fault {
            Fault::Missing(_) => {
                EngineError::usage(format!("{} is no Weaviate: it has no /v1/.well-known/ready", self.address()))
                    .with_hint("give the address of its REST interface, without a path")
            }
            Fault::Away { message, after } if message.contains("status 503") => {
                let what = format!("{about}: it is not ready: {message}");
                EngineError::transient(what).with_retry(after.map_or(Retry::Transient, Retry::After))
            }
            fault => fault.about(&about),
        })?;
        let meta: Meta = self.get("/meta").await.map_err(|fault| auth::refused(fault, bearer, &self.name()))?;
        meta.check(&self.name())?;
        Ok(meta)
    }

    /// A JSON answer to GET. `path` is below `/v1` and escaped.
    ///
    /// # Errors
    /// See [`Fault`]; an answer of another shape is a refusal.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let body = self.raw(Method::GET, path, None).await?;
        parsed(path, &body)
    }

    /// As [`Self::count`], of any version.
    pub(super) async fn count_by_graphql(&self, class: &str, tenant: Option<&str>) -> Result<u64, Fault> {
        let of = tenant.map_or_else(String::new, |tenant| format!("(tenant:{})", Value::from(tenant)));
        let query = format!("{{Aggregate{{{class}{of}{{meta{{count}}}}}}}}");
        let body = self.send(Method::POST, "/graphql", &serde_json::json!({ "query": query })).await?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(message) = answer.pointer("/errors/0/message").and_then(Value::as_str) {
            return Err(Fault::Refused(format!("counting: {message}")));
        }
        let count = answer.pointer(&format!("/data/Aggregate/{class}/0/meta/count")).and_then(Value::as_f64);
        // Counts come as floats; up to 2^53 they are exact.
        count.map(|count| count as u64).ok_or_else(|| Fault::Refused("counting: the answer has no count".to_owned()))
    }

    /// Sends JSON; the answer as it came.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Bytes, Fault> {
        self.raw(method, path, Some(body.to_string().into_bytes())).await
    }

    /// One request; an answer that is no success is a fault. Objects go round over the addresses, the rest keeps to one.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn raw(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Bytes, Fault> {
        let in_turn = path.starts_with("/objects") || path.starts_with("/batch");
        let body = body.map(Bytes::from);
        let mut outcome = Err(no_address());
        for node in self.inner.cluster.order(in_turn) {
            outcome = self.once(node, method.clone(), path, body.clone()).await;
            node.met(&outcome);
            // What never reached a server may go to another one; anything else may have been done.
            if !outcome.as_ref().is_err_and(Fault::was_not_sent) {
                break;
            }
        }
        outcome
    }

    /// One request to one address. A refusal of a question is believed when it comes twice: the server may have become ready just
    /// between a first one and the question whether it is.
    pub(super) async fn once(
        &self,
        node: &Node,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Bytes, Fault> {
        match self.sent(node, method.clone(), path, body.clone()).await {
            Err(fault) if method == Method::GET && fault.is_refusal() => self.sent(node, method, path, body).await,
            answer => answer,
        }
    }

    async fn sent(&self, node: &Node, method: Method, path: &str, body: Option<Bytes>) -> Result<Bytes, Fault> {
        let named = |fault: Fault| match self.inner.cluster.is_several() {
            true => fault.at(&node.address.rest),
            false => fault,
        };
        let changes = method != Method::GET;
        let mut request = self.inner.http.request(method, format!("{}/v1{path}", node.address.rest));
        if let Some(bearer) = &self.inner.bearer {
            request = request.bearer_auth(bearer.as_str());
        }
        let guard = Guard::of(self.fence.as_ref().filter(|_| changes)).await?;
        if let Some(body) = body {
            let body = match &guard {
                Some(guard) => reqwest::Body::wrap(guard.body(reqwest::Body::from(body))),
                None => body.into(),
            };
            request = request.header("content-type", "application/json").body(body);
        }
        let answer =
            request.send().await.map_err(|error| Guard::fault(guard.as_ref(), named(Fault::of_transport(&error))))?;
        let status = answer.status().as_u16();
        let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = answer.bytes().await.map_err(|error| named(Fault::of_transport(&error)))?;
        if (200..300).contains(&status) {
            Ok(body)
        } else {
            Err(named(self.weighed(node, Fault::of_status(status, &body, after.map(Duration::from_secs))).await))
        }
    }

    /// A server that has just been started answers before it has read its definitions: 404, "could not find class", "non-existing
    /// index". That something is not there, or refused, means nothing until it is ready.
    pub(super) async fn weighed(&self, node: &Node, fault: Fault) -> Fault {
        let message = match &fault {
            Fault::Missing(message) | Fault::Refused(message) => message,
            _ => return fault,
        };
        if self.says_ready(node).await.unwrap_or(false) {
            return fault;
        }
        Fault::Away { message: format!("{message}: the server is not ready"), after: None }
    }

    /// Whether no address says that it is not ready. Those that say nothing are passed over while others answer.
    pub async fn is_ready(&self) -> bool {
        let mut answers = Vec::new();
        for node in self.inner.cluster.order(false) {
            answers.extend(self.says_ready(node).await);
        }
        !answers.is_empty() && answers.into_iter().all(|ready| ready)
    }

    /// Whether an address says that it is ready; none where it says nothing.
    async fn says_ready(&self, node: &Node) -> Option<bool> {
        let answer = self.inner.http.get(format!("{}/v1/.well-known/ready", node.address.rest)).send().await.ok()?;
        // A server without that question is none of ours: `meta` says so.
        Some(answer.status().is_success() || answer.status() == 404)
    }
}

/// The JSON of an answer to GET.
pub(super) fn parsed<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body)
        .map_err(|error| Fault::Refused(format!("the answer to GET {path} is unexpected: {error}")))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn old_versions_are_refused_by_name() {
        let of = |version: &str| Meta { version: version.to_owned(), ..Meta::default() }.check("weaviate http://h");
        assert!(of("1.27.0").is_ok() && of("v1.39.2").is_ok() && of("1.40.0-dev").is_ok() && of("2.0.0").is_ok());
        for old in ["1.26.9", "0.9", ""] {
            assert!(of(old).expect_err("a refusal").message().contains(&format!("{old:?}")), "{old}");
        }
    }
    /// Answers each request of `path` with the next of these; everything else is ready.
    async fn server(path: &'static str, answers: &'static [&'static str]) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let mut answers = answers.iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or_default();
                let asked = String::from_utf8_lossy(&request[..length]).starts_with(&format!("GET /v1{path} "));
                let answer = if asked { answers.next().copied().unwrap_or("500") } else { "200 OK" };
                let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn what_is_missing_is_believed_when_it_is_said_twice() {
        const MISSING: &str = "404 Not Found";
        for (answers, is_there) in [(&[MISSING, "200 OK"], true), (&[MISSING, MISSING], false)] {
            let address = server("/schema/A", answers).await;
            let client = Client::of_one(&address);
            let found = client.get::<Value>("/schema/A").await;
            match found {
                Ok(_) => assert!(is_there),
                Err(Fault::Missing(_)) => assert!(!is_there),
                Err(fault) => panic!("{fault:?}"),
            }
        }
    }
}
