//! The rules of the queue, on its own.

use super::*;

/// Takes everything at once.
#[derive(Default)]
struct Taken(Vec<Chunk>);

impl Sink for Taken {
    async fn chunk(&mut self, chunk: Chunk) {
        self.0.push(chunk);
    }
}

/// Takes nothing, for ever.
struct Stuck;

impl Sink for Stuck {
    async fn chunk(&mut self, _: Chunk) {
        std::future::pending::<()>().await;
    }
}

fn limits(bytes_max: u64, tail_bytes: usize, chunk_bytes: usize) -> CaptureLimits {
    CaptureLimits { bytes_max, tail_bytes, chunk_bytes }
}

/// Writes as a process would: whatever fits into the buffer, until all is written.
fn write(feed: &Feed, stream: Stream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let wrote = feed.fill(stream, |buffer| {
            let n = buffer.chunk_mut().len().min(bytes.len());
            buffer.put_slice(&bytes[..n]);
            Ok(n)
        });
        bytes = &bytes[wrote.unwrap()..];
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

async fn ship_closed(feed: Feed) -> (Vec<Chunk>, OutputStats) {
    feed.close();
    let mut sink = Taken::default();
    feed.ship(&mut sink, SHIP_MAX).await;
    (sink.0, feed.into_stats())
}

#[tokio::test]
async fn a_small_output_is_one_chunk_for_each_stream() {
    let feed = Feed::new(CaptureLimits::default());
    for _ in 0..50 {
        write(&feed, Stream::Stdout, b"out\n");
        write(&feed, Stream::Stderr, b"err\n");
    }
    let (chunks, stats) = ship_closed(feed).await;
    assert_eq!(chunks.len(), 2);
    assert_eq!((chunks[0].stream, &chunks[0].bytes[..]), (Stream::Stdout, &b"out\n".repeat(50)[..]));
    assert_eq!((chunks[1].stream, &chunks[1].bytes[..]), (Stream::Stderr, &b"err\n".repeat(50)[..]));
    assert_eq!(stats, OutputStats { stdout_bytes: 200, stderr_bytes: 200, dropped_bytes: 0, chunks: 2 });
}

#[tokio::test]
async fn head_and_tail_are_kept_and_what_is_between_is_counted() {
    for (written, max, tail, chunk, kept_head, kept_tail) in [
        (0, 100, 20, 10, 0, 0),
        (1, 100, 20, 10, 1, 0),
        (100, 100, 20, 10, 80, 20),
        (101, 100, 20, 10, 80, 20),
        (5000, 100, 20, 7, 80, 20),
        (5000, 100, 0, 7, 100, 0),
        (5000, 100, 100, 7, 0, 100),
        (5000, 100, 9999, 7, 0, 100),
        (5000, 0, 20, 7, 0, 0),
    ] {
        let feed = Feed::new(limits(max, tail, chunk));
        let bytes = pattern(written);
        write(&feed, Stream::Stdout, &bytes);
        let (chunks, stats) = ship_closed(feed).await;
        let case = format!("{written} of {max}, tail {tail}");
        let shipped: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        let expected = [&bytes[..kept_head], &bytes[written - kept_tail..]].concat();
        assert_eq!(shipped, expected, "{case}");
        assert_eq!(stats.stdout_bytes, written as u64, "{case}");
        assert_eq!(stats.dropped_bytes, (written - expected.len()) as u64, "{case}");
        assert_eq!(stats.chunks, chunks.len() as u64, "{case}");
        for (number, chunk_) in chunks.iter().enumerate() {
            let from = usize::try_from(chunk_.offset).unwrap();
            assert_eq!(chunk_.number, number as u64, "{case}");
            assert!(!chunk_.bytes.is_empty() && chunk_.bytes.len() <= chunk, "{case}");
            assert_eq!(chunk_.bytes, bytes[from..from + chunk_.bytes.len()], "{case}: offset");
        }
    }
}

#[tokio::test]
async fn output_is_shipped_while_the_attempt_runs() {
    struct Shown(tokio::sync::mpsc::Sender<Chunk>);
    impl Sink for Shown {
        async fn chunk(&mut self, chunk: Chunk) {
            self.0.send(chunk).await.unwrap();
        }
    }
    let feed = Feed::new(CaptureLimits::default());
    let (sender, mut shown) = tokio::sync::mpsc::channel(1);
    let mut sink = Shown(sender);
    let look = async {
        for line in ["one", "two"] {
            let written = Instant::now();
            write(&feed, Stream::Stdout, line.as_bytes());
            let chunk = shown.recv().await.unwrap();
            assert_eq!(chunk.bytes, line.as_bytes());
            assert!(written.elapsed() <= Duration::from_secs(1), "{:?}", written.elapsed());
        }
        feed.close();
    };
    futures::future::join(look, feed.ship(&mut sink, SHIP_MAX)).await;
}

#[tokio::test]
async fn a_stuck_sink_is_given_up_and_memory_stays_bounded() {
    let feed = Feed::new(CaptureLimits::default());
    let bytes = pattern(4 * QUEUE_BYTES_MAX);
    write(&feed, Stream::Stdout, &bytes);
    assert!(feed.is_full());
    assert!(feed.queue().bytes <= QUEUE_BYTES_MAX + CaptureLimits::CHUNK_BYTES_MAX);
    feed.close();
    feed.ship(&mut Stuck, Duration::from_millis(1)).await;
    let stats = feed.into_stats();
    assert_eq!((stats.dropped_bytes, stats.chunks), (bytes.len() as u64, 0));
}

#[tokio::test]
async fn a_read_that_has_nothing_leaves_no_trace() {
    let feed = Feed::new(CaptureLimits::default());
    for _ in 0..2 {
        assert!(feed.fill(Stream::Stdout, |_| Err(io::ErrorKind::WouldBlock.into())).is_err());
        assert_eq!(feed.fill(Stream::Stdout, |_| Ok(0)).unwrap(), 0);
        write(&feed, Stream::Stdout, b"x");
    }
    let (chunks, stats) = ship_closed(feed).await;
    assert_eq!((chunks.len(), stats.stdout_bytes), (1, 2));
}
