//! Swarm configurations: each seed brings some kinds of faults and leaves others out, so that rare mixtures come up.

use std::{fmt, time::Duration};

use rr_draw::Dice;
use rr_model::{BY_CHANCE, Chances};

/// How long what is broken stays so, at most.
const OUTAGE_MAX_MS: u64 = 6_000;

/// A kind of fault that comes now and then.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A coordinator dies at once, and another life of it begins a while later.
    CoordinatorKilled,
    /// A coordinator is stopped cleanly, and started again.
    CoordinatorStopped,
    /// A worker dies at once with what it runs; its ledger stays.
    WorkerKilled,
    /// A worker drains and ends, and is started again.
    WorkerDrained,
    /// A link breaks for a while; what is under way is lost.
    LinkCut,
    /// A link breaks and stands again at once.
    LinkBroken,
    /// A link is silent for a while and delivers everything later: a machine that sleeps, for whoever looks at it.
    LinkSilent,
    /// The server ends and comes back.
    ServerRestarted,
    /// A stream gets another leader; in a cluster.
    LeaderMoved,
    /// Most copies of a stream sleep for a while, which whoever leads it does not know; in a cluster.
    MajorityLost,
    /// A consumer gets another leader.
    ConsumerMoved,
    /// A partition's pin is taken from its holder.
    PinMoved,
    /// Everything that is delivered and not acknowledged comes again.
    Redelivered,
    /// Somebody removes a consumer.
    ConsumerRemoved,
    /// Somebody removes a stream that can be made again.
    StreamRemoved,
    /// A stream is full for a while.
    StreamFull,
    /// A machine's clock is wrong from now on.
    ClockSkewed,
    /// Somebody cancels a run.
    RunCancelled,
    /// Somebody speaks of an attempt as a worker does, without the token of its offer.
    Forged,
    /// Something turns up on a subject of a run that nobody can read or believe.
    Garbage,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::CoordinatorKilled,
        Self::CoordinatorStopped,
        Self::WorkerKilled,
        Self::WorkerDrained,
        Self::LinkCut,
        Self::LinkBroken,
        Self::LinkSilent,
        Self::ServerRestarted,
        Self::LeaderMoved,
        Self::MajorityLost,
        Self::ConsumerMoved,
        Self::PinMoved,
        Self::Redelivered,
        Self::ConsumerRemoved,
        Self::StreamRemoved,
        Self::StreamFull,
        Self::ClockSkewed,
        Self::RunCancelled,
        Self::Forged,
        Self::Garbage,
    ];

    /// Its name, under which it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CoordinatorKilled => "coordinator killed",
            Self::CoordinatorStopped => "coordinator stopped",
            Self::WorkerKilled => "worker killed",
            Self::WorkerDrained => "worker drained",
            Self::LinkCut => "link cut",
            Self::LinkBroken => "link broken",
            Self::LinkSilent => "link silent",
            Self::ServerRestarted => "server restarted",
            Self::LeaderMoved => "leader moved",
            Self::MajorityLost => "majority lost",
            Self::ConsumerMoved => "consumer moved",
            Self::PinMoved => "pin moved",
            Self::Redelivered => "redelivered early",
            Self::ConsumerRemoved => "consumer removed",
            Self::StreamRemoved => "stream removed",
            Self::StreamFull => "stream full",
            Self::ClockSkewed => "clock skewed",
            Self::RunCancelled => "run cancelled",
            Self::Forged => "forged",
            Self::Garbage => "garbage",
        }
    }

    /// Of a hundred seeds, how many bring it. What costs much time to recover from is rarer.
    const fn percent(self) -> u64 {
        match self {
            Self::CoordinatorKilled | Self::WorkerKilled | Self::LinkCut => 35,
            Self::LinkBroken | Self::LinkSilent | Self::Redelivered | Self::PinMoved | Self::RunCancelled => 25,
            Self::CoordinatorStopped
            | Self::WorkerDrained
            | Self::ServerRestarted
            | Self::LeaderMoved
            | Self::MajorityLost
            | Self::ConsumerMoved
            | Self::ClockSkewed
            | Self::Forged => 20,
            Self::Garbage | Self::StreamFull => 16,
            Self::ConsumerRemoved => 12,
            Self::StreamRemoved => 5,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The names of everything that goes wrong, as they are counted.
pub fn names() -> impl Iterator<Item = String> {
    let of_messages = BY_CHANCE.into_iter().map(of_messages);
    Kind::ALL.into_iter().map(|kind| kind.name().to_owned()).chain(of_messages)
}

/// The name under which the model's faults are counted.
pub(crate) fn of_messages(name: &str) -> String {
    format!("model: {name}")
}

/// The faults of one seed.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Kinds that come now and then.
    pub kinds: Vec<Kind>,
    /// Whether faults are aimed at moments that are worth meeting.
    pub aims: bool,
    /// The pause between two of them on average.
    pub pause: Duration,
    /// How long what is broken stays so, at most.
    pub outage_max: Duration,
    /// What goes wrong with single messages.
    pub chances: Chances,
}

impl Swarm {
    /// Draws one. Some seeds bring no fault at all: what goes wrong then is nobody's fault.
    pub fn draw(dice: &mut Dice) -> Self {
        let is_calm = dice.chance(6);
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| dice.chance(kind.percent()) && !is_calm).collect();
        let mut chance = |percent, max| if dice.chance(percent) && !is_calm { dice.roll(max) + 1 } else { 0 };
        let mut thousandths = |percent, max| u32::try_from(chance(percent, max)).unwrap_or_default();
        let chances = Chances {
            lost_publish: thousandths(25, 40),
            lost_ack: thousandths(25, 40),
            late_answer: thousandths(25, 60),
            lost_said: thousandths(25, 60),
            lost_request: thousandths(20, 30),
            early_redelivery: thousandths(30, 150),
            stale_read: thousandths(40, 300),
            late_by: Duration::ZERO,
        };
        let chances = Chances { late_by: Duration::from_millis(dice.between(5, 3_000)), ..chances };
        Self {
            kinds,
            aims: dice.chance(50),
            pause: Duration::from_millis(dice.between(100, 2_500)),
            outage_max: Duration::from_millis(dice.between(50, OUTAGE_MAX_MS)),
            chances,
        }
    }

    /// The same with links that are silent for long: whoever wants the hosts of a worker that is away gets them, and the
    /// worker may come back in that moment.
    #[must_use]
    pub fn with_silences(mut self) -> Self {
        /// As often as so many other kinds.
        const SILENCES: usize = 6;
        if !self.kinds.is_empty() {
            self.kinds.extend([Kind::LinkSilent; SILENCES]);
        }
        Self { aims: true, outage_max: Duration::from_millis(OUTAGE_MAX_MS), ..self }
    }
}
