//! Output.

use bytes::Bytes;
use rr_nats::{ChunkId, Follow, OutStream, OutputFilter};
use rr_schemas::ranges::Ranges;

use super::{World, run, soon, worker, world};

fn chunk(task: u32, stream: OutStream, n: u32) -> ChunkId {
    ChunkId { task, attempt: 1, stream, n }
}

async fn write(world: &World, by: &str, id: ChunkId, text: &'static str) {
    let bytes = Bytes::from_static(text.as_bytes());
    world.mesh.publish_chunk(&worker(by), &run("r1"), id, bytes).await.unwrap();
}

#[tokio::test]
async fn history_comes_first_and_then_what_follows() {
    let world = world().await;
    let one = run("r1");
    let mut empty = world.mesh.read_output(&one, OutputFilter::default(), Follow::No);
    assert_eq!(soon(empty.next()).await.unwrap(), None);

    let written = [
        ("w1", chunk(0, OutStream::Stdout, 0), "a\n"),
        ("w1", chunk(0, OutStream::Stderr, 1), "\u{0}b"),
        ("w2", chunk(7, OutStream::Note, 0), ""),
    ];
    for (by, id, text) in written {
        write(&world, by, id, text).await;
    }
    let mut history = world.mesh.read_output(&one, OutputFilter::default(), Follow::No);
    for (by, id, text) in written {
        let got = soon(history.next()).await.unwrap().unwrap();
        assert_eq!((got.worker, got.id, &got.bytes[..]), (worker(by), id, text.as_bytes()));
    }
    assert_eq!(soon(history.next()).await.unwrap(), None);

    let mut live = world.mesh.read_output(&one, OutputFilter::default(), Follow::Yes);
    for _ in written {
        soon(live.next()).await.unwrap().unwrap();
    }
    write(&world, "w1", chunk(0, OutStream::Stdout, 2), "c").await;
    assert_eq!(soon(live.next()).await.unwrap().unwrap().bytes, "c");
}

#[tokio::test]
async fn only_the_tasks_that_were_asked_for_come() {
    let world = world().await;
    for task in 0..40 {
        write(&world, "w1", chunk(task, OutStream::Stdout, 0), "x").await;
    }
    for wanted in [vec![3, 39], (0..30).collect::<Vec<u32>>()] {
        let tasks: Ranges = wanted.iter().copied().collect();
        let mut reader = world.mesh.read_output(&run("r1"), OutputFilter { tasks: Some(tasks) }, Follow::No);
        let mut got = Vec::new();
        while let Some(chunk) = soon(reader.next()).await.unwrap() {
            got.push(chunk.id.task);
        }
        assert_eq!(got, wanted);
    }
}
