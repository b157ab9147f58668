//! A client of the model, in place of a connection over a socket.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt as _, Stream, future::BoxFuture};
use rr_nats::transport::{
    Message, Messages, Observer, Outgoing, ServerInfo, Source, Subject, Transport, TransportError,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    link::{Packet, UNREAD_MAX},
    model::Shared,
    router::{ClientId, Sid},
    world::Sent,
};

/// A connection of a client to the model. Dropping it leaves the connection: whoever wants it gone calls
/// [`Fault::Kill`](crate::Fault::Kill) or [`Transport::drain`].
pub struct ModelClient {
    shared: Arc<Shared>,
    id: ClientId,
}

impl fmt::Debug for ModelClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelClient").field("id", &self.id).finish_non_exhaustive()
    }
}

fn closed() -> TransportError {
    TransportError::Closed("the connection is closed".to_owned())
}

impl ModelClient {
    pub(crate) fn new(shared: &Arc<Shared>, name: &str, observer: Observer) -> Self {
        let id = shared.act(|world| world.connect(name, observer));
        Self { shared: Arc::clone(shared), id }
    }

    /// Sends a packet as soon as there is room for it.
    async fn send(&self, packet: Packet) -> Result<(), TransportError> {
        let mut packet = packet;
        loop {
            let room = match self.shared.act(|world| world.send(self.id, packet)) {
                Sent::Yes => return Ok(()),
                Sent::Closed => return Err(closed()),
                Sent::NoRoom(unsent, room) => {
                    packet = unsent;
                    room
                }
            };
            // Told when the connection is made again, or closed.
            drop(room.await);
        }
    }
}

impl Transport for ModelClient {
    fn publish(&self, message: Outgoing, reply: Option<Subject>) -> BoxFuture<'_, Result<(), TransportError>> {
        async move {
            let limit = self.max_payload();
            if message.payload.len() > limit {
                return Err(TransportError::TooLarge { limit });
            }
            self.send(Packet::Publish(message, reply)).await
        }
        .boxed()
    }

    fn subscribe(&self, subject: Subject, group: Option<String>) -> BoxFuture<'_, Result<Messages, TransportError>> {
        async move {
            let (unread, messages) = mpsc::channel(UNREAD_MAX);
            let sid = self.shared.act(|world| world.subscribe(self.id, subject.as_str(), group.as_deref(), unread));
            let sid = sid.ok_or_else(closed)?;
            Ok(Messages::new(Subscription { shared: Arc::clone(&self.shared), client: self.id, sid, messages }))
        }
        .boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        async move {
            let (done, flushed) = oneshot::channel();
            self.send(Packet::Flush(done)).await?;
            flushed.await.map_err(|_| closed())
        }
        .boxed()
    }

    fn drain(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        async move { if self.shared.act(|world| world.close(self.id)) { Ok(()) } else { Err(closed()) } }.boxed()
    }

    fn is_connected(&self) -> bool {
        self.shared.act(|world| world.is_connected(self.id))
    }

    fn generation(&self) -> u64 {
        self.shared.act(|world| world.generation(self.id))
    }

    fn max_payload(&self) -> usize {
        self.shared.act(|world| world.config.max_payload)
    }

    fn server(&self) -> ServerInfo {
        self.shared.act(|world| world.server_info())
    }
}

/// A subscription.
struct Subscription {
    shared: Arc<Shared>,
    client: ClientId,
    sid: Sid,
    messages: mpsc::Receiver<Message>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("client", &self.client).field("sid", &self.sid).finish_non_exhaustive()
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.messages.poll_recv(context)
    }
}

impl Source for Subscription {
    fn unsubscribe(&mut self) -> BoxFuture<'_, Result<(), TransportError>> {
        let (client, sid) = (self.client, self.sid);
        std::future::ready(if self.shared.act(|world| world.unsubscribe(client, sid)) { Ok(()) } else { Err(closed()) })
            .boxed()
    }

    fn drain(&mut self) -> BoxFuture<'_, Result<(), TransportError>> {
        let (client, sid) = (self.client, self.sid);
        let drained = self.shared.act(|world| world.drain_subscription(client, sid));
        std::future::ready(if drained { Ok(()) } else { Err(closed()) }).boxed()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.act(|world| world.unsubscribe(self.client, self.sid));
    }
}
