//! A history to be broken, and the ways into it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rr_core::{Plan, Policy};
use rr_draw::Dice;
use rr_schemas::{
    decision::{Decision, Event, Record},
    flow::{Flow, Job, Priority},
    id::RunId,
    input::{Input, Source},
    offer::{Offer, Target},
    report::{Report, What},
    retry::{Again, Carried},
};
use rr_verify::{
    Rule,
    history::{Said, Stored},
    stream::{Beside, Content, End, Finding, Message, Noted, PolicyOf, Rules, Says, Scope, Shown, Verifier, Waiting},
    token::{is_borne, token},
};

use crate::{
    flows::drawn,
    world::{Fate, World},
};

/// One run of so many is a retry.
const RETRIES: u64 = 5;
/// So many runs of a hundred have no secret, as those have that were begun before there were tokens.
const WITHOUT_SECRET: u64 = 20;
/// What the tokens of the others are made with.
const SECRET: &str = "secret";

/// What is stored of one run.
#[derive(Clone)]
pub(crate) struct Story {
    pub(crate) run: RunId,
    pub(crate) decisions: Vec<Stored>,
    pub(crate) inputs: Vec<Said>,
    pub(crate) times: BTreeMap<u64, Timestamp>,
    pub(crate) bad: BTreeMap<u64, String>,
    pub(crate) beside: Beside,
    pub(crate) now: Option<Timestamp>,
    pub(crate) policy: Policy,
}

impl Story {
    /// A run that a seed has drawn, in a world that does its worst.
    pub(crate) fn drawn(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let flow = drawn(&mut dice);
        let tokens = !Dice(!seed).chance(WITHOUT_SECRET);
        let fate = Fate { tokens, ..Fate::HOSTILE };
        let mut world = World::new(&flow, fate, dice);
        world.play();
        // Some are retries of such a run, where anything of it is to run again.
        let again = if seed.is_multiple_of(2) { Again::Failed } else { Again::NotStarted };
        if seed.is_multiple_of(RETRIES) && world.run.carry_over(again).is_ok() {
            let dice = world.dice.fork();
            world = World::retry(&flow, &world.run, again, fate, dice);
            world.play();
        }
        let (decisions, inputs, times) = world.stored();
        let run = format!("run{seed}").parse().unwrap();
        let (bad, beside, policy) = (BTreeMap::new(), Beside::default(), Policy::default());
        let mut story = Self { run, decisions, inputs, times, bad, beside, now: None, policy };
        let view = world.run.view();
        let shown = Shown {
            n: story.decisions.len() as u64,
            status: view.status,
            tasks: rr_schemas::view::Tally::of(&view),
            started_at: view.started_at,
            ended_at: view.ended_at,
        };
        story.beside.shown.insert(story.run.clone(), shown);
        if tokens {
            story.bear_tokens();
            let forged: Vec<u64> =
                story.inputs.iter().filter(|said| !story.bears_token(said)).map(|said| said.seq).collect();
            assert!(forged.into_iter().all(|seq| story.put_aside(seq)));
        }
        story
    }

    /// Its messages as the log has them.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let at = |seq: u64| {
            let before = self.times.range(..=seq).next_back();
            before.map_or(Timestamp::UNIX_EPOCH, |(_, at)| *at)
        };
        let message = |seq, content| Message { run: self.run.clone(), seq, at: at(seq), content };
        let decisions = self.decisions.iter().map(|stored| {
            let Stored { seq, hash, decision } = stored.clone();
            message(seq, Content::Decision { hash, decision: Box::new(decision) })
        });
        let inputs = self.inputs.iter().map(|said| {
            let Said { seq, source, input } = said.clone();
            message(seq, Content::Input { source, input: Box::new(input) })
        });
        let bad = self.bad.iter().map(|(seq, reason)| message(*seq, Content::Bad(reason.clone())));
        let mut all: Vec<Message> = decisions.chain(inputs).chain(bad).collect();
        all.sort_by_key(|message| message.seq);
        all
    }

    /// Its workers bear the tokens of what they speak of, as they do in every run that is begun now. Who speaks of an attempt before it is
    /// offered has not got its token from anybody: only an offer says it.
    pub(crate) fn bear_tokens(&mut self) {
        SECRET.clone_into(&mut self.decisions[0].decision.secret);
        let mut offered: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for (place, record) in self.records() {
            let Event::Offered { tasks, attempt, .. } = &record.event else { continue };
            for task in tasks.iter() {
                offered.entry((task, *attempt)).or_insert(self.decisions[place.0].seq);
            }
        }
        for said in &mut self.inputs {
            let (attempt, borne) = match &mut said.input {
                Input::Report(report) => ((report.task, report.attempt), &mut report.token),
                Input::Claim(claim) => ((claim.task, claim.attempt), &mut claim.token),
                _ => continue,
            };
            if offered.get(&attempt).is_some_and(|seq| *seq < said.seq) {
                *borne = token(SECRET, &self.run, attempt.0, attempt.1);
            }
        }
    }

    /// Nobody bears a token, as it was once.
    pub(crate) fn bear_no_tokens(&mut self) {
        self.decisions[0].decision.secret.clear();
        for said in &mut self.inputs {
            match &mut said.input {
                Input::Report(report) => report.token.clear(),
                Input::Claim(claim) => claim.token.clear(),
                _ => {}
            }
        }
    }

    /// Whether its workers bear tokens.
    pub(crate) fn has_tokens(&self) -> bool {
        !self.decisions[0].decision.secret.is_empty()
    }

    /// Whether somebody bears the token that he must bear.
    pub(crate) fn bears_token(&self, said: &Said) -> bool {
        is_borne(&self.decisions[0].decision.secret, &self.run, &said.source, &said.input)
    }

    /// What was changed in it, or said besides, bears its token as well: a mistake of ours is made with the token at hand, and of
    /// what bears none the judge believes nothing anyway. A way that breaks tokens themselves changes the secret, and then they
    /// stay as they are.
    pub(crate) fn bear_tokens_again(&mut self, before: &Self) {
        let secret = |story: &Self| story.decisions.first().map(|first| first.decision.secret.clone());
        let Some(secret) = secret(self).filter(|now| !now.is_empty() && Some(now) == secret(before).as_ref()) else {
            return;
        };
        let known: BTreeMap<u64, &Input> = before.inputs.iter().map(|said| (said.seq, &said.input)).collect();
        for said in self.inputs.iter_mut().filter(|said| known.get(&said.seq) != Some(&&said.input)) {
            match &mut said.input {
                Input::Report(report) => report.token = token(&secret, &self.run, report.task, report.attempt),
                Input::Claim(claim) => claim.token = token(&secret, &self.run, claim.task, claim.attempt),
                _ => {}
            }
        }
    }

    /// A worker says once more what it has said before, when everything is over.
    pub(crate) fn repeat_a_report(&mut self) {
        let is_report = |said: &&Said| matches!(said.input, Input::Report(_));
        let Some(said) = self.inputs.iter().find(is_report).cloned() else { return };
        let seq = self.decisions.last().unwrap().seq + 3;
        self.inputs.push(Said { seq, ..said });
        self.times.insert(seq, *self.times.values().max().unwrap());
    }

    /// What is said of it.
    pub(crate) fn judged(&self) -> End {
        self.judged_by(PolicyOf::Coordinators)
    }

    /// The same by whoever knows the coordinators' policy, or does not.
    pub(crate) fn judged_by(&self, policy_of: PolicyOf) -> End {
        let policy = self.policy;
        let rules = Rules { policy, policy_of, now: self.now, keeps: true, scope: Scope::Runs };
        let mut verifier = Verifier::new(rules, self.beside.clone());
        self.messages().into_iter().for_each(|message| verifier.hear(message));
        verifier.finish()
    }

    /// The rule that is said to be broken first.
    pub(crate) fn first_broken(&self) -> Option<Rule> {
        self.first_broken_by(PolicyOf::Coordinators)
    }

    /// The same where the coordinators' policy is known or not.
    pub(crate) fn first_broken_by(&self, policy_of: PolicyOf) -> Option<Rule> {
        self.judged_by(policy_of).findings.into_iter().find_map(|finding| match finding {
            Finding::Violation { violation, .. } => Some(violation.rule),
            Finding::Incomplete { .. } => None,
        })
    }

    pub(crate) fn flow(&self) -> Option<&Flow> {
        self.records().find_map(|(_, record)| record.event.submitted()).map(|run| run.flow)
    }

    /// Changes the flow, in the request as in the decision.
    pub(crate) fn change_flow(&mut self, mut change: impl FnMut(&mut Flow)) {
        for said in &mut self.inputs {
            if let Input::Submit(submit) = &mut said.input {
                change(&mut submit.flow);
            }
        }
        for record in self.decisions.iter_mut().flat_map(|stored| &mut stored.decision.events) {
            if let Event::Submitted { flow, .. } = &mut record.event {
                change(flow);
            }
        }
    }

    /// What the run has taken over. None where it was rejected.
    pub(crate) fn taken_over(&mut self) -> Option<&mut Option<Box<Carried>>> {
        let mut records = self.decisions.iter_mut().flat_map(|stored| &mut stored.decision.events);
        records.find_map(|record| match &mut record.event {
            Event::Submitted { retry_of, .. } => Some(retry_of),
            _ => None,
        })
    }

    /// Whether a task was over before the run began.
    pub(crate) fn is_taken_over(&self, task: u32) -> bool {
        self.records().any(|(_, record)| match &record.event {
            Event::Submitted { retry_of: Some(carried), .. } => {
                carried.tasks.values().any(|tasks| tasks.contains(task))
            }
            _ => false,
        })
    }

    /// A coordinator puts an input into the quarantine; false where there is no such input.
    pub(crate) fn put_aside(&mut self, seq: u64) -> bool {
        let Some(source) = self.said(seq).map(|said| said.source.clone()) else { return false };
        let at = self.times.get(&seq).copied();
        self.beside.aside.insert(Noted { run: self.run.clone(), source, seq, at });
        true
    }

    /// Somebody says something between two others.
    pub(crate) fn say(&mut self, seq: u64, source: Source, input: Input) {
        let at = *self.times.range(..=seq).next_back().unwrap().1;
        self.inputs.push(Said { seq, source, input });
        self.inputs.sort_by_key(|said| said.seq);
        self.times.insert(seq, at);
    }

    /// The jobs with the first of their tasks.
    pub(crate) fn jobs(&self) -> Vec<(u32, Job)> {
        let mut first = 0;
        let jobs = self.flow().into_iter().flat_map(Flow::all_jobs).map(|(_, job)| {
            let targets = job.targets();
            first += targets;
            (first - targets, job.clone())
        });
        jobs.collect()
    }

    pub(crate) fn job_of(&self, task: u32) -> Option<Job> {
        self.jobs().into_iter().rfind(|(first, _)| *first <= task).map(|(_, job)| job)
    }

    pub(crate) fn is_claimed(&self, task: u32) -> bool {
        self.job_of(task).is_some_and(|job| job.is_claimed())
    }

    /// Every event with its place: decision and index.
    pub(crate) fn records(&self) -> impl DoubleEndedIterator<Item = ((usize, usize), &Record)> {
        let places = self.decisions.iter().enumerate();
        let places: Vec<(usize, usize)> =
            places.flat_map(|(n, stored)| (0..stored.decision.events.len()).map(move |index| (n, index))).collect();
        places.into_iter().map(|place| (place, &self.decisions[place.0].decision.events[place.1]))
    }

    pub(crate) fn events_mut(&mut self, place: (usize, usize)) -> &mut Vec<Record> {
        &mut self.decisions[place.0].decision.events
    }

    pub(crate) fn event_mut(&mut self, place: (usize, usize)) -> &mut Event {
        &mut self.events_mut(place)[place.1].event
    }

    pub(crate) fn said(&self, seq: u64) -> Option<&Said> {
        self.inputs.iter().find(|said| said.seq == seq)
    }

    pub(crate) fn report(&self, seq: u64) -> Option<(&Source, &Report, &What)> {
        self.said(seq).and_then(|said| match &said.input {
            Input::Report(report) => Some((&said.source, report, &report.what)),
            _ => None,
        })
    }

    /// One of the places whose events fit.
    pub(crate) fn pick(&self, dice: &mut Dice, fits: impl Fn(&Record) -> bool) -> Option<(usize, usize)> {
        let places: Vec<_> = self.records().filter(|(_, record)| fits(record)).map(|(place, _)| place).collect();
        if places.is_empty() { None } else { Some(places[dice.roll(places.len() as u64) as usize]) }
    }

    pub(crate) fn decision(&self, n: usize) -> &Decision {
        &self.decisions[n].decision
    }

    /// The first offer of an attempt as it waits, or just the subject of one, of a task that there is not.
    pub(crate) fn waiting(&self, task: u32, attempt: u32) -> Waiting {
        let Some(offer) = self.made(task, attempt) else {
            let (target, priority) = (Target::Host("h".parse().unwrap()), Priority::default());
            return Waiting { task, attempt, target, priority, says: Says::Unread };
        };
        let (target, priority) = (offer.target.clone(), offer.priority);
        Waiting { task, attempt, target, priority, says: Says::of(Ok(offer), false) }
    }

    /// The first offer of an attempt, of a task that there is.
    pub(crate) fn made(&self, task: u32, attempt: u32) -> Option<Offer> {
        let submitted = self.records().find_map(|(_, record)| record.event.submitted());
        let plan = submitted.and_then(|run| Plan::of_accepted(run.flow, run.params, run.found).ok());
        let token = token(&self.decisions[0].decision.secret, &self.run, task, attempt);
        Some(Offer { token, ..plan?.offer(&self.run, task, attempt, 1)? })
    }

    pub(crate) fn offered(&self) -> BTreeSet<(u32, u32)> {
        let of = |record: &Record| match &record.event {
            Event::Offered { tasks, attempt, .. } => tasks.iter().map(|task| (task, *attempt)).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        self.records().flat_map(|(_, record)| of(record)).collect()
    }
}
