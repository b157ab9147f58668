//! Who a script is played to.

use std::{
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use rr_model::{Model, ModelConfig, Servers};
use rr_nats::transport::Observer;
use rr_tests::{TestMesh, Timing};

use crate::{
    player::{Mortal, Player},
    script::Script,
};

/// Scripts that are played at once to a real server.
const AT_ONCE: usize = 32;

/// Plays every script, several at once.
async fn play_all(player: &Player, scripts: &[Script], at_once: usize) -> Vec<Vec<String>> {
    let plays = scripts.iter().enumerate().map(|(n, script)| player.play(n, script));
    stream::iter(plays).buffered(at_once).collect().await
}

/// A connection to servers that are real.
async fn connected(url: &str, is_clustered: bool) -> Player {
    let servers: Vec<String> = url.split(',').map(str::to_owned).collect();
    let login = servers[0].trim_start_matches("nats://").split_once('@').unwrap().0;
    let (user, password) = login.split_once(':').unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    let transport = Arc::new(options.connect(servers).await.unwrap());
    Player { transport, is_clustered, clock: Arc::new(Timestamp::now), mortal: None }
}

/// To a server that is real.
pub(crate) async fn on_server(scripts: &[Script]) -> Vec<Vec<String>> {
    let mesh = TestMesh::single(Timing::Default).await;
    let player = connected(mesh.url(), false).await;
    play_all(&player, scripts, AT_ONCE).await
}

/// To a server that is real, one by one: it can be killed.
pub(crate) async fn on_mortal_server(scripts: &[Script]) -> Vec<Vec<String>> {
    let mesh = TestMesh::bare(Timing::Default).await;
    let mut player = connected(mesh.url(), false).await;
    player.mortal = Some(Mortal::Real(Mutex::new(Some(Box::new(mesh)))));
    play_all(&player, scripts, 1).await
}

/// To a cluster of three that is real.
pub(crate) async fn on_cluster(scripts: &[Script]) -> Vec<Vec<String>> {
    let mesh = TestMesh::cluster(Timing::Default).await;
    let player = connected(mesh.url(), true).await;
    play_all(&player, scripts, AT_ONCE).await
}

/// To the model, in simulated time.
pub(crate) fn on_model(scripts: Vec<Script>, servers: Servers) -> JoinHandle<Vec<Vec<String>>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let model = Model::new(ModelConfig::new(1, servers));
            let transport = Arc::new(model.client("script", Observer::default()));
            let mortal = Some(Mortal::Model(model.clone()));
            let clock = Arc::new(move || model.now());
            let player = Player { transport, is_clustered: servers == Servers::Three, clock, mortal };
            play_all(&player, &scripts, 1).await
        })
    })
}
