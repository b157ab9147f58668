//! Whoever says what is not so, on subjects that workers and programs may use: nothing of it may be believed, and all of it has to
//! be put aside.

use jiff::Timestamp;
use rr_draw::Dice;
use rr_nats::{subject::partition_of, transport::Outgoing};
use rr_schemas::{
    codec::{Envelope, Format, encode},
    id::{EntityId, RunId},
    input::{Cancel, Input},
    name::{InstanceId, WorkerName},
    report::{Claim, Ended, Outcome, Output, Report, What},
};

use crate::function::{Lives, Start};

/// What happens to be at hand for a lie.
#[derive(Debug)]
pub(crate) struct Forger<'a> {
    /// Where the lies are drawn from.
    pub(crate) dice: &'a mut Dice,
    /// Everything that was started so far.
    pub(crate) starts: &'a [Start],
    /// Every life of a worker so far.
    pub(crate) lives: &'a Lives,
    /// What time it is.
    pub(crate) now: Timestamp,
    /// Partitions of the mesh.
    pub(crate) partitions: u16,
}

impl Forger<'_> {
    /// A report or a claim of an attempt that is under way, or will be, by a worker that may have it, and without its token.
    pub(crate) fn word(&mut self) -> Option<Outgoing> {
        let under_way: Vec<&Start> = self.starts.iter().filter(|start| start.ended.is_none()).collect();
        let start = match self.dice.pick(&under_way) {
            Some(start) if self.dice.chance(75) => start,
            Some(_) | None => self.dice.pick(self.starts)?,
        };
        let worker = if self.dice.chance(60) { &start.worker } else { &self.dice.pick(self.starts)?.worker };
        // Of the next attempt somebody may speak before anybody has offered it.
        let attempt = start.attempt + u32::from(self.dice.chance(20));
        let (run, task) = (EntityId::from(&start.run), start.task);
        let token = self.wrong_token(start);
        let is_claim = self.dice.chance(25);
        let lives = self.lives.get(worker.as_str()).map(Vec::as_slice).unwrap_or_default();
        // Where a process claims only that process may publish, and it believes what it finds there to be its own.
        let lives = if is_claim { lives.split_last().map_or(lives, |(_, earlier)| earlier) } else { lives };
        let instance = self.instance(lives)?;
        let (end, input) = if is_claim {
            let claim = Claim { task, attempt, worker: worker.clone(), instance, token };
            (format!("claim.{task}.{attempt}.{worker}.{}", claim.instance), Input::Claim(claim))
        } else {
            let what = self.what();
            let report = Report { task, attempt, offer: start.offer, instance, what, token };
            (format!("w.{worker}"), Input::Report(report))
        };
        let payload = signed(&format!("worker:{worker}"), &run, input)?;
        Some(Outgoing::plain(self.inbox(&run, &end), payload))
    }

    /// An id of one of these lives of a worker, the last one more often, or one that nobody has.
    fn instance(&mut self, lives: &[InstanceId]) -> Option<InstanceId> {
        let known = match self.dice.roll(5) {
            0 => None,
            1 => self.dice.pick(lives),
            _ => lives.last(),
        };
        known.cloned().or_else(|| "forger".parse().ok())
    }

    /// A token that is not that of an attempt: none, any, or that of another one.
    fn wrong_token(&mut self, start: &Start) -> String {
        let is_other =
            |other: &&Start| (&other.run, other.task, other.attempt) != (&start.run, start.task, start.attempt);
        // The next attempt of its own task may have begun as well.
        let others: Vec<&Start> =
            self.starts.iter().filter(is_other).filter(|other| other.task != start.task).collect();
        match (self.dice.roll(3), self.dice.pick(&others)) {
            (0, _) => String::new(),
            (1, Some(other)) => other.token.clone(),
            (..) => format!("{:032x}", self.dice.roll(u64::MAX)),
        }
    }

    fn what(&mut self) -> What {
        let outcome = match self.dice.roll(7) {
            0 => return What::Returned {},
            1 | 2 => return What::Started { at: self.now },
            3 => Outcome::Failed,
            4 => Outcome::Lost,
            _ => Outcome::Ok,
        };
        What::Ended(Ended {
            outcome,
            exit_code: None,
            signal: None,
            reason: None,
            started_at: None,
            ended_at: None,
            output: Output::default(),
        })
    }

    /// Where timers of an entity fire that is not there: where one has fired of a run it would take the place of that, and only
    /// coordinators may publish there.
    fn fired(&mut self) -> Option<String> {
        let entity = format!("nobody-{}", self.dice.roll(1_000)).parse().ok()?;
        Some(format!("rr.fired.{}.{entity}", partition_of(&entity, self.partitions)))
    }

    /// Something that no program of ours would say, where a run hears.
    pub(crate) fn garbage(&mut self, run: &RunId, worker: &WorkerName) -> Option<Outgoing> {
        let (task, attempt) = (self.dice.roll(3), self.dice.roll(2) + 1);
        let run = EntityId::from(run);
        let subject = match self.dice.roll(8) {
            0 => self.inbox(&run, &format!("w.{worker}")),
            1 => self.inbox(&run, &format!("claim.{task}.{attempt}.{worker}.forger")),
            2 => self.inbox(&run, "timer"),
            3 => self.inbox(&run, "note"),
            4 => self.inbox(&run, "nowhere"),
            5 => format!("rr.ev.{}.{run}", partition_of(&run, self.partitions)),
            6 => self.fired()?,
            _ => self.inbox(&run, "api"),
        };
        let cancel = Input::Cancel(Cancel { by: "forger".to_owned(), reason: None });
        let elsewhere = "elsewhere".parse().ok()?;
        let payload = match self.dice.roll(6) {
            0 => b"hello".to_vec(),
            1 => vec![0xff; 300],
            2 => vec![b'['; 5_000],
            3 => signed("nobody:forger", &run, cancel)?,
            4 => {
                let mut half = signed("api:forger", &run, cancel)?;
                half.truncate(half.len() / 2);
                half
            }
            _ => signed("api:forger", &elsewhere, cancel)?,
        };
        Some(Outgoing::plain(subject, payload))
    }

    fn inbox(&self, run: &EntityId, end: &str) -> String {
        format!("rr.in.{}.{run}.{end}", partition_of(run, self.partitions))
    }
}

fn signed(from: &str, to: &EntityId, input: Input) -> Option<Vec<u8>> {
    encode(Format::Json, &Envelope::new(from, to.clone(), input)).ok()
}
