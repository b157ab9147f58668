//! Offers that nobody has acknowledged yet, by what they are for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rr_schemas::{id::RunId, offer::Target};

use crate::{
    direct::{Which, read_leader},
    error::Error,
    mesh::Mesh,
    subject::{self, OfferSubject},
    work::subjects_page,
};

/// How many offers wait or are under way.
#[derive(Clone, Debug, Default)]
pub struct OpenOffers {
    /// How many there are for each target, among those that were counted.
    pub targets: BTreeMap<Target, u64>,
    /// How many were not counted: a hundred thousand are.
    pub uncounted: usize,
}

/// The offer of a target that has waited longest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OldestOffer {
    /// When it was made, by the server's clock.
    pub at: Timestamp,
    /// Its run.
    pub run: RunId,
}

impl Mesh {
    /// Counts the offers that are not acknowledged, whether or not somebody has them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open_offers(&self) -> Result<OpenOffers, Error> {
        let filter = subject::WORK_SUBJECTS.concat();
        let (subjects, total) = subjects_page(self.link(), subject::WORK, &filter, 0).await?;
        let uncounted = total.saturating_sub(subjects.len());
        let mut targets = BTreeMap::new();
        for offer in subjects.iter().filter_map(|subject| OfferSubject::parse(subject)) {
            *targets.entry(offer.target).or_default() += 1;
        }
        Ok(OpenOffers { targets, uncounted })
    }

    /// The oldest offer for a target; none where there is none any more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn oldest_offer(&self, target: &Target) -> Result<Option<OldestOffer>, Error> {
        let which = Which::Next { seq: 1, next_by_subj: &subject::offers_for(target) };
        let found = read_leader(self.link(), subject::WORK, which).await?;
        Ok(found.and_then(|raw| Some(OldestOffer { at: raw.at, run: OfferSubject::parse(&raw.subject)?.run })))
    }
}
