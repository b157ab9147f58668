//! A bad network between one process and a server: it delays, is narrow, is silent in one direction or both, cuts,
//! and heals.
//!
//! A process of `rr` has one connection, so a proxy of its own per process lets each be treated by itself. Silence is what a
//! link is that drops packets: nothing is lost, for TCP sends it again, but nothing comes through before it heals. A cut is
//! a reset, and refuses until it heals.

use std::net::Ipv4Addr;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What a process of `rr` says when its link breaks.
pub const LINK_BROKE: &str = "the connection to the server broke";

/// Bytes that are taken at once.
const CHUNK: usize = 16 * 1024;

/// Pieces that are on their way in one direction at most; whoever sends more must wait, as for a full window.
const PIECES_MAX: usize = 1_024;

/// A direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// From the process to the server.
    ToServer,
    /// From the server to the process.
    FromServer,
}

/// How many times the connections of before were said to be silent for ever, by direction.
#[derive(Clone, Copy, Debug, Default)]
struct Forgotten {
    to_server: u32,
    from_server: u32,
}

impl Forgotten {
    const fn of(self, way: Way) -> u32 {
        match way {
            Way::ToServer => self.to_server,
            Way::FromServer => self.from_server,
        }
    }
}

/// How the network is.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// How long each piece is on its way.
    delay: Duration,
    to_server_silent: bool,
    from_server_silent: bool,
    is_cut: bool,
    /// How many times it was cut: a connection from before is reset, however soon the network is good again.
    cuts: u32,
    forgotten: Forgotten,
    /// What comes after whatever the server says.
    word: Option<&'static str>,
    /// What the process says last before nothing comes from the server any more.
    last: Option<Last>,
    /// Bytes that come through in a second in each direction, where that is limited.
    rate: Option<NonZero<u32>>,
}

/// The last words of a process before silence.
#[derive(Clone, Copy, Debug)]
struct Last {
    words: &'static str,
    /// Whether the server hears them.
    is_heard: bool,
}

impl Weather {
    const fn is_silent(&self, way: Way, since: Forgotten) -> bool {
        if since.of(way) < self.forgotten.of(way) {
            return true;
        }
        match way {
            Way::ToServer => self.to_server_silent,
            Way::FromServer => self.from_server_silent,
        }
    }
}

/// A network of one process. It is gone when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
    met: Arc<Met>,
    _tasks: JoinSet<()>,
}

/// What went through, or did not.
#[derive(Debug, Default)]
struct Met {
    /// Connections that were made.
    connections: AtomicUsize,
    /// Pieces that were held up by silence, and connections that were reset.
    held: AtomicUsize,
    /// What is kept of what the process says.
    noted: Mutex<Noted>,
}

/// What a process has said, of that which begins in one way.
#[derive(Debug, Default)]
struct Noted {
    begin: Option<&'static str>,
    said: Vec<String>,
}

impl Noted {
    /// Keeps what begins so, up to the next blank. What two pieces share is not seen.
    fn hear(&mut self, piece: &[u8]) {
        let Some(begin) = self.begin else { return };
        let text = String::from_utf8_lossy(piece);
        let words = text.split(begin).skip(1).filter_map(|rest| rest.split([' ', '\r']).next());
        self.said.extend(words.map(str::to_owned));
    }
}

impl Proxy {
    /// A good network, to a server on this port of this machine.
    ///
    /// # Panics
    /// There is no port for it.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port for a proxy");
        let port = listener.local_addr().expect("the address of a proxy").port();
        let weather = Arc::new(watch::Sender::new(Weather::default()));
        let mut tasks = JoinSet::new();
        let met = Arc::default();
        tasks.spawn(serve(listener, server, Arc::clone(&weather), Arc::clone(&met)));
        Self { port, weather, met, _tasks: tasks }
    }

    /// Where the process is to connect.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Everything takes this long from now on, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Nothing comes through in this direction.
    pub fn silence(&self, way: Way) {
        self.weather.send_modify(|weather| match way {
            Way::ToServer => weather.to_server_silent = true,
            Way::FromServer => weather.from_server_silent = true,
        });
    }

    /// Nothing comes through, and nobody is told.
    pub fn silence_both(&self) {
        self.silence(Way::ToServer);
        self.silence(Way::FromServer);
    }

    /// The connections that there are stay silent for ever, as behind a router that was restarted. New ones are good.
    pub fn forget(&self) {
        self.forget_one(Way::ToServer);
        self.forget_one(Way::FromServer);
    }

    /// The same in one direction: nothing but time shows that it is so.
    pub fn forget_one(&self, way: Way) {
        self.weather.send_modify(|weather| match way {
            Way::ToServer => weather.forgotten.to_server += 1,
            Way::FromServer => weather.forgotten.from_server += 1,
        });
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> usize {
        self.met.connections.load(Ordering::Relaxed)
    }

    /// What was held up by silence so far, and what was reset: whether the weather met anything.
    pub fn held(&self) -> usize {
        self.met.held.load(Ordering::Relaxed)
    }

    /// Every connection is reset, and so is every new one.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| {
            weather.is_cut = true;
            weather.cuts += 1;
        });
    }

    /// The server seems to say this as well, once it has said something.
    pub fn interject(&self, word: &'static str) {
        self.weather.send_modify(|weather| weather.word = Some(word));
    }

    /// Once the process has said this, nothing comes from the server any more: it is done, and not confirmed.
    pub fn silence_after(&self, words: &'static str) {
        self.weather.send_modify(|weather| weather.last = Some(Last { words, is_heard: true }));
    }

    /// Once the process says this, nothing comes through any more, this neither: it is meant, and not done.
    pub fn silence_before(&self, words: &'static str) {
        self.weather.send_modify(|weather| weather.last = Some(Last { words, is_heard: false }));
    }

    /// Whether nothing comes from the server, at once or within this time.
    pub async fn falls_silent(&self, within: Duration) -> bool {
        let mut weather = self.weather.subscribe();
        timeout(within, weather.wait_for(|weather| weather.from_server_silent)).await.is_ok()
    }

    /// Keeps what the process says from now on, of that which begins so.
    pub fn note(&self, begin: &'static str) {
        self.met.noted.lock().unwrap_or_else(PoisonError::into_inner).begin = Some(begin);
    }

    /// What was kept: each from behind its beginning to the next blank, in order.
    pub fn noted(&self) -> Vec<String> {
        self.met.noted.lock().unwrap_or_else(PoisonError::into_inner).said.clone()
    }

    /// So many bytes in a second come through in each direction from now on.
    pub fn narrow(&self, rate: NonZero<u32>) {
        self.weather.send_modify(|weather| weather.rate = Some(rate));
    }

    /// The network is good again.
    pub fn heal(&self) {
        self.weather.send_modify(|weather| {
            *weather = Weather { forgotten: weather.forgotten, cuts: weather.cuts, ..Weather::default() };
        });
    }
}

async fn serve(listener: TcpListener, server: u16, weather: Arc<watch::Sender<Weather>>, met: Arc<Met>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("a connection to a proxy");
        met.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(connection(client, server, Arc::clone(&weather), Arc::clone(&met)));
    }
}

async fn connection(mut client: TcpStream, server: u16, weather: Arc<watch::Sender<Weather>>, met: Arc<Met>) {
    let mut seen = weather.subscribe();
    let Weather { forgotten: since, cuts, .. } = *weather.borrow();
    // Without a server the process sees a connection that breaks, as it would without a proxy.
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket without delay");
    }
    let is_cut = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        tokio::select! {
            biased;
            _ = seen.wait_for(|weather| weather.is_cut || weather.cuts > cuts) => true,
            () = pump(client_read, server_write, Way::ToServer, since, &weather, &met) => false,
            () = pump(server_read, client_write, Way::FromServer, since, &weather, &met) => false,
        }
    };
    if is_cut {
        met.held.fetch_add(1, Ordering::Relaxed);
        for stream in [&client, &server] {
            stream.set_zero_linger().expect("a socket to reset");
        }
    } else {
        // One side has closed in silence; the other one is not told before it can be heard.
        let _healed = seen.wait_for(|weather| !weather.to_server_silent && !weather.from_server_silent).await;
    }
}

/// Nothing comes from the server any more if this is what was to be said before, nor to it where that was not to be heard.
fn silence_if_said(sky: &watch::Sender<Weather>, piece: &[u8]) {
    sky.send_if_modified(|weather| {
        let is_said = |last: &mut Last| piece.windows(last.words.len()).any(|window| window == last.words.as_bytes());
        let said = weather.last.take_if(is_said);
        weather.from_server_silent |= said.is_some();
        weather.to_server_silent |= said.is_some_and(|last| !last.is_heard);
        said.is_some()
    });
}

/// Carries one direction until its end.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    since: Forgotten,
    sky: &watch::Sender<Weather>,
    met: &Met,
) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let (mut weather, seen) = (sky.subscribe(), sky.subscribe());
    let read = async move {
        let mut chunk = vec![0; CHUNK];
        while let Ok(n @ 1..) = from.read(&mut chunk).await {
            let due = Instant::now() + seen.borrow().delay;
            if sender.send((due, chunk.get(..n).unwrap_or_default().to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            let rate = weather.borrow().rate;
            if let Some(rate) = rate {
                let n_bytes = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                sleep(Duration::from_secs(1) * n_bytes / rate.get()).await;
            }
            if way == Way::ToServer {
                silence_if_said(sky, &piece);
                met.noted.lock().unwrap_or_else(PoisonError::into_inner).hear(&piece);
            }
            if weather.borrow().is_silent(way, since) {
                met.held.fetch_add(1, Ordering::Relaxed);
            }
            let can_pass = weather.wait_for(|weather| !weather.is_silent(way, since)).await.is_ok();
            if !can_pass || to.write_all(&piece).await.is_err() {
                return;
            }
            let word = weather.borrow().word.filter(|_| way == Way::FromServer && piece.ends_with(b"\r\n"));
            if let Some(word) = word
                && to.write_all(word.as_bytes()).await.is_err()
            {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
