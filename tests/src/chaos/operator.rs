//! What an operator, or whoever has the operator's password, does to the streams: through the server's own interface,
//! without a word to `rr`.

use serde_json::{Map, Value, json};

use crate::by_hand::ByHand;

/// A header block without headers.
const NO_HEADERS: &[u8] = b"NATS/1.0\r\n\r\n";

/// A login that may do everything.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The port of the server on this machine.
    pub port: u16,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl Operator {
    /// A connection that says what it is told to say.
    ///
    /// # Panics
    /// The server does not answer.
    pub async fn by_hand(&self) -> ByHand {
        ByHand::connect(self.port, &self.user, &self.password).await.expect("a connection")
    }

    /// Calls `$JS.API.…`.
    ///
    /// # Panics
    /// Nobody answers, or it is refused.
    pub async fn call(&self, operation: &str, request: &Value) -> Value {
        let answer = self.try_call(operation, request).await;
        assert!(answer.get("error").is_none(), "{operation}: {answer}");
        answer
    }

    /// The same, and a refusal is an answer.
    ///
    /// # Panics
    /// Nobody answers.
    pub async fn try_call(&self, operation: &str, request: &Value) -> Value {
        let subject = format!("$JS.API.{operation}");
        let said = self.by_hand().await.ask(subject.as_bytes(), NO_HEADERS, request.to_string().as_bytes()).await;
        let said = said.unwrap_or_else(|error| panic!("{operation}: {error}"));
        let json = said.split_once("\r\n{").map(|(_, rest)| format!("{{{rest}")).unwrap_or_default();
        // What follows the document is talk of the server.
        let first = serde_json::Deserializer::from_str(&json).into_iter::<Value>().next();
        first.and_then(Result::ok).unwrap_or_else(|| panic!("{operation}: {said}"))
    }

    /// What the server knows of a stream; none where there is none.
    ///
    /// # Panics
    /// Nobody answers.
    pub async fn stream(&self, name: &str) -> Option<Value> {
        Some(self.try_call(&format!("STREAM.INFO.{name}"), &json!({})).await).filter(|info| info.get("error").is_none())
    }

    /// What the server knows of a consumer; none where there is none.
    ///
    /// # Panics
    /// Nobody answers.
    pub async fn consumer(&self, stream: &str, name: &str) -> Option<Value> {
        let info = self.try_call(&format!("CONSUMER.INFO.{stream}.{name}"), &json!({})).await;
        Some(info).filter(|info| info.get("error").is_none())
    }

    /// Removes a stream with all that is in it.
    ///
    /// # Panics
    /// It cannot be removed.
    pub async fn delete_stream(&self, name: &str) {
        self.call(&format!("STREAM.DELETE.{name}"), &json!({})).await;
    }

    /// Removes a durable.
    ///
    /// # Panics
    /// It cannot be removed.
    pub async fn delete_consumer(&self, stream: &str, name: &str) {
        self.call(&format!("CONSUMER.DELETE.{stream}.{name}"), &json!({})).await;
    }

    /// Removes every message of a stream.
    ///
    /// # Panics
    /// It cannot be done.
    pub async fn purge(&self, name: &str) {
        self.call(&format!("STREAM.PURGE.{name}"), &json!({})).await;
    }

    /// Changes options of a stream, as `nats stream edit` does.
    ///
    /// # Panics
    /// It cannot be done.
    pub async fn edit(&self, name: &str, options: &Value) {
        let info = self.stream(name).await.unwrap_or_else(|| panic!("no stream {name}"));
        let mut config: Map<String, Value> =
            info.get("config").and_then(Value::as_object).cloned().expect("the options of a stream");
        config.extend(options.as_object().cloned().unwrap_or_default());
        self.call(&format!("STREAM.UPDATE.{name}"), &Value::Object(config)).await;
    }

    /// Bytes that a stream holds.
    ///
    /// # Panics
    /// There is none.
    pub async fn bytes(&self, name: &str) -> u64 {
        let info = self.stream(name).await.unwrap_or_default();
        info.pointer("/state/bytes").and_then(Value::as_u64).expect("the state of a stream")
    }
}
