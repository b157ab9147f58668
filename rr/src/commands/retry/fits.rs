//! Whether a retry can begin: its first decision says in one message what was asked for and everything that is carried over.

use rr_nats::{Mesh, encode_decision};
use rr_schemas::{
    decision::{Decision, Event, Record},
    flow::select::FoundTargets,
    id::{EntityId, RunId},
    input::Submit,
    name::InstanceId,
    retry::Carried,
};

use crate::error::CliError;
use crate::exit::Exit;

/// Room for the headers of that message and for the secret of the run, which only its coordinator draws: some hundred bytes.
const ROOM: usize = 1_024;

/// Refuses what no coordinator could begin on this server.
///
/// # Errors
/// The first decision would be larger than the server takes (65).
pub(super) fn refuse_too_large(
    mesh: &Mesh,
    run: &RunId,
    asked: &Submit,
    found: &FoundTargets,
    carried: &Carried,
) -> Result<(), CliError> {
    let bytes = first_decision(run, asked, found, carried)?.saturating_add(ROOM);
    let limit = mesh.link().max_payload();
    if bytes <= limit {
        return Ok(());
    }
    let (old, n_ranges) = (&carried.run, carried.n_ranges());
    Err(CliError::new(
        Exit::BadInput,
        format_args!(
            "run {old} is too large to be retried: what it has reached lies in {n_ranges} ranges of tasks, with the flow that \
             is a message of {bytes} bytes, and the server takes {limit}; nothing was started"
        ),
    )
    .hint(format_args!(
        "give the server more room (max_payload in its configuration), or start the flow anew: rr publish FLOW"
    )))
}

/// Bytes of the decision that submits the run, which a coordinator takes by itself where much is carried over.
fn first_decision(run: &RunId, asked: &Submit, found: &FoundTargets, carried: &Carried) -> Result<usize, CliError> {
    let Submit { flow, params, by, .. } = asked.clone();
    let retry_of = Some(Box::new(carried.clone()));
    let event = Event::Submitted { flow: Box::new(flow), params, by, found: found.clone(), retry_of };
    let decision = Decision {
        n: 1,
        by: InstanceId::random(&mut fastrand::Rng::new()),
        upto: u64::MAX,
        prev: String::new(),
        secret: String::new(),
        events: vec![Record { cause: u64::MAX, at: crate::environment::now(), event }],
    };
    let encoded = encode_decision(&EntityId::from(run), &decision).map_err(CliError::bug)?;
    Ok(encoded.len())
}
