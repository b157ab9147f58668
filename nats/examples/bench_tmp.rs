use std::time::Instant;
use futures::StreamExt as _;
use rr_nats::*;
use rr_schemas::{offer::*, input::*, id::*, report::*};
fn offer(run: &RunId, task: u32) -> Offer {
    Offer { run: run.clone(), flow: "f".parse().unwrap(), job: "j".parse().unwrap(), task, attempt: 1, offer: 1,
        target: Target::Queue("q".parse().unwrap()), command: Command::Argv(vec!["true".into()]), env: Default::default(),
        inherit_env: vec![], params: Default::default(), cwd: None, timeout: None, grace: None, claimed: false }
}
async fn go() {
    let link = connect(&ConnectOptions { server: std::env::args().nth(3).unwrap_or("127.0.0.1:42991".into()), ..Default::default() }).await.unwrap();
    let mesh = ensure(&link, &Topology { replicas: std::env::args().nth(2).map_or(1, |n| n.parse().unwrap()), ..Topology::default() }).await.unwrap();
    let n = 100_000u32;
    let entity: EntityId = "r1".parse().unwrap();
    let w = "w1".parse().unwrap();
    let input = Input::Cancel(Cancel { by: "me".into(), reason: None });
    if std::env::args().nth(4).is_some() { let n = 400_000; let t = Instant::now(); futures::stream::iter(0..n).for_each_concurrent(256, |_| async { mesh.request(&entity, "me", &input).await.unwrap(); }).await; println!("{:?}", t.elapsed()); return; }
    for par in [1usize, 16, 256, 1024] {
        let n = if par == 1 { 10_000 } else { n };
        let t = Instant::now();
        futures::stream::iter(0..n).for_each_concurrent(par, |_| async { mesh.request(&entity, "me", &input).await.unwrap(); }).await;
        println!("request x{par}: {:.0}/s", f64::from(n) / t.elapsed().as_secs_f64());
    }
    let run: RunId = format!("run{}", fastrand::u32(..)).parse().unwrap();
    let rep = Report { task: 1, attempt: 1, offer: 1, instance: "i1".parse().unwrap(), what: What::Started { at: jiff::Timestamp::UNIX_EPOCH } };
    let t = Instant::now();
    futures::stream::iter(0..n).for_each_concurrent(256, |_| async { mesh.report(&w, &run, &rep).await.unwrap(); }).await;
    println!("report x256: {:.0}/s", f64::from(n) / t.elapsed().as_secs_f64());
    let t = Instant::now();
    futures::stream::iter(0..n).for_each_concurrent(256, |i| { let run = &run; let mesh = &mesh; async move {
        let e: EntityId = format!("e{i}x{run}").parse().unwrap();
        let d = encode_decision(&e, &rr_schemas::decision::Decision { n: 1, by: "c1".parse().unwrap(), upto: 1, prev: String::new(), events: vec![] }).unwrap();
        mesh.append(&e, &d, 0).await.unwrap(); } }).await;
    println!("append x256: {:.0}/s", f64::from(n) / t.elapsed().as_secs_f64());
    let d = mesh.ensure_queue_lane(&"q".parse().unwrap()).await.unwrap();
    let t = Instant::now();
    futures::stream::iter(0..n).for_each_concurrent(512, |i| { let mesh = &mesh; let run = &run; async move { mesh.offer(&offer(run, i)).await.unwrap(); } }).await;
    println!("offer x512: {:.0}/s", f64::from(n) / t.elapsed().as_secs_f64());
    let mut lane = mesh.open_lane(&d, PullConfig::default()).await.unwrap();
    let t = Instant::now();
    let mut got = 0;
    while got < n {
        if lane.outstanding() < 128 { lane.request(256 - lane.outstanding()).await.unwrap(); }
        if let Some(m) = lane.next().await.unwrap() { m.offer.unwrap(); m.ack.ack().await; got += 1; }
    }
    mesh.flush().await.unwrap();
    println!("pull+ack: {:.0}/s", f64::from(n) / t.elapsed().as_secs_f64());
    let mut feed = PartitionFeed::open(&mesh, mesh.partition_of(&entity), FeedConfig::new("c1".parse().unwrap())).await.unwrap();
    let t = Instant::now();
    let mut got = 0u32;
    while got < 3 * n {
        for m in feed.next_batch(512).await.unwrap() { m.delivery.as_ref().unwrap().ack.ack().await; got += 1; }
    }
    println!("feed+ack: {:.0}/s", f64::from(got) / t.elapsed().as_secs_f64());
    let t = Instant::now();
    let h = mesh.inputs_after(&entity, 0, 0).await.unwrap().len();
    println!("inputs_after: {h} in {:?}", t.elapsed());
    let t = Instant::now();
    for _ in 0..1000 { mesh.history(&entity, 0).await.unwrap(); }
    println!("history (empty): {:?} each", t.elapsed() / 1000);
    let t = Instant::now();
    for i in 0..1000 { let e: EntityId = format!("e{i}x{run}").parse().unwrap(); assert_eq!(mesh.history(&e, 0).await.unwrap().len(), 1); mesh.inputs_after(&e, 0, 0).await.unwrap(); }
    println!("load of a small entity: {:?} each", t.elapsed() / 1000);
}
fn main() {
    let threads = std::env::args().nth(1);
    let rt = if threads.as_deref() == Some("mt") { tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap() } else { tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap() };
    rt.block_on(go());
}
