//! The last lines of tasks that did not succeed.

use std::collections::BTreeMap;
use std::time::Duration;

use rr_nats::{Follow, Mesh, OutputFilter};

use super::lines::Tail;
use super::sequence::Sequence;
use crate::progress::{Story, Tails};

/// How long a chunk for a summary may take to come.
const TAILS_WITHIN: Duration = Duration::from_secs(3);

/// Tasks whose last lines are read for a summary; more of them say nothing new.
const TAILS_MAX: usize = 2_000;

/// The last lines of every task that is in trouble, of its last attempt.
pub(crate) async fn tails(mesh: &Mesh, story: &Story) -> Tails {
    let troubled = story.jobs().iter().flat_map(|job| &job.trouble);
    let attempts: BTreeMap<u32, u32> =
        troubled.map(|(task, trouble)| (*task, trouble.attempt)).take(TAILS_MAX).collect();
    if attempts.is_empty() {
        return Tails::new();
    }
    let filter = OutputFilter { tasks: Some(attempts.keys().copied().collect()) };
    let mut reader = mesh.read_output(story.history().run().id(), filter, Follow::No);
    let mut sequences: BTreeMap<u32, (Sequence, Tail)> = BTreeMap::new();
    loop {
        let chunk = match tokio::time::timeout(TAILS_WITHIN, reader.next()).await {
            Ok(Ok(Some(chunk))) => chunk,
            // Output is for people: a summary without it is better than none.
            Ok(Ok(None)) | Err(_) => break,
            Ok(Err(error)) => {
                tracing::debug!(%error, "output not read");
                break;
            }
        };
        if attempts.get(&chunk.id.task) == Some(&chunk.id.attempt) {
            let (sequence, tail) = sequences.entry(chunk.id.task).or_default();
            for chunk in sequence.push(chunk) {
                tail.push(chunk.id.stream, &chunk.bytes);
            }
        }
    }
    reader.close().await;
    let finish = |(task, (mut sequence, mut tail)): (u32, (Sequence, Tail))| {
        for chunk in sequence.finish() {
            tail.push(chunk.id.stream, &chunk.bytes);
        }
        (task, tail.finish())
    };
    sequences.into_iter().map(finish).collect()
}
