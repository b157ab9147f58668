//! What a coordinator makes again while a part of the mesh does not answer.

use std::time::Duration;

use rr_coordinator::{Coordinator, Options};
use rr_model::{Fault, Model, ModelConfig, Servers};
use rr_nats::{FeedConfig, First, PartitionFeed, Topology, ensure};
use rr_schemas::{
    flow::params::ParamValues,
    id::{EntityId, RunId},
    input::{Input, Submit},
};
use tokio::time::{sleep, timeout};

const MINUTE: Duration = Duration::from_mins(1);

/// Its first decision is lost, and what was asked counts as answered: only whoever looks after all runs wakes it.
#[tokio::test(start_paused = true)]
async fn open_runs_are_woken_though_a_stream_does_not_answer() {
    let model = Model::new(ModelConfig::new(3, Servers::Three));
    let mesh = ensure(&model.link("c1").await.unwrap(), &Topology::default()).await.unwrap();
    let (run, flow): (RunId, _) =
        ("r1".parse().unwrap(), r#"{"name": "f", "jobs": [{"name": "j", "handler": "noop"}]}"#);
    let flow = serde_json::from_str(flow).unwrap();
    let submit = Submit { flow, params: ParamValues::default(), by: "me".to_owned(), retry_of: None };
    mesh.submit(&run, "me", &Input::Submit(Box::new(submit)), First::New).await.unwrap();
    let entity = EntityId::from(&run);
    let config = FeedConfig::new("c0".parse().unwrap());
    let mut feed = PartitionFeed::open(&mesh, mesh.partition_of(&entity), config).await.unwrap();
    for input in feed.next_batch(1).await.unwrap() {
        input.delivery.unwrap().ack.confirm().await.unwrap();
    }
    drop(feed);
    let (unaware, leaderless) = (Duration::ZERO, Duration::from_hours(1));
    model.inject(&Fault::LoseMajority { stream: "RR_OUTPUT".to_owned(), unaware, leaderless });
    let coordinator = Coordinator::start(mesh.clone(), Options::default());
    let answered = async {
        while mesh.history(&entity, 0).await.unwrap().is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(2 * MINUTE, answered).await.expect("it is answered");
    coordinator.stop().await;
}
