//! Offers: how attempts reach workers.
//!
//! An offer is made once however often it is published: the server refuses a second message on its subject while the
//! first waits, and remembers its id for a while after it was acknowledged. Both refusals mean that it is made.

use std::collections::{BTreeMap, BTreeSet};

use rr_schemas::{
    codec::{Envelope, Format, JSON},
    id::{EntityId, RunId},
    offer::{Offer, Target},
    presence::Hosts,
};
use serde::{Deserialize, Serialize};

use crate::{
    ack::Ack,
    direct::{Which, read_leader},
    error::{Error, PublishError},
    input::{unencodable, wrap},
    link::{DEADLINE, DEADLINE_LONG, Link, expecting, json_message, typed},
    mesh::Mesh,
    pull::Pulled,
    purge,
    raw::RawMessage,
    subject::{self, OfferSubject, PurgeFilter, header},
};

/// How often earlier offers of an attempt are taken away before a later one is not made: each of them is there once.
const EARLIER_MAX: u32 = 4;

/// What stood in the way of an offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Earlier {
    /// An earlier one, which is not there any more.
    Gone,
    /// No earlier one: this very offer, or a later one.
    None,
}

/// An offer as a worker gets it.
#[derive(Clone, Debug)]
pub struct OfferMsg {
    /// The offer, or why it must not be run: such a one goes to the quarantine and is acknowledged.
    pub offer: Result<Offer, String>,
    /// Acknowledges it.
    pub ack: Ack,
    /// How many times it was delivered, from 1.
    pub delivered: u64,
    /// Offers that waited in its lane when it came.
    pub pending: u64,
    /// The message.
    pub raw: RawMessage,
}

impl OfferMsg {
    pub(crate) fn read(pulled: Pulled) -> Self {
        let Pulled { raw, ack, delivered, pending, .. } = pulled;
        Self { offer: believe(&raw), ack, delivered, pending, raw }
    }
}

/// An offer must say what its subject says.
pub(crate) fn believe(raw: &RawMessage) -> Result<Offer, String> {
    let Some(parsed) = OfferSubject::parse(&raw.subject) else { return Err("no offer has such a subject".to_owned()) };
    let Envelope { from, to, body: offer, .. } = raw.envelope::<Offer>()?;
    let said =
        OfferSubject { target: offer.target.clone(), priority: offer.priority, run: offer.run.clone(), ..parsed };
    let is_same = parsed == said
        && offer.task == parsed.task
        && offer.attempt == parsed.attempt
        && to == EntityId::from(&offer.run)
        && from.starts_with("coordinator:");
    if is_same { Ok(offer) } else { Err("says another thing than its subject".to_owned()) }
}

impl Mesh {
    /// Makes an offer, if it is not made already. An earlier offer of the attempt that is still there gives way.
    ///
    /// # Errors
    /// [`PublishError`]; [`PublishError::Conflict`] only when earlier ones keep appearing.
    pub async fn offer(&self, offer: &Offer) -> Result<(), PublishError> {
        for _ in 0..EARLIER_MAX {
            match self.publish_offer(offer).await {
                // Whoever has given the earlier one back acknowledges it only after that is known.
                Err(PublishError::Conflict) if offer.offer > 1 => {
                    if self.take_earlier_away(offer).await? == Earlier::None {
                        return Ok(());
                    }
                }
                Ok(()) | Err(PublishError::Conflict) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(PublishError::Conflict)
    }

    async fn publish_offer(&self, offer: &Offer) -> Result<(), PublishError> {
        let Offer { run, task, attempt, offer: number, target, priority, .. } = offer;
        let body = wrap(Format::Json, "coordinator:offer", &EntityId::from(run), offer)
            .map_err(|error| unencodable(&error))?;
        let mut headers = typed(JSON);
        headers.insert(header::MSG_ID, subject::offer_id(run, *task, *attempt, *number));
        expecting(&mut headers, 0, None);
        let subject = subject::offer(target, *priority, run, *task, *attempt);
        self.link().publish(json_message(subject, headers, body)).await.map(drop)
    }

    /// Takes away what stands on an offer's subject, unless it is this offer or a later one.
    async fn take_earlier_away(&self, offer: &Offer) -> Result<Earlier, PublishError> {
        let Offer { run, task, attempt, target, priority, .. } = offer;
        let subject = subject::offer(target, *priority, run, *task, *attempt);
        let unknown = |error: Error| PublishError::Unknown(error.to_string());
        let which = Which::Last { last_by_subj: &subject };
        let Some(found) = read_leader(self.link(), subject::WORK, which).await.map_err(unknown)? else {
            return Ok(Earlier::Gone);
        };
        let number = believe(&found).map(|found| found.offer);
        if number.is_ok_and(|number| number >= offer.offer) {
            return Ok(Earlier::None);
        }
        match delete_message(self.link(), subject::WORK, found.seq).await {
            // Refused, it is gone already; what is still there is found again.
            Ok(()) | Err(Error::NotFound { .. } | Error::Refused { .. }) => Ok(Earlier::Gone),
            Err(error) => Err(unknown(error)),
        }
    }

    /// The runs that have an offer to one of these hosts now, delivered or not.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn offering(&self, hosts: &Hosts) -> Result<BTreeSet<RunId>, Error> {
        let is_meant = |target: &Target| match (target, hosts) {
            (Target::Host(_), Hosts::All) => true,
            (Target::Host(host), Hosts::Only(hosts)) => hosts.contains(host),
            (Target::Host(_) | Target::Queue(_) | Target::Worker(_), _) => false,
        };
        let found = subjects(self.link(), subject::WORK, subject::ALL_HOSTS).await?;
        let offers = found.iter().filter_map(|subject| OfferSubject::parse(subject));
        Ok(offers.filter(|offer| is_meant(&offer.target)).map(|offer| offer.run).collect())
    }

    /// Task and attempt of every offer of a run that exists now, delivered or not.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn offers(&self, run: &RunId) -> Result<BTreeSet<(u32, u32)>, Error> {
        let mut found = BTreeSet::new();
        for filter in PurgeFilter::offers(run) {
            for subject in subjects(self.link(), subject::WORK, filter.as_str()).await? {
                found.extend(OfferSubject::parse(&subject).map(|offer| (offer.task, offer.attempt)));
            }
        }
        Ok(found)
    }

    /// Takes one offer back, whether or not a worker has it. Its attempt is over: no other offer of it follows, unless the log loses
    /// its end; one that does may be taken back with it, and is made once more when its run looks.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn withdraw(&self, run: &RunId, task: u32, attempt: u32, target: &Target) -> Result<(), Error> {
        purge::over(self.link(), subject::WORK, &PurgeFilter::offer(target, run, task, attempt)).await.map(|_| ())
    }

    /// Takes back every offer of a run that is over, or ends, and says how many there were.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn withdraw_run(&self, run: &RunId) -> Result<u64, Error> {
        let mut withdrawn = 0;
        for filter in PurgeFilter::offers(run) {
            withdrawn += purge::over(self.link(), subject::WORK, &filter).await?;
        }
        Ok(withdrawn)
    }
}

/// Every subject of a stream that matches a filter, page by page.
pub(crate) async fn subjects(link: &Link, stream: &str, filter: &str) -> Result<BTreeSet<String>, Error> {
    let mut found = BTreeSet::new();
    let mut offset = 0;
    loop {
        let (page, total) = subjects_page(link, stream, filter, offset).await?;
        offset += page.len();
        let is_last = page.is_empty() || offset >= total;
        found.extend(page);
        if is_last {
            return Ok(found);
        }
    }
}

/// The subjects of a stream that match a filter, behind the first `offset` of them: as many as the server tells at once, a
/// hundred thousand; and how many there are.
pub(crate) async fn subjects_page(
    link: &Link,
    stream: &str,
    filter: &str,
    offset: usize,
) -> Result<(Vec<String>, usize), Error> {
    #[derive(Serialize)]
    struct Request<'a> {
        subjects_filter: &'a str,
        offset: usize,
    }
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        total: usize,
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        subjects: Option<BTreeMap<String, u64>>,
    }
    let request = Request { subjects_filter: filter, offset };
    let info: Info = link.api(&format!("STREAM.INFO.{stream}"), &request, DEADLINE_LONG).await?;
    Ok((info.state.subjects.unwrap_or_default().into_keys().collect(), info.total))
}

/// Removes one message.
async fn delete_message(link: &Link, stream: &str, seq: u64) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Request {
        seq: u64,
        no_erase: bool,
    }
    #[derive(Deserialize)]
    struct Deleted {}
    let request = Request { seq, no_erase: true };
    link.api::<Deleted>(&format!("STREAM.MSG.DELETE.{stream}"), &request, DEADLINE).await.map(|Deleted {}| ())
}
