//! What the server can do at most: the yardstick of `rr bench`.
//!
//! It measures on a stream of its own, made like `RR_WORK` and removed afterwards, through the same connection code that
//! everything else goes through.

use std::time::{Duration, Instant};

use async_nats::jetstream::{
    consumer::AckPolicy,
    stream::{Config as StreamConfig, RetentionPolicy},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    consumer::{ConsumerConfig, create_consumer},
    error::Error,
    link::{DEADLINE, Link},
    pull::{PullConfig, Puller},
    transport::Outgoing,
};

const STREAM: &str = "RR_BENCH";
const SUBJECT: &str = "rr.bench.message";
const CONSUMER: &str = "bench";
/// The size of a small offer or report.
const PAYLOAD_BYTES: usize = 300;
/// Publishes under way at once: the knee of the server's curve.
const IN_FLIGHT: usize = 512;
/// Messages asked for at once.
const BATCH: usize = 500;

/// Publishes, consumes and acknowledges `n` messages as fast as one connection can, and says how many a second.
///
/// # Errors
/// Whatever the server refuses.
pub async fn pipelined(link: &Link, n: usize) -> Result<f64, Error> {
    let mut puller = open(link).await?;
    let begun = Instant::now();
    let (published, consumed) = futures::join!(publish_all(link, n), consume_all(&mut puller, n));
    published.and(consumed)?;
    let rate = rate(n, begun.elapsed());
    close(link).await?;
    Ok(rate)
}

/// Publishes, consumes and acknowledges one message after the other, each when the one before is done, and says how many
/// a second.
///
/// # Errors
/// Whatever the server refuses.
pub async fn one_by_one(link: &Link, n: usize) -> Result<f64, Error> {
    let mut puller = open(link).await?;
    let begun = Instant::now();
    for _ in 0..n {
        let (published, consumed) = futures::join!(publish_all(link, 1), consume_all(&mut puller, 1));
        published.and(consumed)?;
    }
    let rate = rate(n, begun.elapsed());
    close(link).await?;
    Ok(rate)
}

async fn publish_all(link: &Link, n: usize) -> Result<(), Error> {
    let payload = Bytes::from_static(&[b'x'; PAYLOAD_BYTES]);
    let mut under_way = FuturesUnordered::new();
    for _ in 0..n {
        if under_way.len() >= IN_FLIGHT {
            answered(under_way.next().await)?;
        }
        under_way.push(link.publish(Outgoing::plain(SUBJECT, payload.clone())));
    }
    while let Some(answer) = under_way.next().await {
        answered(Some(answer))?;
    }
    Ok(())
}

fn answered<T>(answer: Option<Result<T, crate::PublishError>>) -> Result<(), Error> {
    match answer {
        Some(Err(error)) => Err(Error::Answer(error.to_string())),
        Some(Ok(_)) | None => Ok(()),
    }
}

async fn consume_all(puller: &mut Puller, n: usize) -> Result<(), Error> {
    let mut left = n;
    while left > 0 {
        let wanted = left.min(BATCH);
        if puller.outstanding() * 2 < wanted {
            let more = wanted - puller.outstanding();
            puller.request(more).await.map_err(|error| Error::Answer(error.to_string()))?;
        }
        if let Some(pulled) = puller.next().await.map_err(|error| Error::Answer(error.to_string()))? {
            pulled.ack.ack().await;
            left -= 1;
        }
    }
    Ok(())
}

async fn open(link: &Link) -> Result<Puller, Error> {
    let stream = StreamConfig {
        name: STREAM.to_owned(),
        subjects: vec![SUBJECT.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        ..StreamConfig::default()
    };
    link.api::<serde::de::IgnoredAny>(&format!("STREAM.CREATE.{STREAM}"), &stream, DEADLINE).await?;
    let consumer = ConsumerConfig {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 20_000,
        ..ConsumerConfig::default()
    };
    create_consumer(link, STREAM, consumer).await?;
    Puller::open(link, STREAM, CONSUMER, PullConfig::default()).await
}

async fn close(link: &Link) -> Result<(), Error> {
    link.api::<serde::de::IgnoredAny>(&format!("STREAM.DELETE.{STREAM}"), &(), DEADLINE).await?;
    Ok(())
}

fn rate(n: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
    let n = n as f64;
    n / took.as_secs_f64().max(f64::EPSILON)
}
