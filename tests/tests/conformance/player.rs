//! Plays a script over a connection, to a real server or to the model, and writes down what is answered: without times,
//! and with names for what each server makes up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::StreamExt as _;
use jiff::Timestamp;
use rr_nats::transport::{HeaderMap, Message, Messages, Outgoing, Transport};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::script::{Act, Script};

/// How long anything may take that must come.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long nothing must come, to say that nothing comes.
const MOMENT: Duration = Duration::from_millis(250);
/// How long a cluster may say that nobody listens: a leader is found, and its servers tell each other.
const SETTLING: Duration = Duration::from_millis(1_500);
/// How long servers of a cluster may take until all of them know what one has done.
const SPREADING: Duration = Duration::from_millis(120);
/// The same for the parts of one server.
const TELLING: Duration = Duration::from_millis(10);
/// What differs each time, or is about who keeps a stream.
const UNTOLD: [&str; 12] = [
    "type",
    "created",
    "ts",
    "first_ts",
    "last_ts",
    "last_active",
    "pinned_ts",
    "time",
    "cluster",
    "num_replicas",
    "did_create",
    "domain",
];

/// Plays scripts over one connection.
pub(crate) struct Player {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) is_clustered: bool,
    /// What the servers' clock says.
    pub(crate) clock: Arc<dyn Fn() -> Timestamp>,
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
    /// Where what is said of each delivery goes.
    deliveries: Vec<String>,
    pins: Vec<String>,
}

impl Player {
    /// Plays a script as number `n`, and returns what was answered to each step.
    pub(crate) async fn play(&self, n: usize, script: &Script) -> Vec<String> {
        let name = format!("c{n:03}");
        let prefix = format!("_INBOX.{name}.");
        let inbox = self.transport.subscribe(format!("{prefix}>").into(), None).await.unwrap();
        self.transport.flush().await.unwrap();
        let (arrived, deliveries, pins) = (Vec::new(), Vec::new(), Vec::new());
        let mut play = Play { player: self, name, inbox, prefix, asked: 0, arrived, deliveries, pins };
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
        for (n, pin) in self.pins.iter().enumerate() {
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

    async fn act(&mut self, act: &Act) -> String {
        match act {
            Act::Stream(stream, more) => {
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
            Act::Consumer(stream, consumer, more) => {
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
            Act::Api(operation, body) => {
                let answer = self.api(operation, body).await;
                self.spread().await;
                answer.map_or_else(|error| error, |answer| self.plain(answer).to_string())
            }
            Act::Ask(subject, body) => match self.ask(subject, body, None, 2 * MOMENT).await {
                None => "no answer".to_owned(),
                Some(answer) => self.told(&answer),
            },
            Act::Publish(subject, body, lines) => self.publish(subject, body, lines).await,
            Act::Pull(stream, consumer, body) => {
                self.pull(stream, consumer, body).await;
                String::new()
            }
            Act::Fetch(stream, consumer, n) => self.fetch(stream, consumer, *n).await,
            Act::Take(n) => self.take(*n).await,
            Act::None => match self.next(MOMENT).await {
                None => String::new(),
                Some(message) => self.told(&message),
            },
            Act::Say(n, word) => {
                if self.deliveries.is_empty() {
                    return "of nothing".to_owned();
                }
                let subject = self.deliveries[(n - 1) % self.deliveries.len()].clone();
                let answer = self.ask(&subject, word, None, 2 * MOMENT).await;
                self.spread().await;
                match answer {
                    None => "no answer".to_owned(),
                    Some(answer) => self.told(&answer),
                }
            }
            Act::Direct(stream, body) => self.direct(stream, body).await,
            Act::Info(stream, consumer) => match self.api(&format!("CONSUMER.INFO.@{stream}.{consumer}"), "").await {
                Err(error) => error,
                Ok(info) => self.numbers(&info),
            },
            Act::State(stream) => match self.api(&format!("STREAM.INFO.@{stream}"), "").await {
                Err(error) => error,
                Ok(info) => self.plain(info.get("state").cloned().unwrap_or_default()).to_string(),
            },
            Act::Wait(ms) => {
                sleep(Duration::from_millis(*ms)).await;
                String::new()
            }
        }
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
        let Ok(ack) = serde_json::from_slice::<Value>(&answer.payload) else { return self.told(&answer) };
        match ack.get("error") {
            Some(error) => refusal(error),
            None if ack.get("duplicate").is_some() => format!("duplicate of #{}", ack["seq"]),
            None => format!("#{}", ack["seq"]),
        }
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
                Some(message) => self.told(&message),
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
            let Some(message) = self.next(PATIENCE).await else {
                lines.push("nothing".to_owned());
                break;
            };
            // One server says 404 and three say 408 behind what there was: a script of its own says so.
            if message.status.is_some() {
                lines.push("end".to_owned());
                break;
            }
            lines.push(self.told(&message));
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
            lines.push(self.told(&message));
            if message.status.is_some() {
                break;
            }
        }
        lines.join("\n")
    }

    /// A message in a line.
    fn told(&mut self, message: &Message) -> String {
        let mut headers = BTreeMap::new();
        for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
            let name: &str = name.as_ref();
            let values: Vec<&str> = values.iter().map(|value| value.as_str()).collect();
            headers.insert(name.to_owned(), values.join(","));
        }
        headers.remove("Nats-Time-Stamp");
        if let Some(pin) = headers.get_mut("Nats-Pin-Id") {
            *pin = self.pin(pin);
        }
        let headers = if headers.is_empty() { String::new() } else { format!(" {headers:?}") };
        if let Some(status) = message.status {
            let text = message.description.as_deref().unwrap_or_default();
            return format!("{} {text}{headers}", status.as_u16());
        }
        let body = String::from_utf8_lossy(&message.payload);
        match message.reply.as_ref().filter(|reply| reply.starts_with("$JS.ACK.")) {
            Some(reply) => {
                self.deliveries.push(reply.to_string());
                let tokens: Vec<&str> = reply.split('.').collect();
                let (times, seq, number, left) = (tokens[4], tokens[5], tokens[6], tokens[8]);
                format!("{} #{seq} x{times} d{number} left {left} {body:?}{headers}", message.subject)
            }
            None => format!("{body:?}{headers}"),
        }
    }

    /// A name for what a server made up.
    fn pin(&mut self, id: &str) -> String {
        let known = self.pins.iter().position(|known| known == id);
        let n = known.unwrap_or_else(|| {
            self.pins.push(id.to_owned());
            self.pins.len() - 1
        });
        format!("P{}", n + 1)
    }

    fn numbers(&mut self, info: &Value) -> String {
        let at = |place: &str| format!("{}/{}", info[place]["consumer_seq"], info[place]["stream_seq"]);
        let pin = info["priority_groups"][0]["pinned_client_id"].as_str().map(str::to_owned);
        let pin = pin.map_or_else(String::new, |pin| format!(" pinned {}", self.pin(&pin)));
        format!(
            "delivered {} floor {} unacked {} again {} waiting {} left {}{pin}",
            at("delivered"),
            at("ack_floor"),
            info["num_ack_pending"],
            info["num_redelivered"],
            info["num_waiting"],
            info["num_pending"]
        )
    }

    /// An answer without what differs each time.
    fn plain(&mut self, value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let told = fields.into_iter().filter(|(name, _)| !UNTOLD.contains(&name.as_str()));
                let told: BTreeMap<String, Value> = told.map(|(name, value)| (name, value)).collect();
                let told = told.into_iter().map(|(name, value)| match (name.as_str(), &value) {
                    ("pinned_client_id", Value::String(pin)) => {
                        let pin = self.pin(pin);
                        (name, json!(pin))
                    }
                    ("hdrs", Value::String(block)) => {
                        let block = BASE64_STANDARD.decode(block).unwrap_or_default();
                        let text = String::from_utf8_lossy(&block).into_owned();
                        let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
                        lines.sort_unstable();
                        (name, json!(lines))
                    }
                    _ => {
                        let value = self.plain(value);
                        (name, value)
                    }
                });
                Value::Object(told.collect())
            }
            Value::Array(entries) => entries.into_iter().map(|entry| self.plain(entry)).collect(),
            other => other,
        }
    }
}

fn refusal(error: &Value) -> String {
    format!("refused {} {}: {}", error["code"], error["err_code"], error["description"].as_str().unwrap_or_default())
}
