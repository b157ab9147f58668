//! Faults of servers and of links to them: which stream, which consumer.

use std::time::Duration;

use rr_model::{Fault, Servers};
use rr_nats::subject;
use rr_schemas::flow::Priority;
use tokio::time::{Instant, sleep};

use super::{Chaos, Repair};
use crate::swarm::Kind;

/// Streams that coordinators make again when somebody removes them. The bucket of locks is not among them: whoever removes it
/// takes the locks away.
const REMOVABLE: [&str; 5] = [subject::WORK, subject::TIMERS, subject::OUTPUT, "KV_rr-runs", "KV_rr-workers"];
/// Streams that may be full for a while. That of the locks matters to few flows, and is full more often; so is the log, of which everything waits.
const FILLABLE: [&str; 8] = [
    subject::EVENTS,
    subject::EVENTS,
    subject::WORK,
    "KV_rr-runs",
    "KV_rr-workers",
    "KV_rr-locks",
    "KV_rr-locks",
    "KV_rr-locks",
];
/// Streams that have a leader.
const LED: [&str; 6] = [subject::EVENTS, subject::WORK, subject::TIMERS, "KV_rr-runs", "KV_rr-workers", "KV_rr-locks"];
/// How long the log is full where coordinators are to give inputs back: they try for 3.5 s.
const GIVES_BACK_MS: (u64, u64) = (4_000, 9_000);
/// How long a leader is alone where publishes are to be tried again meanwhile: their answers are waited for 5 s.
const ASKS_AGAIN_MS: (u64, u64) = (5_300, 8_000);
/// How long whoever moves a leader waits for a stream whose copies have something to agree on.
const DISAGREE_WITHIN: Duration = Duration::from_millis(100);

impl Chaos {
    /// Lets the log be full for so long that coordinators give back what they were to answer, where somebody has just asked for a run: of
    /// that nothing else may be heard.
    pub(super) fn fill_log(&mut self) -> bool {
        let fills = self.aims_at_asked && self.swarm.kinds.contains(&Kind::StreamFull) && self.dice.chance(80);
        if fills {
            let until = Instant::now() + self.for_long();
            self.mend_at(until, Repair::Empty(subject::EVENTS));
            self.site.model.inject(&Fault::Fill { stream: subject::EVENTS.to_owned() });
            *self.counts.entry(Kind::StreamFull).or_default() += 1;
        }
        fills
    }

    /// For how long coordinators do not go on trying.
    fn for_long(&mut self) -> Duration {
        Duration::from_millis(self.dice.between(GIVES_BACK_MS.0, GIVES_BACK_MS.1))
    }

    /// How long a leader does not know that it has lost the others. Sometimes for so long that who publishes asks again meanwhile, and
    /// meets what was never agreed on.
    fn unaware(&mut self) -> Duration {
        if self.dice.chance(25) {
            return Duration::from_millis(self.dice.between(ASKS_AGAIN_MS.0, ASKS_AGAIN_MS.1));
        }
        self.outage()
    }

    /// A fault of a link, or of the servers.
    pub(super) fn fault(&mut self, kind: Kind) -> Option<Fault> {
        match kind {
            Kind::LinkBroken => {
                let index = self.one_of(|machine| machine.is_working() && !machine.is_cut)?;
                Some(Fault::Break { client: self.machines.get(index)?.name.clone() })
            }
            Kind::ServerRestarted => {
                Some(Fault::Restart { down: self.outage().min(Duration::from_secs(3)), loses_unsynced: false })
            }
            Kind::MajorityLost if self.servers == Servers::Three => {
                let stream = (*self.dice.pick(&LED)?).to_owned();
                let leaderless = self.outage().min(Duration::from_secs(1));
                Some(Fault::LoseMajority { stream, unaware: self.unaware(), leaderless })
            }
            Kind::ConsumerMoved if self.servers == Servers::Three => {
                let (stream, consumer) = self.consumer();
                Some(Fault::MoveConsumer { stream, consumer })
            }
            Kind::PinMoved => {
                let (stream, consumer) = self.partition();
                Some(Fault::MovePin { stream, consumer })
            }
            Kind::Redelivered => {
                let (stream, consumer) = self.consumer();
                Some(Fault::RedeliverEarly { stream, consumer })
            }
            Kind::ConsumerRemoved => {
                let (stream, consumer) = self.consumer();
                Some(Fault::RemoveConsumer { stream, consumer })
            }
            Kind::StreamRemoved => {
                let stream = (*self.dice.pick(&REMOVABLE)?).to_owned();
                Some(Fault::RemoveStream { stream })
            }
            Kind::StreamFull => {
                let stream = *self.dice.pick(&FILLABLE)?;
                let span =
                    if stream == subject::EVENTS && self.dice.chance(50) { self.for_long() } else { self.outage() };
                self.mend_at(Instant::now() + span, Repair::Empty(stream));
                Some(Fault::Fill { stream: stream.to_owned() })
            }
            // A single server has no leaders, and the others are no faults of servers.
            Kind::LeaderMoved
            | Kind::MajorityLost
            | Kind::ConsumerMoved
            | Kind::CoordinatorKilled
            | Kind::CoordinatorStopped
            | Kind::WorkerKilled
            | Kind::WorkerDrained
            | Kind::LinkCut
            | Kind::LinkSilent
            | Kind::ClockSkewed
            | Kind::RunCancelled
            | Kind::Forged
            | Kind::Garbage => None,
        }
    }

    /// Of a stream whose copies have something to agree on, mostly: that is a matter of moments.
    pub(super) async fn move_leader(&mut self) -> Option<()> {
        if self.servers != Servers::Three {
            return None;
        }
        let any = (*self.dice.pick(&LED)?).to_owned();
        let stream = if self.dice.chance(25) { None } else { self.disagreeing().await };
        let leaderless = self.outage().min(Duration::from_secs(3));
        self.site.model.inject(&Fault::MoveLeader { stream: stream.unwrap_or(any), leaderless });
        Some(())
    }

    async fn disagreeing(&mut self) -> Option<String> {
        let until = Instant::now() + DISAGREE_WITHIN;
        while Instant::now() < until {
            let mut streams = self.site.model.disagreeing();
            streams.retain(|stream| LED.contains(&stream.as_str()));
            if let Some(stream) = self.dice.pick(&streams) {
                return Some(stream.clone());
            }
            sleep(Duration::from_millis(1)).await;
        }
        None
    }

    /// The servers are there, and every stream has a leader that the others hear.
    pub(super) fn mend_servers(&self) {
        self.site.model.inject(&Fault::Start {});
        for stream in LED {
            self.site.model.inject(&Fault::Wake { stream: stream.to_owned() });
        }
    }

    fn partition(&mut self) -> (String, String) {
        let partition = self.dice.roll(u64::from(self.partitions));
        let partition = rr_schemas::id::Partition(u16::try_from(partition).unwrap_or_default());
        (subject::EVENTS.to_owned(), subject::partition_durable(partition))
    }

    /// A consumer that lasts.
    fn consumer(&mut self) -> (String, String) {
        match self.dice.roll(4) {
            0 => self.partition(),
            1 => (subject::TIMERS.to_owned(), subject::TIMERS_DURABLE.to_owned()),
            2 => {
                let worker = self.one_of(|machine| !machine.is_coordinator());
                let name = worker.and_then(|index| self.machines.get(index)?.name.parse().ok());
                let durable = name.map_or_else(String::new, |name| subject::host_durable(&name));
                (subject::WORK.to_owned(), durable)
            }
            _ => {
                let queue = self.dice.pick(&["default", "q1", "q2"]).and_then(|queue| queue.parse().ok());
                let priority = self.dice.pick(&Priority::ALL).copied().unwrap_or_default();
                let durable = queue.map_or_else(String::new, |queue| subject::queue_durable(&queue, priority));
                (subject::WORK.to_owned(), durable)
            }
        }
    }
}
