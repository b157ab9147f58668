//! What goes wrong when whoever drives the model says so.

use std::time::Duration;

use super::{Due, World};
use crate::{
    config::Servers,
    fault::Fault,
    jet::{Jet, Turn, nanos},
    link::State,
    router::ClientId,
};

impl World {
    /// Lets something go wrong. What cannot go wrong, for there is no such client, stream or cluster, is not counted.
    pub(crate) fn inject(&mut self, fault: &Fault) {
        let happened = match fault {
            Fault::Cut { client } => self.with(client, Self::cut),
            Fault::Break { client } => self.with(client, Self::break_off),
            Fault::Heal { client } => self.with(client, Self::heal),
            Fault::Silence { client } => self.with(client, |world, id| {
                if let Some(found) = world.clients.get_mut(&id).filter(|found| found.state == State::Connected) {
                    found.is_silent = true;
                }
            }),
            Fault::Kill { client } => self.with(client, Self::kill),
            Fault::Restart { down, loses_unsynced } => self.stop(*down, *loses_unsynced),
            Fault::Start {} => self.start_early(),
            Fault::Sync {} => {
                self.safe = Some(self.jet.clone());
                true
            }
            Fault::MoveLeader { stream, leaderless } => self.move_leader(stream, *leaderless),
            Fault::LoseMajority { stream, unaware, leaderless } => self.lose_majority(stream, *unaware, *leaderless),
            Fault::Wake { stream } => self.wake(stream),
            Fault::MoveConsumer { stream, consumer } => {
                self.config.servers == Servers::Three && self.jet(|jet, turn| jet.move_consumer(stream, consumer, turn))
            }
            Fault::MovePin { stream, consumer } => self.jet(|jet, turn| jet.move_pin(stream, consumer, turn)),
            Fault::RedeliverEarly { stream, consumer } => self.jet(|jet, turn| jet.redeliver(stream, consumer, turn)),
            Fault::RemoveConsumer { stream, consumer } => {
                self.jet(|jet, turn| jet.remove_consumer(stream, consumer, turn))
            }
            Fault::RemoveStream { stream } => self.jet(|jet, turn| jet.remove_stream(stream, turn)),
            Fault::Fill { stream } => self.jet.set_filled(stream, true),
            Fault::Drain { stream } => self.jet.set_filled(stream, false),
        };
        if happened {
            self.count(fault.name());
        }
    }

    fn with(&mut self, client: &str, act: impl FnOnce(&mut Self, ClientId)) -> bool {
        let Some(id) = self.named(client) else { return false };
        act(self, id);
        true
    }

    fn cut(&mut self, client: ClientId) {
        if let Some(found) = self.clients.get_mut(&client) {
            found.is_cut = true;
        }
        self.break_off(client);
    }

    fn heal(&mut self, client: ClientId) {
        if let Some(found) = self.clients.get_mut(&client) {
            found.is_cut = false;
        }
        self.speak(client);
        self.come_back(client);
    }

    fn stop(&mut self, down: Duration, loses_unsynced: bool) -> bool {
        if !self.is_up {
            return false;
        }
        self.is_up = false;
        self.jet.is_up = false;
        for client in self.clients.keys().copied().collect::<Vec<_>>() {
            self.break_off(client);
        }
        // What was never safe is all that there is no copy of.
        if loses_unsynced && let Some(safe) = self.safe.clone() {
            self.jet = safe;
            self.jet.is_up = false;
        }
        let died = self.jet(|_, turn| turn.now);
        self.at(self.time + down, Due::Start(died));
        true
    }

    /// The servers are there again.
    pub(super) fn start(&mut self, died: u64) {
        self.is_up = true;
        self.jet(|jet, turn| jet.restarted(died, turn));
        for client in self.clients.keys().copied().collect::<Vec<_>>() {
            self.come_back(client);
        }
    }

    fn start_early(&mut self) -> bool {
        let starts = |(key, due): (&(Duration, u64), &Due)| {
            let Due::Start(died) = due else { return None };
            Some((*key, *died))
        };
        let Some((key, died)) = self.queue.iter().find_map(starts) else { return false };
        self.queue.remove(&key);
        self.start(died);
        true
    }

    fn wake(&mut self, stream: &str) -> bool {
        let to_come = self.queue.len();
        self.queue.retain(|_, due| !matches!(due, Due::Unled(of, _) | Due::Led(of) if of == stream));
        let was_amiss = self.queue.len() < to_come;
        if was_amiss {
            self.jet(|jet, turn| jet.wake(stream, turn));
        }
        was_amiss
    }

    fn lose_majority(&mut self, stream: &str, unaware: Duration, leaderless: Duration) -> bool {
        /// Its leader gives up before that.
        const NEVER: Duration = Duration::from_hours(1);
        let asleep = |jet: &mut Jet, turn: &mut Turn<'_>| jet.lose_majority(stream, turn.now + nanos(unaware + NEVER));
        if self.config.servers != Servers::Three || !self.jet(asleep) {
            return false;
        }
        self.at(self.time + unaware, Due::Unled(stream.to_owned(), leaderless));
        true
    }

    pub(super) fn move_leader(&mut self, stream: &str, leaderless: Duration) -> bool {
        if self.config.servers != Servers::Three || !self.jet(|jet, turn| jet.lose_leader(stream, turn)) {
            return false;
        }
        self.at(self.time + leaderless, Due::Led(stream.to_owned()));
        true
    }
}
