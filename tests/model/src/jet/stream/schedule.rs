//! Message schedules: timers that fire once.

use std::sync::Arc;

use jiff::Timestamp;
use rr_nats::transport::HeaderMap;

use super::{Stored, Stream, Turn};
use crate::{
    jet::{refusal::Refusal, said::Said},
    subject::is_literal,
};

/// Between two looks at its timers the server takes this long: so much later a timer may fire.
const LOOK: u64 = 250_000_000;
/// Of a thousand timers that are due and are replaced before the server looks, so many take their replacement with them.
/// Measured were 92, 185 and 281 of four thousand; here it is several times as often, or a simulation would hardly meet it.
const OVERTAKEN: u32 = 800;
const SCHEDULE: &str = "Nats-Schedule";
const TARGET: &str = "Nats-Schedule-Target";
/// What a fired message does not keep of its timer.
const DROPPED: [&str; 11] = [
    SCHEDULE,
    TARGET,
    "Nats-Schedule-TTL",
    "Nats-Schedule-Source",
    "Nats-Schedule-Rollup",
    "Nats-Schedule-Time-Zone",
    "Nats-Expected-Stream",
    "Nats-Expected-Last-Sequence",
    "Nats-Expected-Last-Subject-Sequence",
    "Nats-Expected-Last-Subject-Sequence-Subject",
    "Nats-Expected-Last-Msg-Id",
];
/// The same.
const DROPPED_TOO: [&str; 3] = ["Nats-Msg-Id", "Nats-TTL", "Nats-Rollup"];

/// A timer.
#[derive(Clone, Debug)]
pub(crate) struct Armed {
    pub(super) seq: u64,
    at: u64,
}

/// When a schedule fires. Of those that the server knows the model knows the ones that fire once.
fn once(schedule: &str) -> Option<u64> {
    let at: Timestamp = schedule.strip_prefix("@at ")?.trim().parse().ok()?;
    u64::try_from(at.as_nanosecond()).ok().or(Some(0))
}

impl Armed {
    pub(super) fn read(message: &Stored) -> Option<Self> {
        Some(Self { seq: message.seq, at: once(message.header(SCHEDULE)?)? })
    }
}

impl Stream {
    pub(super) fn examine_schedule(&self, message: &Said) -> Result<(), Refusal> {
        if let Some(schedule) = message.header(SCHEDULE) {
            if !self.config.allow_msg_schedules {
                return Err(Refusal::schedules_disabled());
            }
            if once(schedule).is_none() {
                return Err(Refusal::schedule_pattern());
            }
            let target = message.header(TARGET).unwrap_or_default();
            if !self.takes(target) || !is_literal(target) || target == message.subject {
                return Err(Refusal::schedule_target());
            }
        }
        match message.header("Nats-Scheduler") {
            Some(scheduler)
                if self.config.allow_msg_schedules
                    && (scheduler == message.subject || message.header("Nats-Schedule-Next") != Some("purge")) =>
            {
                Err(Refusal::scheduler_invalid())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Sees to it that the next timer fires. The server looks again at the earliest a quarter of a second after it has
    /// begun to wait; how long it has waited already is chance.
    pub(super) fn watch_timers(&mut self, turn: &mut Turn<'_>) {
        let Some(first) = self.armed.values().map(|armed| armed.at).min() else { return };
        let fires = first.max(turn.now) + turn.rng.u64(..LOOK);
        if self.fires_at.is_none_or(|at| fires < at || at < turn.now) {
            self.fires_at = Some(fires);
            self.wake(fires, turn);
        }
    }

    /// What is armed on a subject is about to be replaced.
    pub(super) fn gives_way(&mut self, subject: &str) {
        let timer = self.armed.get(subject).and_then(|armed| self.store.get(armed.seq)).map(Arc::clone);
        self.gave_way.extend(timer.map(|timer| (subject.to_owned(), timer)));
    }

    /// A server that was killed has forgotten that messages had given way to newer ones on their subject: where the newer ones
    /// are gone, too, the last of the others is there again. A timer that comes back so is none any more: it never fires.
    pub(super) fn bring_back(&mut self) {
        for (subject, timer) in &self.gave_way {
            if self.store.count_on(subject) == 0 && self.store.first() < timer.seq {
                self.store.bring_back(timer);
            }
        }
    }

    /// Fires what is due.
    pub(super) fn fire(&mut self, turn: &mut Turn<'_>) {
        if self.fires_at.is_none_or(|at| at > turn.now) {
            return;
        }
        self.fires_at = None;
        let due: Vec<(String, u64)> = self
            .armed
            .iter()
            .filter(|(_, armed)| armed.at <= turn.now)
            .map(|(subject, armed)| (subject.clone(), armed.seq))
            .collect();
        for (subject, seq) in due {
            if let Some(timer) = self.store.get(seq).cloned() {
                self.fire_one(&subject, &timer, turn);
            }
        }
        self.watch_timers(turn);
    }

    /// The timer on a subject that fires in the very moment in which another one takes its place, and takes that with it.
    pub(super) fn overtaken(&self, subject: &str, turn: &mut Turn<'_>) -> Option<Arc<Stored>> {
        let armed = self.armed.get(subject).filter(|armed| armed.at <= turn.now)?;
        let timer = self.store.get(armed.seq)?;
        let does = turn.rng.u32(..1_000) < OVERTAKEN;
        if does {
            turn.count("overtaken_timer");
        }
        does.then(|| Arc::clone(timer))
    }

    /// Fires a timer. It takes with it whatever stands on its subject by now.
    pub(super) fn fire_one(&mut self, subject: &str, timer: &Stored, turn: &mut Turn<'_>) {
        self.armed.remove(subject);
        let target = timer.header(TARGET).unwrap_or_default().to_owned();
        let mut headers = HeaderMap::new();
        for (name, values) in timer.headers.iter().flat_map(HeaderMap::iter) {
            let text: &str = name.as_ref();
            if !DROPPED.contains(&text) && !DROPPED_TOO.contains(&text) {
                for value in values {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
        headers.insert("Nats-Scheduler", subject);
        headers.insert("Nats-Schedule-Next", "purge");
        self.purge(Some(subject), None, 0, turn);
        self.put(target, Some(headers), timer.payload.clone(), turn);
    }
}
