//! Leaders that step down because somebody says so.

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{PATIENCE, Play, SETTLING, SPREADING};

impl Play<'_> {
    /// Lets the leader of a stream, or that of one of its consumers, step down, and waits until there is another one, and all know.
    pub(super) async fn step_down(&mut self, stream: &str, consumer: &str) -> String {
        let (kind, place) = match consumer {
            "" => ("STREAM", format!("@{stream}")),
            consumer => ("CONSUMER", format!("@{stream}.{consumer}")),
        };
        let before = self.leader(kind, &place).await;
        let answer = self.api(&format!("{kind}.LEADER.STEPDOWN.{place}"), "").await;
        let Ok(answer) = answer else { return answer.unwrap_err() };
        let until = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader(kind, &place).await;
            if leader.is_some() && leader != before {
                break;
            }
            if Instant::now() > until {
                return format!("nobody takes the place of {before:?}");
            }
            sleep(SPREADING).await;
        }
        self.spread().await;
        self.teller.plain(answer).to_string()
    }

    async fn leader(&mut self, kind: &str, place: &str) -> Option<String> {
        let operation = self.with_name(&format!("$JS.API.{kind}.INFO.{place}"));
        let answer = self.ask(&operation, "", None, SETTLING).await?;
        let info: Value = serde_json::from_slice(&answer.payload).ok()?;
        info["cluster"]["leader"].as_str().filter(|leader| !leader.is_empty()).map(str::to_owned)
    }
}
