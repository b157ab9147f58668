//! Consumers: listed, made, looked at, removed.

pub(crate) use async_nats::jetstream::consumer::Config as ConsumerConfig;
use serde::{Deserialize, Serialize};

use crate::{
    checkup::Cluster,
    error::Error,
    link::{DEADLINE, DEADLINE_LONG, Link},
};

/// Names of all consumers of a stream.
pub(crate) async fn consumer_names(link: &Link, stream: &str) -> Result<Vec<String>, Error> {
    #[derive(Serialize)]
    struct Page {
        offset: usize,
    }
    #[derive(Deserialize)]
    struct Names {
        total: usize,
        #[serde(default)]
        consumers: Option<Vec<String>>,
    }
    let mut names = Vec::new();
    loop {
        let request = Page { offset: names.len() };
        let page: Names = link.api(&format!("CONSUMER.NAMES.{stream}"), &request, DEADLINE).await?;
        let consumers = page.consumers.unwrap_or_default();
        let is_last = consumers.is_empty();
        names.extend(consumers);
        if is_last || names.len() >= page.total {
            return Ok(names);
        }
    }
}

/// What the server says of a consumer.
#[derive(Debug, Deserialize)]
pub(crate) struct ConsumerInfo {
    pub(crate) name: String,
    pub(crate) config: ConsumerConfig,
    /// Messages that are delivered and not acknowledged.
    #[serde(default)]
    pub(crate) num_ack_pending: u64,
    /// Who keeps it.
    #[serde(default)]
    pub(crate) cluster: Option<Cluster>,
    /// Whether an operator has paused it.
    #[serde(default)]
    pub(crate) paused: bool,
}

/// Makes a consumer, or leaves one with this name and configuration as it is.
pub(crate) async fn create_consumer(link: &Link, stream: &str, config: ConsumerConfig) -> Result<ConsumerInfo, Error> {
    #[derive(Serialize)]
    struct Create<'a> {
        stream_name: &'a str,
        config: &'a ConsumerConfig,
    }
    let operation = match (&config.durable_name, &config.name) {
        (Some(name), _) | (None, Some(name)) => format!("CONSUMER.CREATE.{stream}.{name}"),
        (None, None) => format!("CONSUMER.CREATE.{stream}"),
    };
    link.api(&operation, &Create { stream_name: stream, config: &config }, DEADLINE_LONG).await
}

/// What the server knows of a consumer.
pub(crate) async fn consumer_info(link: &Link, stream: &str, consumer: &str) -> Result<ConsumerInfo, Error> {
    link.api(&format!("CONSUMER.INFO.{stream}.{consumer}"), &(), DEADLINE).await
}

/// Removes a consumer; it is no error when there is none.
pub(crate) async fn delete_consumer(link: &Link, stream: &str, consumer: &str) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Deleted {}
    match link.api_once::<Deleted>(&format!("CONSUMER.DELETE.{stream}.{consumer}"), &(), DEADLINE).await {
        Ok(Deleted {}) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
