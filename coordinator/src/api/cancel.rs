//! `rr.api.cancel`: stores the wish to stop a run.

use std::time::Duration;

use rr_nats::ApiRequest;
use rr_schemas::{
    api::{Cancel, Cancelled, Refusal},
    input::{self, Input},
};
use tokio::time::sleep;

use super::{
    Desk, SMALL_BYTES_MAX,
    words::{publish_told, told, unknown},
};

/// Pause before the wish is stored again; to ask twice does no harm.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks for the end of a run. One that is over stays as it is.
pub(super) async fn cancel(desk: &Desk, request: &ApiRequest) -> Result<Cancelled, Refusal> {
    let Cancel { run, reason, by } = request.read(SMALL_BYTES_MAX)?;
    let mesh = &desk.shell.mesh;
    match mesh.status(&run).await.map_err(|error| told(&error))? {
        Some(entry) if entry.view.status.is_final() => return Ok(Cancelled { run, cancel: false }),
        Some(_) => {}
        None if mesh.has_run(&run).await.map_err(|error| told(&error))? => {}
        None => return Err(unknown(&run)),
    }
    let input = Input::Cancel(input::Cancel { by: by.as_str().to_owned(), reason });
    loop {
        match mesh.request(&(&run).into(), by.as_str(), &input).await {
            Ok(_) => return Ok(Cancelled { run, cancel: true }),
            // Until the answer is due.
            Err(error) if error.is_retryable() => sleep(PAUSE).await,
            Err(error) => return Err(publish_told(&error)),
        }
    }
}
