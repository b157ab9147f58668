//! What workers of a world do: they take offers, claim them, give them back, say how attempts end, and lie.

use rr_core::run::WITHDRAWN_BY;
use rr_schemas::{
    input::{Holder, Input, Source},
    report::{Claim, Ended, Outcome, Output, Report, What},
};

use super::World;

/// An attempt that a worker has in hand.
pub(super) struct Execution {
    pub(super) holder: Holder,
    pub(super) task: u32,
    pub(super) attempt: u32,
    pub(super) offer: u32,
    pub(super) alive: bool,
}

impl World {
    pub(super) fn report(&mut self, execution: &Execution, outcome: Outcome) {
        let end = Ended {
            outcome,
            exit_code: (outcome == Outcome::Failed).then_some(7),
            signal: None,
            reason: None,
            started_at: None,
            ended_at: None,
            output: Output::default(),
        };
        let input = Input::Report(Report {
            task: execution.task,
            attempt: execution.attempt,
            offer: execution.offer,
            instance: execution.holder.instance.clone(),
            what: What::Ended(end),
            token: String::new(),
        });
        let source = Source::Worker(execution.holder.worker.clone());
        self.say(source.clone(), input.clone());
        while self.dice.chance(self.fate.duplicate) {
            self.say(source.clone(), input.clone());
        }
        self.offers.remove(&(execution.task, execution.attempt));
    }

    fn new_holder(&mut self) -> Holder {
        self.n_workers += 1;
        Holder {
            worker: format!("w{}", self.n_workers % 4).parse().unwrap(),
            instance: format!("i{}", self.n_workers).parse().unwrap(),
        }
    }

    /// Somebody claims an attempt that is still to come, and so takes the claim away from whoever will be offered it.
    pub(super) fn forge(&mut self) {
        let n_tasks = self.run.plan().map_or(0, rr_core::Plan::n_tasks);
        if n_tasks == 0 {
            return;
        }
        let task = self.dice.roll(u64::from(n_tasks)) as u32;
        let attempt = self.run.task(task).unwrap().1 + 1;
        if self.claims.contains_key(&(task, attempt)) {
            return;
        }
        let forger = self.new_holder();
        self.claims.insert((task, attempt), forger.clone());
        let claim = Claim { task, attempt, worker: forger.worker, instance: forger.instance, token: String::new() };
        self.say(Source::from(&claim), Input::Claim(claim));
        if self.fate.tokens {
            self.inbox.pop();
        }
        // It is answered before the attempt is offered.
        self.decide();
    }

    pub(super) fn take(&mut self, task: u32, attempt: u32, offer: u32) {
        let holder = self.new_holder();
        if self.dice.chance(self.fate.give_back) {
            return self.give_back(holder, task, attempt, offer);
        }
        let claimed = self.run.plan().unwrap().offer(self.run.id(), task, attempt, offer).unwrap().claimed;
        let busy = self.executions.iter().any(|e| e.task == task && e.attempt == attempt);
        let execution = Execution { holder: holder.clone(), task, attempt, offer, alive: true };
        if claimed {
            if self.claims.contains_key(&(task, attempt)) {
                self.offers.remove(&(task, attempt));
                return;
            }
            self.claims.insert((task, attempt), holder.clone());
            let claim = Claim { task, attempt, worker: holder.worker, instance: holder.instance, token: String::new() };
            self.say(Source::from(&claim), Input::Claim(claim));
        } else if busy {
            // The server may give the offer out a second time.
            if self.dice.chance(self.fate.duplicate) {
                self.report(&execution, Outcome::Lost);
            }
            return;
        } else if self.dice.chance(50) {
            let report = Report {
                task,
                attempt,
                offer,
                instance: holder.instance,
                what: What::Started { at: self.now },
                token: String::new(),
            };
            self.say(Source::Worker(holder.worker), Input::Report(report));
        }
        self.executions.push(execution);
    }

    /// A worker has no room for what it got. It says so, perhaps twice, and then acknowledges the offer.
    fn give_back(&mut self, holder: Holder, task: u32, attempt: u32, offer: u32) {
        let input = Input::Report(Report {
            task,
            attempt,
            offer,
            instance: holder.instance,
            token: String::new(),
            what: What::Returned {},
        });
        let source = Source::Worker(holder.worker);
        self.say(source.clone(), input.clone());
        while self.dice.chance(self.fate.duplicate) {
            self.say(source.clone(), input.clone());
        }
        self.offers.remove(&(task, attempt));
    }

    pub(super) fn finish(&mut self, index: usize) {
        if self.dice.chance(self.fate.lose) {
            self.executions[index].alive = false;
            return;
        }
        let execution = self.executions.remove(index);
        let outcome = match self.dice.roll(100) {
            roll if roll < self.fate.fail => Outcome::Failed,
            roll if roll < self.fate.fail + self.fate.fail / 10 => Outcome::Timeout,
            _ => Outcome::Ok,
        };
        self.report(&execution, outcome);
    }

    /// Claims an attempt for nobody. Where that fails its claim was answered, since all that was said is.
    pub(super) fn withdraw(&mut self, task: u32, attempt: u32) -> bool {
        let nobody = Holder { worker: WITHDRAWN_BY.parse().unwrap(), instance: "c1".parse().unwrap() };
        let winner = self.claims.entry((task, attempt)).or_insert_with(|| nobody.clone());
        *winner == nobody
    }
}
