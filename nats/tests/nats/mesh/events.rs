//! The event log.

use rr_nats::{Error, First, PublishError, StoredDecision, encode_decision, hash};
use rr_schemas::{
    codec::Format,
    input::{Input, Seen},
};

use super::{append, cancel, decision, entity, instance, run, world};

#[tokio::test]
async fn a_decision_is_stored_behind_the_one_that_was_read_and_nowhere_else() {
    let world = world().await;
    let (one, other) = (entity("r1"), entity("r2"));
    let first = append(&world.mesh, &one, 1, 0).await.unwrap();
    assert_eq!(append(&world.mesh, &one, 1, 0).await, Err(PublishError::Conflict));
    append(&world.mesh, &other, 1, 0).await.unwrap();
    assert_eq!(append(&world.mesh, &one, 2, first + 1).await, Err(PublishError::Conflict));
    let second = append(&world.mesh, &one, 2, first).await.unwrap();
    let last = world.mesh.last_decision(&one).await.unwrap().unwrap();
    assert_eq!((last.seq, last.decision.unwrap()), (second, decision(2, 0)));
    assert!(world.mesh.last_decision(&entity("nobody")).await.unwrap().is_none());
}

#[tokio::test]
async fn of_many_writers_one_wins() {
    let world = world().await;
    let one = entity("r1");
    let racers = (0..50).map(|n| append(&world.mesh, &one, n, 0));
    let results = futures::future::join_all(racers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.into_iter().filter_map(Result::err).all(|error| error == PublishError::Conflict));
}

#[tokio::test]
async fn an_id_is_taken_once() {
    let world = world().await;
    let id = run("r1");
    let first = world.mesh.submit(&id, "me", &cancel("me"), First::New).await.unwrap();
    assert_eq!(world.mesh.submit(&id, "me", &cancel("me"), First::New).await, Err(PublishError::Conflict));
    assert!(world.mesh.submit(&id, "me", &cancel("me"), First::Any).await.unwrap() > first);
}

#[tokio::test]
async fn history_and_inputs_come_back_whole_and_in_order() {
    const INPUTS: usize = 5_000;
    let world = world().await;
    let (one, other) = (entity("r1"), entity("r2"));
    let asked = (0..INPUTS).map(|n| {
        let (mesh, by) = (&world.mesh, n.to_string());
        let target = if n % 2 == 0 { &one } else { &other };
        async move { mesh.request(target, &by, &cancel(&by)).await.unwrap() }
    });
    let mut seqs = futures::future::join_all(asked).await;
    let last = *seqs.iter().max().unwrap();
    let mut seq = 0;
    for n in 1..=1_200 {
        seq = append(&world.mesh, &one, n, seq).await.unwrap();
    }

    let mut read = Vec::new();
    for target in [&one, &other] {
        let inputs = world.mesh.inputs_after(target, 0, 0).await.unwrap();
        assert!(inputs.is_sorted_by_key(rr_nats::InputMsg::seq));
        assert!(inputs.iter().all(|input| input.input.is_ok() && input.delivery.is_none() && input.entity == *target));
        read.extend(inputs.iter().map(rr_nats::InputMsg::seq));
    }
    read.sort_unstable();
    seqs.sort_unstable();
    assert_eq!(read, seqs);

    let middle = seqs[INPUTS / 2];
    let tail = world.mesh.inputs_after(&one, middle, 0).await.unwrap();
    assert!(tail.iter().all(|input| input.seq() > middle));
    let until = tail.last().unwrap().seq();
    assert_eq!(world.mesh.inputs_after(&one, middle, until).await.unwrap().len(), tail.len());
    assert!(world.mesh.inputs_after(&one, until, until).await.unwrap().is_empty());
    let behind = world.mesh.inputs_after(&one, until, last + 1_000_000).await.unwrap_err();
    assert!(matches!(behind, Error::Behind { .. }), "{behind}");

    let history = world.mesh.history(&one, 0).await.unwrap();
    let numbers: Vec<u64> = history.iter().map(|stored| stored.decision.as_ref().unwrap().n).collect();
    assert_eq!(numbers, (1..=1_200).collect::<Vec<_>>());
    let from = history[1_000].seq;
    assert_eq!(world.mesh.history(&one, from).await.unwrap().len(), 200);
    assert!(world.mesh.history(&other, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_hash_is_that_of_the_stored_bytes() {
    let world = world().await;
    let one = entity("r1");
    let encoded = encode_decision(&one, &decision(1, 7)).unwrap();
    world.mesh.append(&one, &encoded, 0).await.unwrap();
    let stored = world.mesh.history(&one, 0).await.unwrap().remove(0);
    assert_eq!((stored.hash.as_str(), stored.raw.payload.len()), (encoded.hash(), encoded.len()));
    assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223");
    assert_eq!(stored.raw.content_type(), Some(Format::Json.content_type()));
}

#[tokio::test]
async fn what_is_no_decision_is_named_and_still_counts_as_the_last_message() {
    let world = world().await;
    let (one, js) = (entity("r1"), world.stranger().await);
    let subject = format!("rr.ev.{}.r1", world.mesh.partition_of(&one));
    append(&world.mesh, &one, 1, 0).await.unwrap();
    let foreign = encode_decision(&entity("r2"), &decision(2, 0)).unwrap();
    world.mesh.append(&entity("r2"), &foreign, 0).await.unwrap();
    let foreign = world.mesh.last_decision(&entity("r2")).await.unwrap().unwrap().raw.payload;
    let newer = br#"{"v": 2, "kind": "rr.decision", "what": "nobody knows yet"}"#;
    for body in ["{".into(), foreign, newer.as_slice().into()] {
        js.publish(subject.clone(), body).await.unwrap().await.unwrap();
    }
    let history = world.mesh.history(&one, 0).await.unwrap();
    let good: Vec<bool> = history.iter().map(|stored| stored.decision.is_ok()).collect();
    assert_eq!(good, [true, false, false, false]);
    let unreadable: Vec<bool> = history.iter().map(StoredDecision::is_unreadable).collect();
    assert_eq!(unreadable, [false, false, false, true], "a newer decision is none that may be passed over");
    assert_eq!(append(&world.mesh, &one, 2, history[0].seq).await, Err(PublishError::Conflict));
    append(&world.mesh, &one, 2, history[3].seq).await.unwrap();
}

#[tokio::test]
async fn a_time_is_the_same_however_the_message_is_read() {
    let world = world().await;
    let one = entity("r1");
    let mut feed = world.feed(&one).await;
    world.mesh.note(&one, &instance("c1"), &Input::Seen(Seen::default())).await.unwrap();
    let delivered = super::take(&mut feed, 1).await.remove(0);
    let read = world.mesh.inputs_after(&one, 0, 0).await.unwrap().remove(0);
    assert_eq!((delivered.at(), delivered.seq()), (read.at(), read.seq()));
    assert_eq!(read.at().subsec_nanosecond() % 1_000_000, 0);
    append(&world.mesh, &one, 1, 0).await.unwrap();
    let (leader, direct) = tokio::join!(world.mesh.last_decision(&one), world.mesh.history(&one, 0));
    assert_eq!(leader.unwrap().unwrap().at, direct.unwrap().remove(0).at);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_before_it_is_sent() {
    let world = world().await;
    let huge = cancel(&"x".repeat(world.link.max_payload() + 1));
    let error = world.mesh.request(&entity("r1"), "me", &huge).await.unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn retention_forgets_what_it_is_told_to_and_nothing_else() {
    let world = world().await;
    let (one, two) = (entity("r1"), entity("r2"));
    let first = world.mesh.request(&one, "me", &cancel("me")).await.unwrap();
    append(&world.mesh, &one, 1, 0).await.unwrap();
    let second = world.mesh.request(&two, "me", &cancel("me")).await.unwrap();
    append(&world.mesh, &two, 1, 0).await.unwrap();
    assert_eq!(world.mesh.first_of(&one).await.unwrap(), Some(first));
    assert_eq!(world.mesh.first_of(&two).await.unwrap(), Some(second));
    assert_eq!(world.mesh.purge_events_below(0).await.unwrap(), 0);
    assert_eq!(world.mesh.purge_events_below(second).await.unwrap(), 2);
    assert_eq!(world.mesh.first_of(&one).await.unwrap(), None);
    assert_eq!(world.mesh.first_of(&two).await.unwrap(), Some(second), "what lies above is kept");
    assert_eq!(world.mesh.last_decision(&two).await.unwrap().map(|stored| stored.seq), Some(second + 1));
    world.mesh.purge_run(&run("r2")).await.unwrap();
    assert_eq!(world.mesh.first_of(&two).await.unwrap(), None);
}

#[tokio::test]
async fn a_tail_shows_every_decision_once() {
    use rr_nats::Start;
    let world = world().await;
    let one = entity("r1");
    let first = append(&world.mesh, &one, 1, 0).await.unwrap();
    let mut all = world.mesh.tail(None, Start::All).await.unwrap();
    let mut new = world.mesh.tail(Some(&run("r1")), Start::New).await.unwrap();
    append(&world.mesh, &entity("r2"), 1, 0).await.unwrap();
    let second = append(&world.mesh, &one, 2, first).await.unwrap();
    assert_eq!(super::soon(new.next()).await.unwrap().seq, second);
    for expected in [("r1", 1), ("r2", 1), ("r1", 2)] {
        let item = super::soon(all.next()).await.unwrap();
        assert_eq!((item.entity.as_str(), item.decision.unwrap().n), expected);
    }
    new.close().await;
    all.close().await;
}
