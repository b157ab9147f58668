//! Follows a run in the event log until it is over, and shows it meanwhile.
//!
//! Invariants: it may begin before the run does; a broken connection is waited out; what it shows is the fold of the
//! same decisions that the coordinator folds.

use std::time::Duration;

use jiff::Timestamp;
use rr_nats::{Chunk, EventTail, Follow, Mesh, OutputFilter, OutputReader, Start, StoredDecision};
use rr_schemas::{decision::Decision, id::RunId, view::RunView};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::commands::EventView;
use crate::context::Context;
use crate::environment::now;
use crate::error::CliError;
use crate::mesh;
use crate::output::Printed;
use crate::printer::Printer;
use crate::progress::{Lines, Screen, Story, block};

/// How often a block is drawn anew at most.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Pause before a lost reader is opened again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long the last output of a run may take to come after its end.
const LAST_OUTPUT_WITHIN: Duration = Duration::from_millis(500);

/// What is shown while a run goes on.
#[derive(Debug)]
pub(crate) enum Show {
    /// Nothing.
    Quiet,
    /// A line for each event that matters, on stderr.
    Lines(Lines),
    /// A JSON object for each event, on stdout.
    Events,
    /// A block that is redrawn.
    Block(Screen),
}

impl Show {
    /// The best that stderr can do.
    pub(crate) fn best(ctx: &Context) -> Self {
        let is_dumb = ctx.environment.get("TERM").is_none_or(|term| term == "dumb");
        if ctx.printer.draws() && !is_dumb { Self::Block(Screen::new(ctx.printer)) } else { Self::lines() }
    }

    /// A line for each event that matters, on stderr.
    pub(crate) fn lines() -> Self {
        Self::Lines(Lines::default())
    }
}

/// One run that is being followed. It can be followed on after [`Follower::until_over`] was dropped.
#[derive(Debug)]
pub(crate) struct Follower {
    mesh: Mesh,
    run: RunId,
    printer: Printer,
    show: Show,
    story: Story,
    tail: Option<EventTail>,
    output: Option<(OutputReader, Printed)>,
    /// Sequence of the last decision that was folded in; a tail that was opened anew begins before it.
    seen: u64,
    draw: Interval,
}

impl Follower {
    /// Follows from the beginning of the run.
    pub(crate) fn new(mesh: &Mesh, run: &RunId, printer: Printer, show: Show) -> Self {
        let mut draw = interval(DRAW_EVERY);
        draw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            mesh: mesh.clone(),
            run: run.clone(),
            printer,
            show,
            story: Story::new(run.clone()),
            tail: None,
            output: None,
            seen: 0,
            draw,
        }
    }

    /// Prints output besides, as it comes.
    #[must_use]
    pub(crate) fn with_output(mut self, printed: Printed, filter: OutputFilter) -> Self {
        let reader = self.mesh.read_output(&self.run, filter, Follow::Yes);
        self.output = Some((reader, printed));
        self
    }

    /// The story so far.
    pub(crate) const fn story(&self) -> &Story {
        &self.story
    }

    /// The story at the end.
    pub(crate) fn into_story(self) -> Story {
        self.story
    }

    /// Follows until it is known what the run consists of, or that it is over. Cancel-safe.
    ///
    /// # Errors
    /// Those of [`Follower::until_over`].
    pub(crate) async fn until_begun(&mut self) -> Result<(), CliError> {
        while self.story.plan().is_none() && !self.story.history().run().is_final() {
            self.step().await?;
        }
        Ok(())
    }

    /// Follows until the run is over. Cancel-safe: nothing that was read is lost.
    ///
    /// # Errors
    /// The log cannot be read and trying again does not help; stdout is closed.
    pub(crate) async fn until_over(&mut self) -> Result<(), CliError> {
        while !self.story.history().run().is_final() {
            self.step().await?;
        }
        self.drain_output().await?;
        self.clear();
        Ok(())
    }

    /// Takes the block off the terminal.
    pub(crate) fn clear(&mut self) {
        if let Show::Block(screen) = &mut self.show {
            screen.clear();
        }
    }

    async fn step(&mut self) -> Result<(), CliError> {
        if self.tail.is_none() {
            match self.mesh.tail(Some(&self.run), Start::All).await {
                Ok(tail) => self.tail = Some(tail),
                Err(error) => return self.lost(&error).await,
            }
        }
        let Some(tail) = &mut self.tail else { return Ok(()) };
        let is_drawing = matches!(self.show, Show::Block(_));
        tokio::select! {
            item = tail.next() => match item {
                Ok(item) => {
                    if item.seq > self.seen {
                        self.seen = item.seq;
                        return self.fold(item.seq, item.decision);
                    }
                    Ok(())
                }
                Err(error) => self.lost(&error).await,
            },
            chunk = next_chunk(&mut self.output) => self.print(chunk?),
            _ = self.draw.tick(), if is_drawing => {
                self.redraw();
                Ok(())
            }
        }
    }

    fn fold(&mut self, seq: u64, decision: Result<Decision, String>) -> Result<(), CliError> {
        let decision = match decision {
            Ok(decision) => decision,
            Err(reason) => {
                tracing::warn!(run.id = %self.run, reason, "decision passed over");
                return Ok(());
            }
        };
        for record in &decision.events {
            if let Err(reason) = self.story.apply(record) {
                tracing::warn!(run.id = %self.run, reason, "event passed over");
                continue;
            }
            match &mut self.show {
                Show::Lines(lines) => {
                    if let Some(line) = lines.tell(record, &self.story) {
                        self.printer.note(line.whole());
                    }
                }
                Show::Events => self.printer.json_line(&EventView::new(&self.run, seq, decision.n, record))?,
                Show::Quiet | Show::Block(_) => {}
            }
        }
        Ok(())
    }

    fn redraw(&mut self) {
        if let Show::Block(screen) = &mut self.show {
            screen.draw(&block(&self.story, self.printer.size(), now()));
        }
    }

    async fn lost(&mut self, error: &rr_nats::Error) -> Result<(), CliError> {
        if !error.is_retryable() {
            self.clear();
            return Err(mesh::told(error));
        }
        tracing::debug!(%error, "the event log cannot be read for the moment");
        self.tail = None;
        sleep(RETRY_PAUSE).await;
        Ok(())
    }

    fn print(&mut self, chunk: Option<Chunk>) -> Result<(), CliError> {
        let Some(chunk) = chunk else {
            self.output = None;
            return Ok(());
        };
        let Some((_, printed)) = &mut self.output else { return Ok(()) };
        printed.push(&self.story, chunk)
    }

    /// Output comes by another way than decisions, so its end may come after the end of the run.
    async fn drain_output(&mut self) -> Result<(), CliError> {
        if self.output.is_none() {
            return Ok(());
        }
        while let Ok(chunk) = tokio::time::timeout(LAST_OUTPUT_WITHIN, next_chunk(&mut self.output)).await {
            self.print(chunk?)?;
            if self.output.is_none() {
                return Ok(());
            }
        }
        match self.output.take() {
            Some((_, printed)) => printed.finish(&self.story),
            None => Ok(()),
        }
    }
}

async fn next_chunk(output: &mut Option<(OutputReader, Printed)>) -> Result<Option<Chunk>, CliError> {
    match output {
        Some((reader, _)) => reader.next().await.map_err(|error| mesh::told(&error)),
        None => std::future::pending().await,
    }
}

/// The whole story of a run as far as it goes, without waiting.
///
/// # Errors
/// The log cannot be read.
pub(crate) async fn story(mesh: &Mesh, run: &RunId) -> Result<Story, CliError> {
    story_before(mesh, run, u64::MAX).await
}

/// The whole story of a run as far as it goes, and when its last decision was stored.
///
/// # Errors
/// The log cannot be read.
pub(crate) async fn dated_story(mesh: &Mesh, run: &RunId) -> Result<(Story, Option<Timestamp>), rr_nats::Error> {
    let stored = mesh.history(&run.into(), 0).await?;
    let last = stored.last().map(|stored| stored.at);
    Ok((told(run, stored.into_iter()), last))
}

/// The last state of a run whose history was removed, as that of old ones is; none where there is more to tell.
///
/// # Errors
/// The state cannot be read.
pub(crate) async fn remains(mesh: &Mesh, run: &RunId, story: &Story) -> Result<Option<RunView>, CliError> {
    if story.history().run().exists() {
        return Ok(None);
    }
    let status = mesh.status(run).await.map_err(|error| mesh::told(&error))?;
    Ok(status.map(|entry| entry.view).filter(|view| view.status.is_final()))
}

/// The story of a run before the decision with this sequence.
///
/// # Errors
/// The log cannot be read.
pub(crate) async fn story_before(mesh: &Mesh, run: &RunId, seq: u64) -> Result<Story, CliError> {
    let stored = mesh.history(&run.into(), 0).await.map_err(|error| mesh::told(&error))?;
    Ok(told(run, stored.into_iter().filter(|stored| stored.seq < seq)))
}

/// The fold of what is stored; what is no decision is passed over.
fn told(run: &RunId, stored: impl Iterator<Item = StoredDecision>) -> Story {
    let mut story = Story::new(run.clone());
    for decision in stored.filter_map(|stored| stored.decision.ok()) {
        for record in &decision.events {
            if let Err(reason) = story.apply(record) {
                tracing::warn!(run.id = %run, reason, "event passed over");
            }
        }
    }
    story
}
