//! What a server answers instead of what was asked for.

use std::time::Duration;

use restow_core::{EngineError, ExitClass, Retry};
use tonic::Code;

/// A failed request. Knows what the caller can do about it; [`EngineError`] is what the user sees of it.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nobody answers, or only to say that it cannot now: the same request may succeed later.
    Away { message: String, after: Option<Duration> },
    /// The answer or the request is larger than a message may be: ask for less at once.
    TooLarge(String),
    /// The key is missing, unknown or without the right.
    Denied(String),
    /// The two sides do not agree about TLS: a certificate that nobody vouches for, or TLS on one side only.
    Untrusted(String),
    /// What the request names is not there.
    Missing(String),
    /// Any other refusal, in the server's words: the same request gives the same answer.
    Refused(String),
    /// The request was not sent whole: the run belongs to another process, or nobody can tell.
    Lost { class: ExitClass, message: String, hint: Option<String>, retry: Retry },
}

impl Fault {
    /// The fault of a request that the run's claim did not let through.
    pub fn lost(error: &EngineError) -> Self {
        let (message, hint) = (error.message().to_owned(), error.hint().map(str::to_owned));
        Self::Lost { class: error.class(), message, hint, retry: error.retry() }
    }

    /// The fault of an HTTP answer that is no success.
    pub fn of_status(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        let message = format!("status {status}: {}", message_of(body));
        match status {
            401 | 403 => Self::Denied(message),
            404 => Self::Missing(message),
            413 => Self::TooLarge(message),
            408 | 425 | 429 | 500 | 502..=504 => Self::Away { message, after: retry_after },
            _ => Self::Refused(message),
        }
    }

    /// The fault of a request that got no answer.
    pub fn of_transport(error: &reqwest::Error) -> Self {
        Self::of_connection(chain(error))
    }

    /// The fault of a connection that failed or broke.
    fn of_connection(message: String) -> Self {
        if is_tls(&message) { Self::Untrusted(message) } else { Self::Away { message, after: None } }
    }

    /// The fault of a gRPC status.
    pub fn of_grpc(status: &tonic::Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::Denied(message),
            Code::NotFound => Self::Missing(message),
            // tonic's own word for an answer above the limit of decoding is OUT_OF_RANGE.
            Code::ResourceExhausted | Code::OutOfRange if is_size(&message) => Self::TooLarge(message),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted | Code::ResourceExhausted => {
                match transport(status) {
                    Some(message) => Self::of_connection(message),
                    None => Self::Away { message, after: None },
                }
            }
            // A connection that breaks in the middle of an answer is UNKNOWN or INTERNAL, with the transport's error inside.
            _ => match transport(status) {
                Some(message) => Self::of_connection(message),
                None if is_passing(&message) => Self::Away { message, after: None },
                None => Self::Refused(message),
            },
        }
    }

    /// The same, with the address where it was met.
    pub fn at(self, address: &str) -> Self {
        match self {
            Self::Away { message, after } => Self::Away { message: format!("{address}: {message}"), after },
            Self::Untrusted(message) => Self::Untrusted(format!("{address}: {message}")),
            fault => fault,
        }
    }

    /// Whether the server has said no to what was asked for, and would to the same again.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Refused(_))
    }

    /// Whether there was no connection: then nobody can have done what was asked for.
    pub fn was_not_sent(&self) -> bool {
        const SIGNS: [&str; 4] = ["tcp connect error", "dns error", "Connection refused", "client error (Connect)"];
        matches!(self, Self::Away { message, .. } if SIGNS.iter().any(|sign| message.contains(sign)))
    }

    /// As an error about `what`, such as `weaviate http://localhost:8080: reading class "Doc"`.
    pub fn about(self, what: impl std::fmt::Display) -> EngineError {
        match self {
            Self::Away { message, after } => {
                let retry = after.map_or(Retry::Transient, Retry::After);
                EngineError::transient(format!("{what}: {message}")).with_retry(retry)
            }
            Self::Denied(message) => EngineError::new(ExitClass::Denied, format!("{what}: access denied: {message}"))
                .with_hint(
                    "check `api_key` of the connection (a token may have expired), and the roles of its user; nothing was changed by this request; \
                     with a good key the same command goes on",
                ),
            Self::Untrusted(message) => EngineError::failed(format!("{what}: TLS: {message}")).with_hint(
                "name the certificate of your own authority in `ca_file` of the connection; a server without TLS has an address with http:// or weaviate://; nothing was sent",
            ),
            Self::Missing(message) => EngineError::new(ExitClass::NotFound, format!("{what}: {message}")),
            Self::TooLarge(message) | Self::Refused(message) => EngineError::failed(format!("{what}: {message}")),
            Self::Lost { class, message, hint, retry } => {
                let error = EngineError::new(class, format!("{what}: {message}")).with_retry(retry);
                match hint {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                }
            }
        }
    }
}

/// What a handshake of TLS says when it fails: the next one would fail too.
fn is_tls(message: &str) -> bool {
    ["certificate", "InvalidContentType", "UnknownIssuer", "fatal alert", "handshake failure", "HandshakeFailure"]
        .iter()
        .any(|part| message.contains(part))
}

fn is_size(message: &str) -> bool {
    ["larger than max", "message too large", "too large"].iter().any(|part| message.contains(part))
}

/// Failures inside the server that pass: it reports them as UNKNOWN, with nothing but a text.
fn is_passing(message: &str) -> bool {
    ["leader not found", "connection refused", "connection reset", "context deadline exceeded", "shutdown", "EOF"]
        .iter()
        .any(|part| message.contains(part))
}

fn transport(status: &tonic::Status) -> Option<String> {
    std::error::Error::source(status).map(chain)
}

/// Every cause of an error: the outermost alone says "error sending request".
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}

/// `{"error":[{"message":..}]}`, `{"message":..}`, or the text itself.
fn message_of(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let of_list = value.pointer("/error/0/message").or_else(|| value.get("message"));
    if let Some(message) = of_list.and_then(serde_json::Value::as_str) {
        return message.to_owned();
    }
    let text = String::from_utf8_lossy(body.get(..400).unwrap_or(body));
    if text.trim().is_empty() { "no message".to_owned() } else { text.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_nobody_vouches_for_is_not_tried_again() {
        let of = |message: &str| Fault::of_connection(message.to_owned());
        assert!(matches!(of("error sending request: invalid peer certificate: UnknownIssuer"), Fault::Untrusted(_)));
        assert!(matches!(of("received corrupt message of type InvalidContentType"), Fault::Untrusted(_)));
        assert!(matches!(of("tcp connect error: Connection refused (os error 111)"), Fault::Away { .. }));
        assert!(of("tcp connect error: Connection refused (os error 111)").at("http://h").was_not_sent());
        assert!(!of("connection closed before message completed").was_not_sent());
        let error = of("invalid peer certificate: UnknownIssuer").about("weaviate https://h");
        assert_eq!(error.class(), ExitClass::Failed);
        assert!(error.hint().is_some_and(|hint| hint.contains("ca_file")));
    }
}
