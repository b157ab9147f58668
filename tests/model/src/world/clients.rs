//! What clients do, and what becomes of their connections.

use rr_nats::transport::{Message, Observer, ServerInfo};
use tokio::sync::{mpsc, oneshot};

use super::{Due, Sent, VERSION, World};
use crate::{
    config::Servers,
    link::{Arrival, Connection, Packet, State, Subscribed, UNSENT_MAX},
    router::{ClientId, Sid},
};

impl World {
    pub(crate) fn connect(&mut self, name: &str, observer: Observer) -> ClientId {
        if let Some(before) = self.names.get(name).copied() {
            self.kill(before);
        }
        let id = u64::try_from(self.clients.len()).unwrap_or_default();
        self.clients.insert(id, Connection::new(name, observer));
        self.names.insert(name.to_owned(), id);
        if !self.is_up {
            self.break_off(id);
        }
        id
    }

    pub(crate) fn named(&self, name: &str) -> Option<ClientId> {
        self.names.get(name).copied()
    }

    pub(crate) fn is_connected(&self, client: ClientId) -> bool {
        self.clients.get(&client).is_some_and(|found| found.state == State::Connected)
    }

    pub(crate) fn generation(&self, client: ClientId) -> u64 {
        self.clients.get(&client).map_or(0, |found| found.generation)
    }

    pub(crate) fn server_info(&self) -> ServerInfo {
        ServerInfo { version: VERSION.to_owned(), is_clustered: self.config.servers == Servers::Three }
    }

    pub(crate) fn send(&mut self, client: ClientId, packet: Packet) -> Sent {
        let Some(found) = self.clients.get_mut(&client) else { return Sent::Closed };
        match found.state {
            State::Closed => Sent::Closed,
            State::Broken if found.unsent.len() >= UNSENT_MAX => {
                let (sender, room) = oneshot::channel();
                self.waiting_for_room.push(sender);
                Sent::NoRoom(packet, room)
            }
            State::Broken => {
                found.unsent.push_back(packet);
                Sent::Yes
            }
            State::Connected => {
                if let Packet::Flush(done) = packet {
                    done.send(()).unwrap_or_default();
                } else {
                    self.travel_up(client, packet);
                }
                Sent::Yes
            }
        }
    }

    pub(crate) fn subscribe(
        &mut self,
        client: ClientId,
        subject: &str,
        group: Option<&str>,
        unread: mpsc::Sender<Message>,
    ) -> Option<Sid> {
        let found = self.clients.get_mut(&client).filter(|found| found.state != State::Closed)?;
        let sid = found.next_sid;
        found.next_sid += 1;
        let (subject, group) = (subject.to_owned(), group.map(str::to_owned));
        found.subscribed.insert(sid, Subscribed { subject: subject.clone(), group: group.clone(), unread });
        // One that is made while there is no connection comes with all others when it is made again.
        if found.state == State::Connected {
            self.travel_up(client, Packet::Subscribe(sid, subject, group));
        }
        Some(sid)
    }

    pub(crate) fn unsubscribe(&mut self, client: ClientId, sid: Sid) -> bool {
        let Some(found) = self.clients.get_mut(&client) else { return false };
        let was_there = found.subscribed.remove(&sid).is_some();
        if was_there && found.state == State::Connected {
            self.travel_up(client, Packet::Unsubscribe(sid));
        }
        was_there
    }

    pub(crate) fn drain_subscription(&mut self, client: ClientId, sid: Sid) -> bool {
        !matches!(self.send(client, Packet::Drain(sid)), Sent::Closed)
    }

    /// Ends a connection after everything that was sent has arrived.
    pub(crate) fn close(&mut self, client: ClientId) -> bool {
        let Some(found) = self.clients.get_mut(&client) else { return false };
        let was_open = found.state != State::Closed;
        found.close();
        found.observer.disconnected();
        self.router.remove_client(client);
        self.make_room();
        was_open
    }

    /// A connection is gone, with everything on its way.
    pub(crate) fn break_off(&mut self, client: ClientId) {
        let Some(found) = self.clients.get_mut(&client).filter(|found| found.state == State::Connected) else { return };
        found.state = State::Broken;
        found.lose_all();
        found.observer.disconnected();
        self.router.remove_client(client);
        self.come_back(client);
    }

    /// Tries to connect, soon, where that can be.
    pub(crate) fn come_back(&mut self, client: ClientId) {
        let can = self.clients.get(&client).is_some_and(|found| found.state == State::Broken && !found.is_cut);
        if can && self.is_up {
            let pause = self.draw(&self.config.reconnect.clone());
            self.at(self.time + pause, Due::Reconnect(client));
        }
    }

    pub(super) fn reconnect(&mut self, client: ClientId) {
        let Some(found) = self.clients.get_mut(&client) else { return };
        if found.state != State::Broken || found.is_cut || !self.is_up {
            return;
        }
        found.state = State::Connected;
        found.generation += 1;
        for (sid, Subscribed { subject, group, .. }) in &found.subscribed {
            self.router.add(client, *sid, subject, group.as_deref());
        }
        let unsent = std::mem::take(&mut found.unsent);
        found.observer.connected();
        for packet in unsent {
            drop(self.send(client, packet));
        }
        self.make_room();
    }

    fn make_room(&mut self) {
        for waiting in self.waiting_for_room.drain(..) {
            // Who has given up meanwhile needs no room.
            waiting.send(()).unwrap_or_default();
        }
    }

    /// A client ends without a word.
    pub(crate) fn kill(&mut self, client: ClientId) {
        if let Some(found) = self.clients.get_mut(&client) {
            found.generation += 1;
            found.lose_all();
        }
        self.close(client);
    }

    pub(super) fn travel_up(&mut self, client: ClientId, packet: Packet) {
        let delay = self.draw(&self.config.delay.clone());
        let Some(found) = self.clients.get_mut(&client) else { return };
        found.up = found.up.max(self.time + delay);
        let (due, generation) = (found.up, found.generation);
        self.at(due, Due::Up(client, generation, packet));
    }

    pub(super) fn travel_down(&mut self, client: ClientId, arrival: Arrival) {
        let delay = self.draw(&self.config.delay.clone());
        let Some(found) = self.clients.get_mut(&client) else { return };
        found.down = found.down.max(self.time + delay);
        let (due, generation) = (found.down, found.generation);
        self.at(due, Due::Down(client, generation, arrival));
    }

    /// The connection on which something travels, if it is still the same.
    fn still(&mut self, client: ClientId, generation: u64) -> Option<&mut Connection> {
        let found = self.clients.get_mut(&client)?;
        (found.generation == generation && found.state != State::Broken).then_some(found)
    }

    pub(super) fn arrive_up(&mut self, client: ClientId, generation: u64, packet: Packet) {
        let Some(found) = self.still(client, generation) else { return };
        if found.is_silent {
            found.held_up.push_back(packet);
        } else {
            self.serve(client, packet);
        }
    }

    pub(super) fn arrive_down(&mut self, client: ClientId, generation: u64, arrival: Arrival) {
        let Some(found) = self.still(client, generation) else { return };
        if found.is_silent {
            found.held_down.push_back(arrival);
        } else if !found.arrive(arrival) {
            self.count("slow_consumer");
        }
    }

    /// What was held comes now.
    pub(crate) fn speak(&mut self, client: ClientId) {
        let Some(found) = self.clients.get_mut(&client).filter(|found| found.is_silent) else { return };
        found.is_silent = false;
        let (up, down) = (std::mem::take(&mut found.held_up), std::mem::take(&mut found.held_down));
        for arrival in down {
            self.travel_down(client, arrival);
        }
        for packet in up {
            self.travel_up(client, packet);
        }
    }
}
