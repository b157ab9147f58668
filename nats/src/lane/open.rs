//! An open lane: offers are asked for there, and come.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    error::Error,
    mesh::Mesh,
    pull::{PullConfig, PullError, Puller},
    subject,
    work::OfferMsg,
};

impl Mesh {
    /// Opens a lane to pull from.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open_lane(&self, durable: &str, config: PullConfig) -> Result<Lane, Error> {
        let puller = Puller::open(self.link(), subject::WORK, durable, config).await?;
        Ok(Lane { durable: durable.to_owned(), puller })
    }
}

/// Where a worker gets offers.
#[derive(Debug)]
pub struct Lane {
    durable: String,
    puller: Puller,
}

impl Lane {
    /// The durable that it pulls from.
    pub fn durable(&self) -> &str {
        &self.durable
    }

    /// Takes what was asked for as forgotten by the server. See [`Puller::forget`].
    pub fn forget(&mut self) {
        self.puller.forget();
    }

    /// Asks for `offers` more. See [`Puller::request`].
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn request(&mut self, offers: usize) -> Result<(), PullError> {
        self.puller.request(offers).await
    }

    /// Asks for `offers` more, and waits for them no longer than this. See [`Puller::request_for`].
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn request_for(&mut self, offers: usize, expires: Duration) -> Result<(), PullError> {
        self.puller.request_for(offers, expires).await
    }

    /// Asks for up to `offers` more of those that wait now. See [`Puller::request_now`].
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn request_now(&mut self, offers: usize) -> Result<(), PullError> {
        self.puller.request_now(offers).await
    }

    /// Offers that were asked for, neither delivered nor given back yet.
    pub const fn outstanding(&self) -> usize {
        self.puller.outstanding()
    }

    /// When [`Lane::next`] has something to say though nothing comes. See [`Puller::due`].
    pub fn due(&self) -> Option<Instant> {
        self.puller.due()
    }

    /// Asks for nothing any more; what was sent already still comes. See [`Puller::close`].
    pub async fn close(&mut self) {
        self.puller.close().await;
    }

    /// The next offer. See [`Puller::next`].
    ///
    /// # Errors
    /// [`PullError`].
    pub async fn next(&mut self) -> Result<Option<OfferMsg>, PullError> {
        Ok(self.puller.next().await?.map(OfferMsg::read))
    }
}
