//! Requests that change something stay incomplete until the run's claim is known to hold: the last byte of a body is kept back, and
//! sent only when the claim was looked at within the last half second. A process that stood still with requests on their way thus wakes up
//! with bodies that no server can read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use restow_core::stage::Fence;
use restow_core::{EngineError, Result};
use tonic::codegen::{Service, StdError, http};
use tonic::transport::Channel;

use super::Fault;

/// A claim, while one request is on its way.
#[derive(Debug, Clone)]
pub struct Guard {
    fence: Fence,
    /// Why the body was not sent whole.
    refusal: Arc<Mutex<Option<EngineError>>>,
}

impl Guard {
    /// Checks the claim, where there is one, before anything is sent.
    ///
    /// # Errors
    /// The run was taken over, or nobody can tell.
    pub async fn of(fence: Option<&Fence>) -> Result<Option<Self>, Fault> {
        let Some(fence) = fence else { return Ok(None) };
        fence.check().await.map_err(|error| Fault::lost(&error))?;
        Ok(Some(Self { fence: fence.clone(), refusal: Arc::default() }))
    }

    /// Why a request failed: the claim, where that broke it, else what the connection says.
    pub fn fault(guard: Option<&Self>, sent: Fault) -> Fault {
        let refusal = guard.map(|guard| guard.refusal.lock().unwrap_or_else(PoisonError::into_inner));
        match refusal.as_deref() {
            Some(Some(error)) => Fault::lost(error),
            _ => sent,
        }
    }

    /// A body that is completed only while the claim holds.
    pub fn body<B>(&self, body: B) -> Guarded<B> {
        Guarded { body, last: Bytes::new(), guard: self.clone(), asking: Mutex::default() }
    }
}

/// A body whose data ends in a frame of one byte.
pub struct Guarded<B> {
    body: B,
    /// The byte that is kept back.
    last: Bytes,
    guard: Guard,
    /// The question whether the claim still holds; a lock because bodies must be shareable, never contended.
    asking: Mutex<Option<BoxFuture<'static, Result<()>>>>,
}

impl<B> Guarded<B> {
    /// Waits until the claim is known to hold.
    fn poll_claim(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        let asking = self.asking.get_mut().unwrap_or_else(PoisonError::into_inner);
        if asking.is_none() && self.guard.fence.is_fresh() {
            return Poll::Ready(Ok(()));
        }
        let fence = self.guard.fence.clone();
        let answer = ready!(asking.get_or_insert_with(|| async move { fence.check().await }.boxed()).poll_unpin(cx));
        *asking = None;
        Poll::Ready(answer.map_err(|error| {
            let message = error.to_string();
            *self.guard.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            message.into()
        }))
    }
}

impl<B> Body for Guarded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.get_mut();
        if this.last.is_empty() {
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            };
            let mut data = match frame.into_data() {
                Ok(data) if !data.is_empty() => data,
                Ok(empty) => return Poll::Ready(Some(Ok(Frame::data(empty)))),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            };
            this.last = data.split_off(data.len() - 1);
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        ready!(this.poll_claim(cx))?;
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.last)))))
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, more) = (self.body.size_hint(), self.last.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + more);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + more);
        }
        hint
    }
}

/// A channel whose requests are guarded, where there is a guard.
#[derive(Debug, Clone)]
pub struct GuardedChannel {
    pub channel: Channel,
    pub guard: Option<Guard>,
}

impl Service<http::Request<tonic::body::Body>> for GuardedChannel {
    type Response = <Channel as Service<http::Request<tonic::body::Body>>>::Response;
    type Error = <Channel as Service<http::Request<tonic::body::Body>>>::Error;
    type Future = <Channel as Service<http::Request<tonic::body::Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let request = match &self.guard {
            Some(guard) => request.map(|body| tonic::body::Body::new(guard.body(body))),
            None => request,
        };
        self.channel.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use restow_core::ExitClass;
    use restow_core::stage::{Incoming, Work};
    use restow_store::location::{self, StoreOptions};
    use restow_store::run_state::RunStateStore;

    use super::*;

    const RUN: &str = "20260101T000000Z-aaaaaaaaaa";

    async fn frames(mut body: Guarded<reqwest::Body>) -> (Vec<Bytes>, Option<String>) {
        let mut frames = Vec::new();
        loop {
            match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(frame)) => frames.extend(frame.into_data()),
                Some(Err(error)) => return (frames, Some(error.to_string())),
                None => return (frames, None),
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_never_whole_once_the_run_was_taken_over() {
        let place = location::open("memory:fence", &StoreOptions::default()).expect("a place");
        let state = RunStateStore::at(place, None);
        let incoming = Incoming { datasets: Vec::new(), artifacts: Vec::new() };
        let work = Work::new(RUN.to_owned(), RUN.parse().expect("an id"), incoming, state.clone(), Arc::default());
        let work = work.claimed(state.claim(RUN).await.expect("a claim"), None, Vec::new(), Vec::new());
        let guard = Guard::of(Some(work.fence())).await.expect("it holds").expect("a guard");
        let body = |text: &'static str| guard.body(reqwest::Body::from(text));

        let whole = body("objects");
        assert_eq!(whole.size_hint().exact(), Some(7));
        assert_eq!(frames(whole).await, (vec![Bytes::from("object"), Bytes::from("s")], None));
        assert_eq!(frames(body("x")).await, (vec![Bytes::from("x")], None));
        assert_eq!(frames(body("")).await, (Vec::new(), None));

        state.claim(RUN).await.expect("another process");
        tokio::time::sleep(Duration::from_millis(600)).await;
        let (sent, error) = frames(body("objects")).await;
        assert_eq!(sent, [Bytes::from("object")]);
        assert!(error.is_some_and(|error| error.contains("another process has taken this run over")));
        let fault = Guard::fault(Some(&guard), Fault::Refused("broken pipe".to_owned()));
        assert_eq!(fault.about("writing").class(), ExitClass::LostRace);
        assert!(matches!(Guard::of(Some(work.fence())).await, Err(Fault::Lost { .. })));
    }
}
