//! Joining the mesh: a coordinator makes the worker's consumers and names them.

use std::time::Duration;

use rr_nats::Mesh;
use rr_schemas::{
    name::InstanceId,
    presence::{Join, JoinAnswer},
};
use tokio::time::sleep;

use crate::config::Options;
use crate::lanes::LaneGroup;

/// First pause between two tries; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why a worker cannot join.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JoinError {
    /// A coordinator says no.
    #[error("join the mesh: {reason}")]
    Refused {
        /// Its reason.
        reason: String,
    },
    /// The server says no.
    #[error("join the mesh")]
    Mesh(#[source] rr_nats::Error),
}

/// Asks once whether a worker has the lanes that it joined with; a coordinator makes what is missing.
pub(crate) async fn verify(mesh: &Mesh, options: &Options, instance: &InstanceId) -> Result<(), JoinError> {
    match mesh.join(&request(options, instance)).await {
        Ok(JoinAnswer::Refused { reason }) => Err(JoinError::Refused { reason }),
        Ok(JoinAnswer::Welcome { .. }) => Ok(()),
        // The next time will do.
        Err(error) => {
            tracing::debug!(%error, "no coordinator says whether the lanes are there");
            Ok(())
        }
    }
}

fn request(options: &Options, instance: &InstanceId) -> Join {
    Join {
        worker: options.name.clone(),
        instance: instance.clone(),
        serves: options.serves.to_wire(),
        labels: options.labels.clone(),
    }
}

/// Asks until a coordinator answers. Safe to drop.
pub(crate) async fn join(mesh: &Mesh, options: &Options, instance: &InstanceId) -> Result<Vec<LaneGroup>, JoinError> {
    let request = request(options, instance);
    let mut pause = PAUSE_MIN;
    let mut has_said = false;
    loop {
        match mesh.join(&request).await {
            Ok(JoinAnswer::Welcome { own, queues }) => return Ok(groups(options, own, queues)),
            Ok(JoinAnswer::Refused { reason }) => return Err(JoinError::Refused { reason }),
            Err(error) if error.is_retryable() => {
                if !has_said {
                    tracing::info!(worker = %options.name, %error, "no coordinator answers yet, waiting for one");
                    has_said = true;
                }
            }
            Err(error) => return Err(JoinError::Mesh(error)),
        }
        sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The worker's own lane weighs as much as a queue that is named once.
fn groups(options: &Options, own: String, queues: Vec<[String; 3]>) -> Vec<LaneGroup> {
    let weights = options.serves.weights().into_iter().map(|(_, weight)| weight);
    let queues = queues.into_iter().zip(weights).map(|(lanes, weight)| LaneGroup { durables: lanes.into(), weight });
    std::iter::once(LaneGroup { durables: vec![own], weight: 1 }).chain(queues).collect()
}
