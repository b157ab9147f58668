//! `rr.api.list`: runs, from the bucket that shows their states.

use std::cmp::Reverse;

use rr_nats::ApiRequest;
use rr_schemas::api::{Code, LIST_MAX, List, Listed, ListedRun, Refusal};

use super::{Desk, SMALL_BYTES_MAX, words::told};

/// Runs in a list where nobody says how many.
const LIMIT: u32 = 50;

/// The runs that changed last, the one that was started last first.
pub(super) async fn list(desk: &Desk, request: &ApiRequest) -> Result<Listed, Refusal> {
    let List { status, limit } = request.read(SMALL_BYTES_MAX)?;
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIST_MAX).contains(&limit) {
        return Err(Refusal::new(Code::BadInput, format_args!("limit: expected 1 to {LIST_MAX}, got {limit}")));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Closed only with the coordinator.
    let _turn = desk.large.acquire().await;
    let wanted = |status_of_run| status.is_empty() || status.contains(&status_of_run);
    let found = desk.shell.mesh.recent_statuses(limit, |entry| wanted(entry.view.status)).await;
    let (entries, is_all) = found.map_err(|error| told(&error))?;
    let mut runs: Vec<ListedRun> = entries.into_iter().map(ListedRun::from).collect();
    runs.sort_by_key(|run| Reverse(run.started_at));
    let more = !is_all || runs.len() > limit;
    runs.truncate(limit);
    Ok(Listed { runs, more })
}
