//! `rr up`: a private mesh that stays.

use std::collections::BTreeMap;

use rr_nats::{EventTail, Start, TailItem};
use rr_schemas::{decision::Event, id::RunId, name::Name};

use crate::cli::UpArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::local;
use crate::mesh;
use crate::printer::{DIM, paint};
use crate::private::{Happened, Private};
use crate::roles;
use crate::signals::Signals;
use crate::text::run_style;

/// Partitions of the mesh of one machine.
const PARTITIONS: u16 = 8;

/// Keeps a mesh running until it is told to stop.
pub(crate) async fn up(ctx: &Context, args: &UpArgs) -> Result<Exit, CliError> {
    let mut signals = Signals::new()?;
    let occupied = local::occupy(&local::up_dir(&ctx.state_dir()?))?;
    let worker = roles::of_up(ctx, occupied.dir().join("worker"), &args.serve)?;
    let serves = worker.serves.clone();
    let mut private = tokio::select! {
        private = Private::start(ctx, &occupied, PARTITIONS, worker) => private?,
        () = signals.next() => return Ok(Exit::Succeeded),
    };
    greet(ctx, &private, &serves)?;
    let mut news = News::open(&private).await?;
    let mut is_draining = false;
    let ended = loop {
        tokio::select! {
            line = news.next() => match line {
                Ok(Some(line)) => {
                    if let Err(error) = ctx.printer.line(line) {
                        break Err(error);
                    }
                }
                Ok(None) => {}
                Err(error) => break Err(error),
            },
            happened = private.keep() => match happened {
                Ok(Happened::Restarted) => {}
                Ok(Happened::WorkerEnded) if is_draining => break Ok(Exit::Succeeded),
                Ok(Happened::WorkerEnded) => break Err(CliError::bug("the worker ended by itself")),
                Err(error) => break Err(error),
            },
            () = signals.next() => {
                if is_draining {
                    ctx.printer.note("killing everything");
                    break Err(CliError::Interrupted);
                }
                is_draining = true;
                ctx.printer.note("draining: nothing new starts, what runs is waited for; Ctrl-C again kills it");
                private.drain();
            }
        }
    };
    match &ended {
        Ok(_) => tokio::select! {
            () = private.stop() => {}
            // Who is in a hurry: dropping the rest kills it.
            () = signals.next() => return Err(CliError::Interrupted),
        },
        Err(_) => private.kill().await,
    }
    ended
}

fn greet(ctx: &Context, private: &Private, serves: &rr_worker::config::Serves) -> Result<(), CliError> {
    let hosts = match &serves.hosts {
        rr_worker::config::Hosts::None => "no host".to_owned(),
        rr_worker::config::Hosts::All => "every host that a flow names".to_owned(),
        rr_worker::config::Hosts::Only(hosts) => format!("hosts {hosts}"),
    };
    let queues: Vec<&str> = serves.queues.iter().map(Name::as_str).collect();
    let say = |line: String| ctx.printer.line(line);
    say(format!("mesh at {}, serving {hosts} and queue {}", private.url(), queues.join(", ")))?;
    say("try in another terminal:".to_owned())?;
    for (command, what) in [
        ("rr publish FLOW --follow", "run a flow"),
        ("rr ls", "see the runs"),
        ("rr watch", "see everything that happens"),
    ] {
        say(format!("  {command:<26} {}", paint(DIM, what)))?;
    }
    Ok(())
}

/// One line for each run that begins or ends.
struct News {
    tail: EventTail,
    flows: BTreeMap<RunId, Name>,
}

impl News {
    async fn open(private: &Private) -> Result<Self, CliError> {
        let tail = private.mesh().tail(None, Start::New).await.map_err(|error| mesh::told(&error))?;
        Ok(Self { tail, flows: BTreeMap::new() })
    }

    /// Cancel-safe.
    async fn next(&mut self) -> Result<Option<String>, CliError> {
        match self.tail.next().await {
            Ok(item) => Ok(self.tell(item)),
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "the event log cannot be read for the moment");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                Ok(None)
            }
            Err(error) => Err(mesh::told(&error)),
        }
    }

    fn tell(&mut self, item: TailItem) -> Option<String> {
        let run = RunId::from(item.entity);
        let mut lines = Vec::new();
        for record in item.decision.ok()?.events {
            match record.event {
                Event::Submitted { flow, by, .. } => {
                    lines.push(format!("run {run} of {} started by {}", flow.name, crate::text::escape(by.as_bytes())));
                    self.flows.insert(run.clone(), flow.name);
                }
                Event::RunEnded { status } => {
                    let flow = self.flows.remove(&run).map(|flow| format!(" of {flow}")).unwrap_or_default();
                    lines.push(format!("run {run}{flow} {}", paint(run_style(status), status.word())));
                }
                Event::Rejected { .. } => lines.push(format!("run {run} rejected")),
                Event::Offered { .. }
                | Event::Started { .. }
                | Event::Extended { .. }
                | Event::Ended { .. }
                | Event::Held { .. }
                | Event::Returned { .. }
                | Event::Late { .. }
                | Event::Signalled { .. }
                | Event::CancelRequested { .. }
                | Event::DeadlinePassed {}
                | Event::JobEnded { .. }
                | Event::PutAside { .. } => {}
            }
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}
