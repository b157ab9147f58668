//! A mesh on the model: what the crates speak to a server they can speak to it.

use std::time::Duration;

use rr_model::{Model, ModelConfig, Servers};
use rr_nats::{Topology, init};

/// Simulated hours are moments.
#[tokio::test(start_paused = true)]
async fn a_mesh_is_made_on_the_model() {
    for servers in [Servers::One, Servers::Three] {
        let model = Model::new(ModelConfig::new(7, servers));
        let link = model.link("c1").await.unwrap();
        let (mesh, parts) = init(&link, &Topology::default()).await.unwrap();
        assert!(parts.iter().all(|part| part.made), "{parts:?}");
        mesh.is_whole().await.unwrap();
        let (_, parts) = init(&link, &Topology::default()).await.unwrap();
        assert!(parts.iter().all(|part| !part.made), "{parts:?}");
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert!(link.is_connected());
    }
}
