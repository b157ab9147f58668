//! A network between a coordinator and the server that breaks on a word of the coordinator's: what it asked for is done, and
//! the answer never comes. And one behind which the server seems to take less at once than it does.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot prepare fails"
)]

use std::net::Ipv4Addr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::support::PATIENCE;

/// Where the network is with the word that it waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// It has not been said yet.
    Waiting,
    /// It has gone to the server; nothing comes back.
    Said,
    /// The connection is cut; new ones are good.
    Cut,
}

/// A network for one coordinator. It is gone when this is dropped.
pub(crate) struct Relay {
    port: u16,
    stage: watch::Sender<Stage>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// A good network to a server on this port, until somebody says `word`.
    pub(crate) async fn until(server: u16, word: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stage = watch::Sender::new(Stage::Waiting);
        let told = stage.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await.unwrap();
                links.spawn(carry(near, far, word.as_bytes(), told.clone()));
            }
        });
        Self { port, stage, _tasks: tasks }
    }

    /// A good network to a server on this port that says that it takes so many bytes at once.
    pub(crate) async fn with_room(server: u16, bytes: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await.unwrap();
                links.spawn(async move {
                    // The server speaks first, in one line that comes whole.
                    let mut info = vec![0; 64 * 1024];
                    let n = far.read(&mut info).await.unwrap();
                    let told = String::from_utf8(info[..n].to_vec()).unwrap();
                    near.write_all(with_max_payload(&told, bytes).as_bytes()).await.unwrap();
                    let _carried = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { port, stage: watch::Sender::new(Stage::Waiting), _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Waits until the word was said.
    pub(crate) async fn is_said(&self) {
        let mut stage = self.stage.subscribe();
        timeout(PATIENCE, stage.wait_for(|stage| *stage == Stage::Said)).await.expect("the word").unwrap();
    }

    /// Cuts the connection on which it was said.
    pub(crate) fn cut(&self) {
        self.stage.send_replace(Stage::Cut);
    }
}

fn with_max_payload(info: &str, bytes: usize) -> String {
    let name = "\"max_payload\":";
    let (before, value) = info.split_once(name).expect("what the server takes");
    let rest = value.trim_start_matches(|digit: char| digit.is_ascii_digit());
    format!("{before}{name}{bytes}{rest}")
}

async fn carry(mut near: TcpStream, mut far: TcpStream, word: &[u8], told: watch::Sender<Stage>) {
    let (mut said, mut heard) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    // The end of what was said before, for the word may come in two pieces.
    let mut before = Vec::new();
    loop {
        tokio::select! {
            read = near.read(&mut said) => {
                let Ok(n @ 1..) = read else { return };
                before.extend_from_slice(&said[..n]);
                let is_said = *told.borrow() == Stage::Waiting && before.windows(word.len()).any(|part| part == word);
                before.drain(..before.len().saturating_sub(word.len() - 1));
                if far.write_all(&said[..n]).await.is_err() {
                    return;
                }
                if is_said {
                    told.send_replace(Stage::Said);
                    let mut stage = told.subscribe();
                    let cut = stage.wait_for(|stage| *stage == Stage::Cut);
                    // What was said in two pieces goes on to the server; nothing comes back.
                    tokio::select! {
                        _ = cut => return,
                        _ = tokio::io::copy(&mut near, &mut far) => return,
                    }
                }
            }
            read = far.read(&mut heard) => {
                let Ok(n @ 1..) = read else { return };
                if near.write_all(&heard[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}
