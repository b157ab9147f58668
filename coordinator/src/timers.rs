//! Timers that fire: each is made an input of its entity, wherever that lives.
//!
//! Invariant: a fired timer is acknowledged only when its input is stored. It may be stored twice; a timer input from
//! which nothing follows is answered with nothing.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use rr_nats::{Fired, PullError, Timers};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::shell::Shell;

/// Timers that are passed on at once: enough to fill the connection, few enough that a dead coordinator keeps little.
const UNDER_WAY_MAX: usize = 256;
/// Pause before what could not be passed on comes again.
const LATER: Duration = Duration::from_secs(1);
/// Pause before the timers are asked for again that could not be asked for.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// A closed feed that has given nothing for this long is empty.
const SILENCE: Duration = Duration::from_millis(30);

/// Passes on timers that fire, until the stop.
pub(crate) async fn forward(shell: Arc<Shell>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match Timers::open(&shell.mesh, shell.options.pull_expires.as_duration()).await {
            Ok(timers) => Forwarder::new(&shell, timers).run(&stop).await,
            Err(error) => tracing::warn!(%error, "timers cannot be pulled"),
        }
        // A stop ends the pause.
        let _ = timeout(RETRY_PAUSE, stop.cancelled()).await;
    }
}

struct Forwarder<'a> {
    shell: &'a Shell,
    timers: Timers,
    under_way: FuturesUnordered<BoxFuture<'a, ()>>,
    /// Whether timers could not be asked for since the last one came.
    in_trouble: bool,
}

enum Event {
    Stop,
    Done,
    Pulled(Result<Option<Fired>, PullError>),
    Again,
}

impl<'a> Forwarder<'a> {
    fn new(shell: &'a Shell, timers: Timers) -> Self {
        Self { shell, timers, under_way: FuturesUnordered::new(), in_trouble: false }
    }

    async fn run(mut self, stop: &CancellationToken) {
        loop {
            if let Err(error) = self.ask().await {
                return tracing::warn!(%error, "timers cannot be pulled");
            }
            let idle = self.timers.outstanding() == 0;
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => Event::Stop,
                Some(()) = self.under_way.next() => Event::Done,
                fired = self.timers.next() => Event::Pulled(fired),
                // The connection is down, or all hands are full.
                () = sleep(RETRY_PAUSE), if idle => Event::Again,
            };
            match event {
                Event::Stop => return self.close().await,
                Event::Done | Event::Again | Event::Pulled(Ok(None)) => {}
                Event::Pulled(Ok(Some(fired))) => {
                    self.in_trouble = false;
                    self.under_way.push(pass_on(self.shell, fired).boxed());
                }
                Event::Pulled(Err(error @ PullError::Closed)) => return tracing::debug!(%error, "timers end"),
                Event::Pulled(Err(error)) => {
                    // It is tried several times a second; once said is enough.
                    if !std::mem::replace(&mut self.in_trouble, true) {
                        tracing::warn!(%error, "timers do not come");
                    }
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Asks for as many as there are hands.
    async fn ask(&mut self) -> Result<(), PullError> {
        let free = UNDER_WAY_MAX.saturating_sub(self.under_way.len() + self.timers.outstanding());
        if self.timers.outstanding() == 0 || free >= UNDER_WAY_MAX / 2 {
            self.timers.request(free).await?;
        }
        Ok(())
    }

    /// Ends what is under way and gives back what has come beyond that.
    async fn close(mut self) {
        self.timers.close().await;
        while let Ok(Ok(Some(fired))) = timeout(SILENCE, self.timers.next()).await {
            fired.ack.nak(None).await;
        }
        // Each has a deadline of its own.
        while self.under_way.next().await.is_some() {}
    }
}

/// Makes a fired timer an input of its entity, and acknowledges it then.
async fn pass_on(shell: &Shell, fired: Fired) {
    let passed = match &fired.entity {
        Ok(entity) => shell.mesh.tell_fired(entity, &shell.instance).await,
        Err(reason) => shell.quarantine(&fired.raw, reason).await,
    };
    match passed {
        Ok(()) => fired.ack.ack().await,
        Err(error) => {
            tracing::warn!(message.subject = %fired.raw.subject, %error, "a timer that has fired cannot be passed on yet");
            fired.ack.nak(Some(LATER)).await;
        }
    }
}
