//! Plays a script over a connection, to a real server or to the model, and writes down what is answered: without times,
//! and with names for what each server makes up.

mod asking;
mod leaders;
mod mortal;
mod publishing;
mod reading;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rr_nats::transport::{Message, Messages, Transport};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

pub(crate) use self::mortal::Mortal;
use crate::{
    script::{Act, Script},
    told::{Teller, counts, numbers},
};

/// How long anything may take that must come.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long nothing must come, to say that nothing comes.
const MOMENT: Duration = Duration::from_millis(250);
/// How long a cluster may say that nobody listens: a leader is found, and its servers tell each other.
const SETTLING: Duration = Duration::from_millis(1_500);
/// How long servers of a cluster may take until all of them know what one has done.
const SPREADING: Duration = Duration::from_millis(120);

/// Plays scripts over one connection.
pub(crate) struct Player {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) is_clustered: bool,
    /// What the servers' clock says.
    pub(crate) clock: Arc<dyn Fn() -> Timestamp>,
    /// Who can be killed, and started again.
    pub(crate) mortal: Option<Mortal>,
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
            Act::Clash(n, subject, lines) => self.clash(*n, subject, lines).await,
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
}
