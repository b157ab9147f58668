//! Storing a decision: one message, with compare-and-set on the last one.

use std::time::Duration;

use rr_nats::{EncodedDecision, PublishError, encode_decision};
use rr_schemas::decision::{BYTES_MAX, Decision, Record};

use crate::{entity::Entity, shell::Shell, trouble::TurnError};

/// How often an append without an answer is tried again as it is.
const TRIES: u32 = 4;
/// The first pause between two tries; it doubles each time.
const PAUSE: Duration = Duration::from_millis(100);

/// Appends the next decision and hands its events back once they are stored.
pub(crate) async fn append(
    shell: &Shell,
    entity: &mut Entity,
    upto: u64,
    events: Vec<Record>,
) -> Result<Vec<Record>, TurnError> {
    let n = entity.tip.n + 1;
    let secret = if n == 1 { shell.seed.secret(&entity.run_id) } else { String::new() };
    let (by, prev) = (shell.instance.clone(), entity.tip.hash.clone());
    let decision = Decision { n, by, upto, prev, secret, events };
    let encoded = encode_decision(&entity.id, &decision).map_err(|error| TurnError::Unavailable(error.to_string()))?;
    // The decision that submits a run carries its flow, which has a limit of its own.
    let is_first = decision.submitted().is_some();
    if encoded.len() > BYTES_MAX && !is_first && spans_inputs(&decision.events) {
        return Err(TurnError::TooLarge);
    }
    let seq = store(shell, entity, &encoded).await?;
    entity.tip.n = decision.n;
    if n == 1 {
        entity.secret = decision.secret;
    }
    entity.tip.seq = seq;
    encoded.hash().clone_into(&mut entity.tip.hash);
    entity.has_answered(upto, seq);
    Ok(decision.events)
}

fn spans_inputs(events: &[Record]) -> bool {
    events.first().map(|record| record.cause) != events.last().map(|record| record.cause)
}

async fn store(shell: &Shell, entity: &Entity, encoded: &EncodedDecision) -> Result<u64, TurnError> {
    let mut pause = PAUSE;
    for _ in 0..TRIES {
        match shell.mesh.append(&entity.id, encoded, entity.tip.seq).await {
            Ok(seq) => return Ok(seq),
            // Somebody else's decision is there, or an earlier try of this one.
            Err(PublishError::Conflict) => return read_back(shell, entity, encoded).await?.ok_or(TurnError::Stale),
            Err(PublishError::Unknown(reason)) => {
                tracing::debug!(run.id = %entity.id, %reason, "append without an answer");
                if let Ok(Some(seq)) = read_back(shell, entity, encoded).await {
                    return Ok(seq);
                }
            }
            Err(PublishError::NotFound { .. } | PublishError::Unsettled) => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(TurnError::Unavailable("the append is not acknowledged".to_owned()))
}

/// Where this very decision is stored, if it is. The hash covers number, author and content: a decision of the same
/// number that we gave up earlier is another one.
async fn read_back(shell: &Shell, entity: &Entity, encoded: &EncodedDecision) -> Result<Option<u64>, TurnError> {
    let last = shell.mesh.last_decision(&entity.id).await?;
    Ok(last.filter(|stored| stored.hash == encoded.hash()).map(|stored| stored.seq))
}
