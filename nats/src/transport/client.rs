//! A connection of the NATS client.

use std::sync::atomic::Ordering;

use async_nats::{Client, Subject, Subscriber, client::PublishErrorKind, connection::State};
use futures::{FutureExt as _, future::BoxFuture};

use super::{Messages, Outgoing, ServerInfo, Source, Transport, TransportError};

fn closed(error: &impl ToString) -> TransportError {
    TransportError::Closed(error.to_string())
}

impl Transport for Client {
    fn publish(&self, message: Outgoing, reply: Option<Subject>) -> BoxFuture<'_, Result<(), TransportError>> {
        let Outgoing { subject, headers, payload } = message;
        async move {
            let sent = match (reply, headers) {
                (None, None) => self.publish(subject, payload).await,
                (None, Some(headers)) => self.publish_with_headers(subject, headers, payload).await,
                (Some(reply), None) => self.publish_with_reply(subject, reply, payload).await,
                (Some(reply), Some(headers)) => {
                    self.publish_with_reply_and_headers(subject, reply, headers, payload).await
                }
            };
            sent.map_err(|error| match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => TransportError::TooLarge { limit: self.max_payload() },
                // Subjects come from `subject.rs` alone, so they are valid.
                PublishErrorKind::InvalidSubject | PublishErrorKind::Send => closed(&error),
            })
        }
        .boxed()
    }

    fn subscribe(&self, subject: Subject, group: Option<String>) -> BoxFuture<'_, Result<Messages, TransportError>> {
        async move {
            let subscribed = match group {
                Some(group) => self.queue_subscribe(subject, group).await,
                None => self.subscribe(subject).await,
            };
            subscribed.map(Messages::new).map_err(|error| closed(&error))
        }
        .boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        async move { self.flush().await.map_err(|error| closed(&error)) }.boxed()
    }

    fn drain(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        async move { self.drain().await.map_err(|error| closed(&error)) }.boxed()
    }

    fn is_connected(&self) -> bool {
        self.connection_state() == State::Connected
    }

    fn generation(&self) -> u64 {
        self.statistics().connects.load(Ordering::Relaxed)
    }

    fn max_payload(&self) -> usize {
        self.max_payload()
    }

    fn server(&self) -> ServerInfo {
        let info = self.server_info();
        ServerInfo { version: info.version, is_clustered: info.cluster.is_some_and(|name| !name.is_empty()) }
    }
}

impl Source for Subscriber {
    fn unsubscribe(&mut self) -> BoxFuture<'_, Result<(), TransportError>> {
        async move { self.unsubscribe().await.map_err(|error| closed(&error)) }.boxed()
    }

    fn drain(&mut self) -> BoxFuture<'_, Result<(), TransportError>> {
        async move { self.drain().await.map_err(|error| closed(&error)) }.boxed()
    }
}
