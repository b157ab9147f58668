//! Plays a script over a connection, to a real server or to the model, and writes down what is answered: without times,
//! and with names for what each server makes up.

mod leaders;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use jiff::Timestamp;
use rr_model::{Fault, Model};
use rr_nats::transport::{HeaderMap, Message, Messages, Outgoing, Transport};
use rr_tests::{TestMesh, eventually};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    script::{Act, Script},
    told::{Teller, counts, numbers, refusal},
};

/// How long anything may take that must come.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a request waits for what is there: where too much is under way the server says nothing.
const HELD: Duration = Duration::from_secs(2);
/// How long nothing must come, to say that nothing comes.
const MOMENT: Duration = Duration::from_millis(250);
/// How long a cluster may say that nobody listens: a leader is found, and its servers tell each other.
const SETTLING: Duration = Duration::from_millis(1_500);
/// How long servers of a cluster may take until all of them know what one has done.
const SPREADING: Duration = Duration::from_millis(120);
/// The same for the parts of one server.
const TELLING: Duration = Duration::from_millis(30);
/// What a publish is refused with because of another one that the copies have not agreed on yet.
const UNDER_WAY: u64 = 10164;
/// How often a cluster is given the occasion to say so.
const CLASHES_MAX: usize = 5;

/// Plays scripts over one connection.
pub(crate) struct Player {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) is_clustered: bool,
    /// What the servers' clock says.
    pub(crate) clock: Arc<dyn Fn() -> Timestamp>,
    /// Who can be killed, and started again.
    pub(crate) mortal: Option<Mortal>,
}

/// A server that can be killed.
pub(crate) enum Mortal {
    Real(Mutex<Option<Box<TestMesh>>>),
    Model(Model),
}

impl Mortal {
    /// Kills it, and starts it again.
    async fn restart(&self) {
        match self {
            Self::Real(mesh) => {
                let taken = mesh.lock().unwrap_or_else(PoisonError::into_inner).take();
                let mut taken = taken.unwrap_or_else(|| panic!("it is being killed"));
                taken.server().kill().await.unwrap();
                taken.server().restart().await.unwrap();
                *mesh.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
            }
            Self::Model(model) => {
                model.inject(&Fault::Restart { down: Duration::from_millis(100), loses_unsynced: false });
            }
        }
    }
}

/// A script that is being played.
struct Play<'p> {
    player: &'p Player,
    /// What `@` stands for.
    name: String,
    inbox: Messages,
    prefix: String,
    asked: u64,
    /// What has come to pulls and was not taken.
    arrived: Vec<Message>,
    teller: Teller,
}

impl Player {
    /// Plays a script as number `n`, and returns what was answered to each step.
    pub(crate) async fn play(&self, n: usize, script: &Script) -> Vec<String> {
        let name = format!("c{n:03}");
        let prefix = format!("_INBOX.{name}.");
        let inbox = self.transport.subscribe(format!("{prefix}>").into(), None).await.unwrap();
        self.transport.flush().await.unwrap();
        let (arrived, teller) = (Vec::new(), Teller::default());
        let mut play = Play { player: self, name, inbox, prefix, asked: 0, arrived, teller };
        let mut told = Vec::new();
        for step in &script.steps {
            let answer = play.act(&step.act).await;
            told.push(play.without_name(&answer));
        }
        told
    }
}

impl Play<'_> {
    fn with_name(&self, text: &str) -> String {
        let mut text = text.replace('@', &self.name);
        for (n, pin) in self.teller.pins.iter().enumerate() {
            text = text.replace(&format!("$P{}", n + 1), pin);
        }
        text
    }

    fn without_name(&self, text: &str) -> String {
        text.replace(&self.name, "@")
    }

    async fn send(&self, subject: &str, body: String, headers: Option<HeaderMap>, reply: &str) {
        let message = Outgoing { subject: subject.into(), headers, payload: body.into() };
        timeout(PATIENCE, self.player.transport.publish(message, Some(reply.into()))).await.unwrap().unwrap();
    }

    /// The next answer to a request; what comes to pulls is kept.
    async fn answer(&mut self, reply: &str, within: Duration) -> Option<Message> {
        let deadline = Instant::now() + within;
        loop {
            let message = tokio::time::timeout_at(deadline, self.inbox.next()).await.ok()??;
            if message.subject.as_str() == reply {
                return Some(message);
            }
            self.arrived.push(message);
        }
    }

    async fn ask(
        &mut self,
        subject: &str,
        body: &str,
        headers: Option<HeaderMap>,
        within: Duration,
    ) -> Option<Message> {
        let subject = self.with_name(subject);
        let until = Instant::now() + SETTLING;
        loop {
            self.asked += 1;
            let reply = format!("{}r.{}", self.prefix, self.asked);
            self.send(&subject, self.with_name(body), headers.clone(), &reply).await;
            let answer = self.answer(&reply, within).await;
            let nobody =
                answer.as_ref().is_some_and(|answer| answer.status.is_some_and(|status| status.as_u16() == 503));
            let is_settling = nobody || (answer.is_none() && within >= PATIENCE);
            if !(self.player.is_clustered && is_settling && Instant::now() < until) {
                return answer;
            }
            sleep(SPREADING).await;
        }
    }

    async fn api(&mut self, operation: &str, body: &str) -> Result<Value, String> {
        let answer = self.ask(&format!("$JS.API.{operation}"), body, None, PATIENCE).await;
        let answer = answer.ok_or("no answer")?;
        if let Some(status) = answer.status {
            return Err(format!("status {}", status.as_u16()));
        }
        let value: Value = serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
        match value.get("error") {
            Some(error) => Err(refusal(error)),
            None => Ok(value),
        }
    }

    /// Servers of a cluster tell each other what was done, and a server tells its consumers of messages that are gone.
    async fn spread(&self) {
        sleep(if self.player.is_clustered { SPREADING } else { TELLING }).await;
    }

    /// What is told of a consumer or a stream; by a cluster when it says the same twice.
    async fn settled(&mut self, operation: &str) -> Result<Value, String> {
        let until = Instant::now() + SETTLING;
        let mut before = None;
        loop {
            self.spread().await;
            let told = self.api(operation, "").await.map(|info| self.teller.plain(info));
            if !self.player.is_clustered || before.as_ref() == Some(&told) || Instant::now() > until {
                return told;
            }
            before = Some(told);
        }
    }

    async fn act(&mut self, act: &Act) -> String {
        match act {
            Act::Stream(stream, more) => self.make_stream(stream, more).await,
            Act::Consumer(stream, consumer, more) => self.make_consumer(stream, consumer, more).await,
            Act::Api(operation, body) => {
                let answer = self.api(operation, body).await;
                self.spread().await;
                answer.map_or_else(|error| error, |answer| self.teller.plain(answer).to_string())
            }
            Act::Ask(subject, body) => match self.ask(subject, body, None, 2 * MOMENT).await {
                None => "no answer".to_owned(),
                Some(answer) => self.teller.told(&answer),
            },
            Act::Publish(subject, body, lines) => self.publish(subject, body, lines).await,
            Act::Race(n, subject, lines) => {
                let (stored, _) = self.race(*n, subject, lines).await;
                format!("{stored} stored, {} not", n - stored)
            }
            Act::Clash(n, subject, lines) => {
                let (stored, mut codes) = self.race(*n, subject, lines).await;
                // A machine that stalls at the wrong moment lets the first one be agreed on before the second is sent.
                for n_again in 1..CLASHES_MAX {
                    if self.player.is_clustered && !codes.contains(&UNDER_WAY) {
                        codes = self.race(*n, &format!("{subject}{n_again}"), lines).await.1;
                    }
                }
                let words =
                    if codes.contains(&UNDER_WAY) { "some because of what is" } else { "none because of what is" };
                format!("{stored} stored, {} not, {words} under way", n - stored)
            }
            Act::Pull(stream, consumer, body) => {
                self.pull(stream, consumer, body).await;
                String::new()
            }
            Act::Fetch(stream, consumer, n) => self.fetch(stream, consumer, *n).await,
            Act::Take(n) => self.take(*n).await,
            Act::None => match self.next(MOMENT).await {
                None => String::new(),
                Some(message) => self.teller.told(&message),
            },
            Act::Say(n, word) => self.say(*n, word).await,
            Act::Direct(stream, body) => self.direct(stream, body).await,
            Act::Info(stream, consumer) | Act::Counts(stream, consumer) => {
                let counts_alone = matches!(act, Act::Counts(..));
                let told = self.settled(&format!("CONSUMER.INFO.@{stream}.{consumer}")).await;
                told.map_or_else(|error| error, |info| if counts_alone { counts(&info) } else { numbers(&info) })
            }
            Act::State(stream) => {
                let told = self.settled(&format!("STREAM.INFO.@{stream}")).await;
                told.map_or_else(|error| error, |info| info["state"].to_string())
            }
            Act::StepDown(stream, consumer) => self.step_down(stream, consumer).await,
            Act::Restart => {
                self.restart().await;
                String::new()
            }
            Act::Wait(ms) => {
                sleep(Duration::from_millis(*ms)).await;
                String::new()
            }
        }
    }

    async fn make_stream(&mut self, stream: &str, more: &Map<String, Value>) -> String {
        let name = format!("@{stream}");
        let mut config = Map::from_iter([
            ("name".to_owned(), json!(name)),
            ("subjects".to_owned(), json!([format!("{name}.>")])),
            ("num_replicas".to_owned(), json!(if self.player.is_clustered { 3 } else { 1 })),
        ]);
        config.extend(more.clone());
        let made = self.api(&format!("STREAM.CREATE.{name}"), &Value::Object(config).to_string()).await;
        self.spread().await;
        made.map_or_else(|error| error, |_| "made".to_owned())
    }

    async fn make_consumer(&mut self, stream: &str, consumer: &str, more: &Map<String, Value>) -> String {
        let mut config = Map::from_iter([
            ("durable_name".to_owned(), json!(consumer)),
            ("ack_policy".to_owned(), json!("explicit")),
        ]);
        config.extend(more.clone());
        let body = json!({"stream_name": format!("@{stream}"), "config": config}).to_string();
        let made = self.api(&format!("CONSUMER.CREATE.@{stream}.{consumer}"), &body).await;
        self.spread().await;
        made.map_or_else(|error| error, |_| "made".to_owned())
    }

    async fn say(&mut self, n: usize, word: &str) -> String {
        if self.teller.deliveries.is_empty() {
            return "of nothing".to_owned();
        }
        let subject = self.teller.deliveries[(n - 1) % self.teller.deliveries.len()].clone();
        let answer = self.ask(&subject, word, None, 2 * MOMENT).await;
        self.spread().await;
        answer.map_or_else(|| "no answer".to_owned(), |answer| self.teller.told(&answer))
    }

    async fn restart(&self) {
        let before = self.player.transport.generation();
        self.player.mortal.as_ref().unwrap_or_else(|| panic!("nobody can be killed here")).restart().await;
        eventually("connection", PATIENCE, async || match self.player.transport.generation() {
            generation if generation > before => Ok(()),
            generation => Err(generation),
        })
        .await;
    }

    async fn publish(&mut self, subject: &str, body: &str, lines: &[(String, String)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(name.as_str(), self.in_time(value));
        }
        let headers = (!lines.is_empty()).then_some(headers);
        let answer = self.ask(subject, body, headers, PATIENCE).await;
        self.spread().await;
        let Some(answer) = answer else { return "no answer".to_owned() };
        let Ok(ack) = serde_json::from_slice::<Value>(&answer.payload) else { return self.teller.told(&answer) };
        match ack.get("error") {
            Some(error) => refusal(error),
            None if ack.get("duplicate").is_some() => format!("duplicate of #{}", ack["seq"]),
            None => format!("#{}", ack["seq"]),
        }
    }

    /// How many of those that are published at once are stored, and with which codes the others are refused. How many with which is
    /// a matter of time: of two that are under way a cluster says so, one server does not know them.
    async fn race(&mut self, n: usize, subject: &str, lines: &[(String, String)]) -> (usize, BTreeSet<u64>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(name.as_str(), self.in_time(value));
        }
        let replies: Vec<String> = (0..n).map(|racer| format!("{}race.{racer}", self.prefix)).collect();
        let subject = self.with_name(subject);
        for reply in &replies {
            self.send(&subject, String::new(), Some(headers.clone()), reply).await;
        }
        let (mut stored, mut codes) = (0, BTreeSet::new());
        for _ in &replies {
            let answer = timeout(PATIENCE, self.inbox.next()).await.unwrap().unwrap();
            let ack: Value = serde_json::from_slice(&answer.payload).unwrap();
            stored += usize::from(ack.get("error").is_none() && ack.get("duplicate").is_none());
            codes.extend(ack.get("error").and_then(|error| error["err_code"].as_u64()));
        }
        self.spread().await;
        (stored, codes)
    }

    /// `AT now+300` is a schedule for a time in so many milliseconds.
    fn in_time(&self, value: &str) -> String {
        let value = self.with_name(value).replace("AT ", "@at ");
        let Some((before, ms)) = value.split_once("now+") else { return value };
        let since = jiff::SignedDuration::from_millis(ms.parse().unwrap());
        // With all digits, so that it has one length.
        format!("{before}{:.9}", (self.player.clock)() + since)
    }

    async fn next(&mut self, within: Duration) -> Option<Message> {
        if !self.arrived.is_empty() {
            return Some(self.arrived.remove(0));
        }
        timeout(within, self.inbox.next()).await.ok()?
    }

    async fn take(&mut self, n: usize) -> String {
        let mut lines = Vec::new();
        for _ in 0..n {
            let line = match self.next(PATIENCE).await {
                None => "nothing".to_owned(),
                Some(message) => self.teller.told(&message),
            };
            lines.push(line);
        }
        lines.join("\n")
    }

    async fn pull(&mut self, stream: &str, consumer: &str, body: &str) {
        self.asked += 1;
        let reply = format!("{}p.{}", self.prefix, self.asked);
        let subject = self.with_name(&format!("$JS.API.CONSUMER.MSG.NEXT.@{stream}.{consumer}"));
        self.send(&subject, self.with_name(body), None, &reply).await;
    }

    async fn fetch(&mut self, stream: &str, consumer: &str, n: usize) -> String {
        self.pull(stream, consumer, &json!({"batch": n, "no_wait": true}).to_string()).await;
        let mut lines = Vec::new();
        while lines.len() < n {
            let Some(message) = self.next(HELD).await else {
                lines.push("nothing".to_owned());
                break;
            };
            // One server says 404 and three say 408 behind what there was: a script of its own says so.
            if message.status.is_some() {
                lines.push("end".to_owned());
                break;
            }
            lines.push(self.teller.told(&message));
        }
        lines.join("\n")
    }

    async fn direct(&mut self, stream: &str, body: &str) -> String {
        self.asked += 1;
        let reply = format!("{}r.{}", self.prefix, self.asked);
        let subject = self.with_name(&format!("$JS.API.DIRECT.GET.@{stream}"));
        self.send(&subject, self.with_name(body), None, &reply).await;
        let mut lines = Vec::new();
        while let Some(message) = self.answer(&reply, 2 * MOMENT).await {
            lines.push(self.teller.told(&message));
            if message.status.is_some() {
                break;
            }
        }
        lines.join("\n")
    }
}
