//! Everything there is, and what happens next. Nothing here waits, and nothing here knows tokio's clock: whoever drives it says
//! how late it is.

mod clients;
mod faults;

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use rr_nats::transport::{HeaderMap, Outgoing, StatusCode};
use tokio::sync::oneshot;

use crate::{
    config::{ModelConfig, Servers},
    fault::{Chances, Counts},
    jet::{Jet, Said, Turn},
    journal::Journal,
    link::{Arrival, Connection, Packet},
    router::{ClientId, Router},
    subject::{is_routable, matches},
};

/// The version whose answers these are.
const VERSION: &str = "2.15.1";

/// What happens at a certain time.
#[derive(Debug)]
pub(crate) enum Due {
    /// A packet arrives at the server, if the connection is still the one it was sent on.
    Up(ClientId, u64, Packet),
    /// Something arrives at a client.
    Down(ClientId, u64, Arrival),
    /// A client tries to connect again.
    Reconnect(ClientId),
    /// The servers are there again, which died at this time.
    Start(u64),
    /// An answer that was held back.
    Said(Said),
    /// Something in a stream is due.
    Stream(String),
    /// Whoever leads a stream gives up; nobody leads it for so long.
    Unled(String, Duration),
    /// A stream has a leader again.
    Led(String),
    /// Something of a consumer is due.
    Consumer(String, String),
}

/// What became of something that was to be sent.
#[derive(Debug)]
pub(crate) enum Sent {
    Yes,
    Closed,
    /// Too much waits for the connection; told when there is room.
    NoRoom(Packet, oneshot::Receiver<()>),
}

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: ModelConfig,
    pub(crate) rng: fastrand::Rng,
    /// How late it is.
    pub(crate) time: Duration,
    queue: BTreeMap<(Duration, u64), Due>,
    serial: u64,
    pub(crate) clients: BTreeMap<ClientId, Connection>,
    names: BTreeMap<String, ClientId>,
    pub(crate) router: Router,
    pub(crate) jet: Jet,
    /// What everything was like when it was safe last.
    pub(crate) safe: Option<Jet>,
    /// Whether the servers are there.
    pub(crate) is_up: bool,
    pub(crate) counts: Counts,
    pub(crate) journal: Journal,
    chances: Chances,
    chances_of: BTreeMap<String, Chances>,
    waiting_for_room: Vec<oneshot::Sender<()>>,
}

impl World {
    pub(crate) fn new(config: ModelConfig) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(config.seed),
            jet: Jet::new(&config),
            config,
            time: Duration::ZERO,
            queue: BTreeMap::new(),
            serial: 0,
            clients: BTreeMap::new(),
            names: BTreeMap::new(),
            router: Router::default(),
            safe: None,
            is_up: true,
            counts: Counts::new(),
            journal: Journal::default(),
            chances: Chances::default(),
            chances_of: BTreeMap::new(),
            waiting_for_room: Vec::new(),
        }
    }

    /// When the next thing happens.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    /// Lets everything happen until now.
    pub(crate) fn run(&mut self, now: Duration) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((due, _), event) = entry.remove_entry();
            self.time = self.time.max(due);
            self.happen(event);
        }
        self.time = self.time.max(now);
    }

    /// Lets something happen later.
    pub(crate) fn at(&mut self, due: Duration, event: Due) {
        self.serial += 1;
        self.queue.insert((due.max(self.time), self.serial), event);
    }

    /// A span of time by chance.
    pub(crate) fn draw(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        draw(&mut self.rng, range)
    }

    fn happen(&mut self, event: Due) {
        match event {
            Due::Up(client, generation, packet) => self.arrive_up(client, generation, packet),
            Due::Down(client, generation, arrival) => self.arrive_down(client, generation, arrival),
            Due::Reconnect(client) => self.reconnect(client),
            Due::Start(died) => self.start(died),
            Due::Said(said) => self.say(&said, None),
            Due::Stream(name) => self.jet(|jet, turn| jet.stream_due(&name, turn)),
            Due::Unled(name, leaderless) => drop(self.move_leader(&name, leaderless)),
            Due::Led(name) => self.jet(|jet, turn| jet.led(&name, turn)),
            Due::Consumer(stream, name) => self.jet(|jet, turn| jet.consumer_due(&stream, &name, turn)),
        }
    }

    /// Gives `JetStream` a turn, and does what follows from it.
    pub(crate) fn jet<T>(&mut self, act: impl FnOnce(&mut Jet, &mut Turn<'_>) -> T) -> T {
        let mut turn = Turn::new(self.time, &self.config, &mut self.rng, &self.router, &mut self.counts);
        turn.watched = &self.journal.streams;
        let done = act(&mut self.jet, &mut turn);
        let Turn { said, wakes, noted, .. } = turn;
        self.journal.noted.extend(noted);
        for (due, event) in wakes {
            self.at(due, event);
        }
        for said in said {
            self.say(&said, None);
        }
        done
    }

    // What the server does.

    fn serve(&mut self, client: ClientId, packet: Packet) {
        match packet {
            Packet::Subscribe(sid, subject, group) => self.router.add(client, sid, &subject, group.as_deref()),
            Packet::Unsubscribe(sid) => self.router.remove(client, sid),
            Packet::Drain(sid) => {
                self.router.remove(client, sid);
                self.travel_down(client, Arrival::End(sid));
            }
            Packet::Flush(done) => done.send(()).unwrap_or_default(),
            Packet::Publish(message, reply) => {
                let said = Said { reply, ..Said::from(message) };
                self.say(&said, Some(client));
            }
        }
    }

    /// Hears a message that came from nobody who is known here.
    pub(crate) fn hear(&mut self, message: Outgoing) {
        if self.is_up {
            self.say(&Said::from(message), None);
        }
    }

    /// Hands a message to everybody who listens: clients, streams, and the server itself.
    pub(crate) fn say(&mut self, said: &Said, from: Option<ClientId>) {
        if !is_routable(&said.to) {
            return;
        }
        let chances = from.map(|client| self.chances_for(client)).unwrap_or_default();
        let receivers = self.router.receivers(&said.to, &mut self.rng);
        let mut is_heard = !receivers.is_empty();
        for (client, sid) in receivers {
            self.travel_down(client, Arrival::Message(sid, said.message()));
        }
        // The hole: an answer to a subject of a stream is stored there.
        if said.status.is_none() && self.jet.listens(&said.to) {
            is_heard = true;
            self.heard_by_jet(said, &chances);
        }
        if let (false, Some(reply), Some(_)) = (is_heard, &said.reply, from) {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Subject", said.subject.as_str());
            let nobody = Said::status(reply.as_str(), StatusCode::NO_RESPONDERS, "", headers);
            self.say(&nobody, None);
        }
    }

    fn heard_by_jet(&mut self, said: &Said, chances: &Chances) {
        let is_api = matches("$JS.API.>", &said.to);
        let is_said = matches("$JS.ACK.>", &said.to);
        let (never, name) = match (is_api, is_said) {
            (true, _) => (chances.lost_request, "lost_request"),
            (_, true) => (chances.lost_said, "lost_said"),
            _ => (chances.lost_publish, "lost_publish"),
        };
        if self.chance(never, name) {
            return;
        }
        let unheard = !is_api && !is_said && self.chance(chances.lost_ack, "lost_ack");
        let late = self.chance(chances.late_answer, "late_answer");
        let late = if late { self.draw(&(Duration::ZERO..=chances.late_by)) } else { Duration::ZERO };
        let reply = said.reply.clone().filter(|_| !unheard);
        let heard = Said { reply, ..said.clone() };
        let is_copied = self.config.servers == Servers::Three && matches("$JS.API.DIRECT.GET.>", &said.to);
        let is_stale = is_copied && self.chance(chances.stale_read, "stale_read");
        let behind = if is_stale { self.draw(&(Duration::ZERO..=chances.late_by)) } else { Duration::ZERO };
        let early = chances.early_redelivery;
        self.jet(|jet, turn| {
            (turn.late, turn.behind, turn.early) = (late, behind, early);
            jet.hear(&heard, turn);
        });
    }

    // Chance.

    fn chances_for(&self, client: ClientId) -> Chances {
        let own = self.clients.get(&client).and_then(|found| self.chances_of.get(&found.name));
        own.copied().unwrap_or(self.chances)
    }

    pub(crate) fn set_chances(&mut self, client: Option<&str>, chances: Chances) {
        match client {
            Some(name) => drop(self.chances_of.insert(name.to_owned(), chances)),
            None => self.chances = chances,
        }
    }

    /// Whether something goes wrong now, by this chance in a thousand.
    fn chance(&mut self, permille: u32, name: &'static str) -> bool {
        let does = permille > 0 && self.rng.u32(..1_000) < permille;
        if does {
            self.count(name);
        }
        does
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }
}

/// A span of time by chance.
pub(crate) fn draw(rng: &mut fastrand::Rng, range: &RangeInclusive<Duration>) -> Duration {
    let nanos = |span: &Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let (from, to) = (nanos(range.start()), nanos(range.end()));
    Duration::from_nanos(rng.u64(from..=to.max(from)))
}
