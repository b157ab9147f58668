//! `rr.api.signal`: stores a signal for the gates of a run.

use std::time::Duration;

use rr_nats::ApiRequest;
use rr_schemas::{
    api::{Code, Refusal, Signal, Signalled},
    flow::signal::unknown as unknown_signal,
    input::{self, Input},
};
use tokio::time::sleep;

use super::{
    Desk, SMALL_BYTES_MAX,
    words::{publish_told, told, unknown},
};

/// Pause before the signal is stored again; to give it twice does no harm.
const PAUSE: Duration = Duration::from_millis(500);

/// Gives a signal. A run that is over stays as it is.
pub(super) async fn signal(desk: &Desk, request: &ApiRequest) -> Result<Signalled, Refusal> {
    let Signal { run, signal, reason, by } = request.read(SMALL_BYTES_MAX)?;
    let mesh = &desk.shell.mesh;
    let entry = mesh.status(&run).await.map_err(|error| told(&error))?;
    if entry.is_some_and(|entry| entry.view.status.is_final()) {
        return Ok(Signalled { run, signal, given: false });
    }
    let first = mesh.first_request(&(&run).into()).await.map_err(|error| told(&error))?;
    let Some(Ok(Input::Submit(submit))) = first.map(|first| first.input) else { return Err(unknown(&run)) };
    if let Some(why) = unknown_signal(&signal, &submit.flow.signals()) {
        return Err(Refusal::new(Code::Unknown, format_args!("run {run}: {why}")));
    }
    let given = input::Signal { signal: signal.clone(), by: by.as_str().to_owned(), reason };
    let input = Input::Signal(given);
    loop {
        match mesh.request(&(&run).into(), by.as_str(), &input).await {
            Ok(_) => return Ok(Signalled { run, signal, given: true }),
            // Until the answer is due.
            Err(error) if error.is_retryable() => sleep(PAUSE).await,
            Err(error) => return Err(publish_told(&error)),
        }
    }
}
