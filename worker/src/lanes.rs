//! The lanes that offers come from: the worker's own, and for each of its queues one of each priority.

use std::collections::VecDeque;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt as _;
use rr_nats::{Error, Lane, Mesh, OfferMsg, PullConfig, PullError};
use tokio::time::Instant;

use self::shares::{Ask, How, Shares};

mod shares;

/// How long an idle worker's pull waits: a thousand of them, each with one queue, cost two hundred requests a second.
const EXPIRES: Duration = Duration::from_secs(20);

/// How long pulls wait for more where something came just now: as long at most may they hold slots that another lane needs.
const EXPIRES_SOON: Duration = Duration::from_millis(250);

/// How often the server shows that it still knows a long pull.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Pause before a lane is asked again that does not answer.
const PAUSE: Duration = Duration::from_millis(250);

/// After which time without an answer a lane is taken for gone: somebody has removed it, or a server that was set up anew
/// does not know it. A cluster that has lost a server elects a new leader within 8 s; to join again does no harm then.
const ABSENT_MAX: Duration = Duration::from_secs(3);

/// Pause before a lane is asked again that refuses.
const PAUSE_REFUSED: Duration = Duration::from_secs(5);

/// Durable consumers that share one weight; the first of them goes first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LaneGroup {
    pub(crate) durables: Vec<String>,
    pub(crate) weight: u32,
}

/// What comes out of the lanes.
#[derive(Debug)]
pub(crate) enum FromLanes {
    /// An offer, in whatever state.
    Offer(Box<OfferMsg>),
    /// Nothing; there may be something to ask for.
    Look,
    /// A consumer is not there any more: join again.
    Gone,
    /// The connection is closed for good.
    Closed,
}

/// All lanes of a worker.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    open: Vec<Lane>,
    shares: Shares,
    /// Since when a lane has not answered.
    absent: Vec<Option<Instant>>,
    /// When a closed share is opened again.
    pauses: VecDeque<(Instant, usize)>,
    /// Where the next look begins, so that no lane is always last.
    first: usize,
}

impl Lanes {
    /// Opens the lanes; asks for nothing yet.
    ///
    /// # Errors
    /// Those of [`Mesh::open_lane`].
    pub(crate) async fn open(mesh: &Mesh, groups: &[LaneGroup]) -> Result<Self, Error> {
        let config = PullConfig { expires: EXPIRES, heartbeat: HEARTBEAT, ..PullConfig::default() };
        let mut lanes = Self::default();
        for group in groups {
            for durable in &group.durables {
                lanes.open.push(mesh.open_lane(durable, config).await?);
                lanes.absent.push(None);
            }
            lanes.shares.add(group.weight, group.durables.len());
        }
        Ok(lanes)
    }

    /// Takes the place of `old`, and goes on with those of its lanes that stay. The server may still fill what was asked for
    /// there, though nobody can say so: an offer that it sends to a lane which is not there any more comes again only after
    /// its `ack_wait`.
    pub(crate) fn in_place_of(mut self, old: Self) -> Self {
        for mut kept in old.open {
            if let Some(lane) = self.open.iter_mut().find(|lane| lane.durable() == kept.durable()) {
                kept.forget();
                *lane = kept;
            }
        }
        self
    }

    /// Asks for offers, so that there are slots for them; what may come beyond that is one for each lane.
    pub(crate) async fn ask(&mut self, free: usize, capacity: usize, now: Instant) {
        let outstanding: Vec<usize> = self.open.iter().map(Lane::outstanding).collect();
        for Ask { lane: index, offers, how } in self.shares.share_out(&outstanding, free, capacity, now) {
            let Some(lane) = self.open.get_mut(index) else { continue };
            let asked = match how {
                How::Now => lane.request_now(offers).await,
                How::Soon => lane.request_for(offers, EXPIRES_SOON).await,
                How::Long => lane.request(offers).await,
            };
            if let Err(error) = asked {
                self.trouble(index, &error, now);
            }
        }
    }

    /// Asks for nothing any more. What is on its way still comes.
    pub(crate) async fn close(&mut self) {
        for lane in &mut self.open {
            lane.close().await;
        }
    }

    /// Offers that were asked for, and may come.
    pub(crate) fn outstanding(&self) -> usize {
        self.open.iter().map(Lane::outstanding).sum()
    }

    /// When there is something to ask for, or something to learn, though nothing happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        let pauses = self.pauses.iter().map(|(until, _)| *until);
        pauses.chain(self.open.iter().filter_map(Lane::due)).min()
    }

    /// What comes next. Pending for ever while nothing was asked for. Safe to drop.
    pub(crate) async fn next(&mut self) -> FromLanes {
        let (index, result) = std::future::poll_fn(|context| {
            let count = self.open.len();
            for step in 0..count {
                let index = (self.first + step) % count;
                let Some(lane) = self.open.get_mut(index) else { continue };
                if let Poll::Ready(result) = pin!(lane.next()).poll(context) {
                    self.first = index;
                    return Poll::Ready((index, result));
                }
            }
            Poll::Pending
        })
        .await;
        if let (Ok(_), Some(absent)) = (&result, self.absent.get_mut(index)) {
            *absent = None;
        }
        match result {
            Ok(Some(offer)) => {
                self.shares.delivered(index, offer.pending, Instant::now());
                FromLanes::Offer(Box::new(offer))
            }
            Ok(None) => {
                self.first = index + 1;
                self.shares.unfilled(index, Instant::now());
                FromLanes::Look
            }
            Err(error) => self.trouble(index, &error, Instant::now()),
        }
    }

    /// What is there already, without waiting.
    pub(crate) fn now(&mut self) -> Option<FromLanes> {
        self.next().now_or_never()
    }

    fn trouble(&mut self, index: usize, error: &PullError, now: Instant) -> FromLanes {
        let mut is_gone = false;
        let pause = match error {
            PullError::Gone => return FromLanes::Gone,
            PullError::Closed => return FromLanes::Closed,
            PullError::NoResponders => {
                is_gone = self.is_absent(index, now);
                PAUSE
            }
            PullError::Denied { .. } | PullError::Refused(_) => {
                tracing::error!(%error, "cannot pull offers");
                PAUSE_REFUSED
            }
        };
        self.shares.unfilled(index, now);
        self.shares.close(index);
        self.pauses.push_back((now + pause, index));
        if is_gone { FromLanes::Gone } else { FromLanes::Look }
    }

    /// Whether a lane that does not answer has not done so for long.
    fn is_absent(&mut self, index: usize, now: Instant) -> bool {
        self.absent.get_mut(index).is_some_and(|absent| now - *absent.get_or_insert(now) >= ABSENT_MAX)
    }

    /// Lets lanes be asked again whose pause is over.
    pub(crate) fn reopen(&mut self, now: Instant) {
        let mut over = Vec::new();
        self.pauses.retain(|(until, index)| {
            let is_over = *until <= now;
            if is_over {
                over.push(*index);
            }
            !is_over
        });
        for index in over {
            self.shares.open(index);
        }
    }
}
