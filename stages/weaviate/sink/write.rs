//! Batches of objects on their way: sized, sent, answered item by item.

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use reqwest::Method;
use restow_core::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::client::proto::BatchObjectsRequest;
use super::super::client::{Client, Fault};
use super::convert::Object;

/// Objects of one request at most.
const MAX_OBJECTS: usize = 2_000;
/// Requests of one split under way at once.
const AT_ONCE: usize = 2;

/// What became of each object, in their order: the server's reason where it refused it.
pub type Verdicts = Vec<Result<(), String>>;

#[derive(Deserialize)]
struct RestItem {
    #[serde(default)]
    result: RestResult,
}

#[derive(Deserialize, Default)]
struct RestResult {
    #[serde(default)]
    status: String,
    #[serde(default)]
    errors: Value,
}

/// Writes objects of a class. An object that fails in a batch is tried once more alone.
///
/// # Errors
/// The server stays away, refuses a whole request for a reason that has nothing to do with its objects, or another process has taken the
/// run over.
pub async fn write(client: &Client, class: &str, objects: &[Object], batch_bytes: usize) -> Result<Verdicts> {
    let about = |fault: Fault| fault.about(format!("{}: writing to {class:?}", client.name()));
    let one = |part| async move { send(client, class, part).await.map_err(about) };
    let requests: Vec<_> = cut(objects, batch_bytes).into_iter().map(|part| one(part).boxed()).collect();
    let verdicts: Vec<Verdicts> = stream::iter(requests).buffered(AT_ONCE).try_collect().await?;
    let mut verdicts = verdicts.concat();
    // A server that starts refuses every object, and will take it once it knows its classes again.
    if verdicts.iter().any(Result::is_err) && !client.is_ready().await {
        return Err(about(Fault::Away { message: "the server is not ready".to_owned(), after: None }));
    }
    for (verdict, object) in verdicts.iter_mut().zip(objects) {
        if verdict.is_err() {
            let again = one(std::slice::from_ref(object)).await?;
            *verdict = again.into_iter().next().unwrap_or_else(|| Err("the server gave no answer for it".to_owned()));
        }
    }
    Ok(verdicts)
}

/// Neighbours that go into one request: no more bytes than asked for, and all by the same interface.
fn cut(objects: &[Object], batch_bytes: usize) -> Vec<&[Object]> {
    let mut requests = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (index, object) in objects.iter().enumerate() {
        let size = object.size();
        let other = objects.get(from).is_some_and(|first| first.fits_grpc() != object.fits_grpc());
        if index > from && (bytes + size > batch_bytes || index - from >= MAX_OBJECTS || other) {
            requests.extend(objects.get(from..index));
            (from, bytes) = (index, 0);
        }
        bytes += size;
    }
    requests.extend(objects.get(from..).filter(|rest| !rest.is_empty()));
    requests
}

/// One request; in halves where it is too large.
async fn send(client: &Client, class: &str, objects: &[Object]) -> Result<Verdicts, Fault> {
    let by_grpc = objects.iter().all(Object::fits_grpc);
    let sent = if by_grpc { by_rpc(client, class, objects).await } else { by_rest(client, class, objects).await };
    match sent {
        Err(Fault::TooLarge(_)) if objects.len() > 1 => {
            let (left, right) = objects.split_at(objects.len() / 2);
            let mut verdicts = Box::pin(send(client, class, left)).await?;
            verdicts.extend(Box::pin(send(client, class, right)).await?);
            Ok(verdicts)
        }
        // One object beyond the limit of gRPC goes by REST, which has none.
        Err(Fault::TooLarge(_)) if by_grpc => by_rest(client, class, objects).await,
        // The server refuses the request, and does not say for which object.
        Err(Fault::Refused(reason)) if objects.len() == 1 => Ok(vec![Err(reason)]),
        Err(Fault::Refused(_)) => {
            let (left, right) = objects.split_at(objects.len() / 2);
            let mut verdicts = Box::pin(send(client, class, left)).await?;
            verdicts.extend(Box::pin(send(client, class, right)).await?);
            Ok(verdicts)
        }
        sent => sent,
    }
}

async fn by_rpc(client: &Client, class: &str, objects: &[Object]) -> Result<Verdicts, Fault> {
    let request = BatchObjectsRequest { objects: objects.iter().map(|object| object.to_grpc(class)).collect() };
    let reply = client.batch(request).await?;
    let mut verdicts: Verdicts = vec![Ok(()); objects.len()];
    for error in reply.errors {
        let verdict = usize::try_from(error.index).ok().and_then(|index| verdicts.get_mut(index));
        let Some(verdict) = verdict else {
            return Err(Fault::Refused(format!(
                "an error for object {} of {}: {}",
                error.index,
                objects.len(),
                error.error
            )));
        };
        *verdict = Err(error.error);
    }
    Ok(verdicts)
}

async fn by_rest(client: &Client, class: &str, objects: &[Object]) -> Result<Verdicts, Fault> {
    let mut verdicts: Verdicts = Vec::with_capacity(objects.len());
    let mut wire = Vec::with_capacity(objects.len());
    for object in objects {
        let json = object.to_json(class);
        verdicts.push(json.as_ref().map(|_| ()).map_err(Clone::clone));
        wire.extend(json);
    }
    if wire.is_empty() {
        return Ok(verdicts);
    }
    let count = wire.len();
    let body = client.send(Method::POST, "/batch/objects", &json!({ "objects": wire })).await?;
    let items: Vec<RestItem> = serde_json::from_slice(&body)
        .map_err(|error| Fault::Refused(format!("the answer to a batch is unexpected: {error}")))?;
    if items.len() != count {
        return Err(Fault::Refused(format!("{count} objects were sent, and {} were answered for", items.len())));
    }
    let mut answers = items.into_iter().map(|item| match item.result.status.as_str() {
        "SUCCESS" => Ok(()),
        _ => Err(item
            .result
            .errors
            .pointer("/error/0/message")
            .and_then(Value::as_str)
            .unwrap_or("refused without a reason")
            .to_owned()),
    });
    for verdict in verdicts.iter_mut().filter(|verdict| verdict.is_ok()) {
        *verdict = answers.next().unwrap_or_else(|| Err("the server gave no answer for it".to_owned()));
    }
    Ok(verdicts)
}

/// Changes one object in place: what it has is replaced, the rest stays.
///
/// # Errors
/// The server stays away.
pub async fn merge(client: &Client, class: &str, object: &Object) -> Result<Result<(), String>, Fault> {
    let body = match object.to_json(class) {
        Ok(body) => body,
        Err(reason) => return Ok(Err(reason)),
    };
    let path = format!("/objects/{class}/{}", object.id.hyphenated());
    match client.send(Method::PATCH, &path, &body).await {
        Ok(_) => Ok(Ok(())),
        Err(Fault::Refused(reason) | Fault::TooLarge(reason) | Fault::Missing(reason)) => Ok(Err(reason)),
        Err(fault) => Err(fault),
    }
}
