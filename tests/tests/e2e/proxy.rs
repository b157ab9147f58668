//! The bad network of the other tests, by itself, in front of a server that says everything back.

use std::num::NonZero;
use std::time::Duration;

use rr_tests::{Proxy, Way, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const LIMIT: Duration = Duration::from_secs(10);
/// How long nothing must come before it counts as nothing.
const NOTHING: Duration = Duration::from_millis(200);

/// A network with an echo behind it, and a connection through it.
async fn echo() -> (Proxy, TcpStream, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut served = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            served.spawn(async move {
                let (mut read, mut write) = stream.split();
                let _copied = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let proxy = Proxy::to(port).await;
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    (proxy, stream, tasks)
}

async fn says_back(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    hears(stream, text).await;
}

async fn hears(stream: &mut TcpStream, text: &[u8]) {
    let mut heard = vec![0; text.len()];
    timeout(LIMIT, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, text);
}

async fn hears_nothing(stream: &mut TcpStream) {
    let mut heard = [0; 1];
    assert!(timeout(NOTHING, stream.read(&mut heard)).await.is_err(), "something came through");
}

#[tokio::test]
async fn what_is_said_comes_through_whole_and_in_order() {
    let (_proxy, mut stream, _tasks) = echo().await;
    let text: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let (mut read, mut write) = stream.split();
    let (said, heard) = (text.clone(), async {
        let mut heard = vec![0; text.len()];
        read.read_exact(&mut heard).await.unwrap();
        heard
    });
    let (written, heard) = tokio::join!(write.write_all(&said), heard);
    written.unwrap();
    assert_eq!(heard, text);
}

#[tokio::test]
async fn a_delay_counts_in_each_direction() {
    let (proxy, mut stream, _tasks) = echo().await;
    proxy.delay(Duration::from_millis(100));
    let asked = Instant::now();
    says_back(&mut stream, b"slow").await;
    assert!(asked.elapsed() >= Duration::from_millis(200), "{:?}", asked.elapsed());
    proxy.heal();
    says_back(&mut stream, b"fast").await;
}

#[tokio::test]
async fn silence_keeps_everything_until_it_heals() {
    for ways in [&[Way::ToServer][..], &[Way::FromServer], &[Way::ToServer, Way::FromServer]] {
        let (proxy, mut stream, _tasks) = echo().await;
        says_back(&mut stream, b"before").await;
        for way in ways {
            proxy.silence(*way);
        }
        stream.write_all(b"meanwhile").await.unwrap();
        hears_nothing(&mut stream).await;
        // Whoever connects now gets a connection on which nothing is heard.
        let mut other = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        other.write_all(b"hello?").await.unwrap();
        hears_nothing(&mut other).await;
        proxy.heal();
        hears(&mut stream, b"meanwhile").await;
        hears(&mut other, b"hello?").await;
    }
}

#[tokio::test]
async fn a_cut_resets_what_there_is_and_what_comes_until_it_heals() {
    let (proxy, mut stream, _tasks) = echo().await;
    says_back(&mut stream, b"before").await;
    proxy.cut();
    let reset = timeout(LIMIT, stream.read_u8()).await.unwrap();
    assert_eq!(reset.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    if let Ok(mut other) = TcpStream::connect(("127.0.0.1", proxy.port())).await {
        assert!(timeout(LIMIT, other.read_u8()).await.unwrap().is_err());
    }
    proxy.heal();
    eventually("connection", LIMIT, async || {
        let mut again = TcpStream::connect(("127.0.0.1", proxy.port())).await?;
        again.write_all(b"x").await?;
        again.read_u8().await
    })
    .await;
}

#[tokio::test]
async fn a_cut_that_heals_at_once_resets_what_there_is() {
    let (proxy, mut stream, _tasks) = echo().await;
    says_back(&mut stream, b"before").await;
    proxy.cut();
    proxy.heal();
    let reset = timeout(LIMIT, stream.read_u8()).await.unwrap();
    assert_eq!(reset.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let mut again = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    says_back(&mut again, b"after").await;
}

#[tokio::test]
async fn a_forgotten_connection_stays_silent_and_a_new_one_is_good() {
    let (proxy, mut stream, _tasks) = echo().await;
    says_back(&mut stream, b"before").await;
    proxy.forget();
    stream.write_all(b"hello?").await.unwrap();
    hears_nothing(&mut stream).await;
    let mut other = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    says_back(&mut other, b"hello").await;
    proxy.heal();
    hears_nothing(&mut stream).await;
}

#[tokio::test]
async fn what_follows_a_word_is_not_heard() {
    let (proxy, mut stream, _tasks) = echo().await;
    proxy.silence_after("PUB a");
    says_back(&mut stream, b"PUB b").await;
    assert!(!proxy.falls_silent(NOTHING).await);
    stream.write_all(b"then PUB a.b").await.unwrap();
    assert!(proxy.falls_silent(LIMIT).await);
    hears_nothing(&mut stream).await;
    proxy.heal();
    hears(&mut stream, b"then PUB a.b").await;
    // It was meant once.
    says_back(&mut stream, b"PUB a").await;
}

#[tokio::test]
async fn what_is_kept_back_is_not_said_if_the_network_is_cut_then() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(listener.local_addr().unwrap().port()).await;
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    proxy.silence_before("PUB a");
    for word in [b"PUB b", b"PUB a"] {
        stream.write_all(word).await.unwrap();
        stream.flush().await.unwrap();
        if word == b"PUB b" {
            hears(&mut server, word).await;
        }
    }
    assert!(proxy.falls_silent(LIMIT).await);
    proxy.cut();
    proxy.heal();
    let mut heard = Vec::new();
    assert!(timeout(LIMIT, server.read_to_end(&mut heard)).await.unwrap().is_err(), "it is reset");
    assert!(heard.is_empty(), "{heard:?}");
}

#[tokio::test]
async fn what_is_said_in_one_way_is_kept() {
    let (proxy, mut stream, _tasks) = echo().await;
    proxy.note("PUB a.");
    says_back(&mut stream, b"PUB a.1 0\r\n\r\nPUB b.2 0\r\n\r\nHPUB a.3\r\n").await;
    assert_eq!(proxy.noted(), ["1", "3"]);
}

#[tokio::test]
async fn a_narrow_network_carries_so_many_bytes_in_a_second() {
    let (proxy, mut stream, _tasks) = echo().await;
    proxy.narrow(NonZero::new(100_000).unwrap());
    let (begun, text) = (Instant::now(), vec![b'x'; 20_000]);
    says_back(&mut stream, &text).await;
    // One piece is on its way for as long as it takes in each direction.
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}
