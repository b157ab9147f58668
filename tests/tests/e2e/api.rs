//! Any NATS client can start, steer and inspect: here one in another language, which knows nothing of ours.

use std::time::Duration;

use rr_tests::{TestMesh, Timing, program, python};

/// All that the client does; most of it waits for half a minute at most.
const LIMIT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn a_client_that_is_not_ours_starts_follows_tells_and_stops_runs() {
    let python = python::with_nats_py().await;
    let (mesh, _coordinator, _worker) = TestMesh::start(Timing::Short).await;
    let _replica = mesh.coordinator();
    mesh.has_coordinators(2).await;
    let server = mesh.address();
    let url = format!("nats://{}:{}@127.0.0.1:{}", server.user(), server.password(), server.port());
    let script = program::root().join("tests/python/client.py");
    let call = mesh.call(&python.program, [script.into_os_string(), url.into()]);
    let call = call.env("PYTHONPATH", python.path.display().to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
    let _said = call.within(LIMIT).run().await.exits(0);
}
