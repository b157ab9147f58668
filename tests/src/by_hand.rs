//! The least of a NATS client: it sends what no client library would.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the server may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Where the server says what became of a message.
const INBOX: &str = "_INBOX.by-hand";

/// A connection that says what it is told to say.
#[derive(Debug)]
pub struct ByHand {
    stream: TcpStream,
}

impl ByHand {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The server is not there, or refuses the login.
    pub async fn connect(port: u16, user: &str, password: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
        let mut connection = Self { stream };
        let login = serde_json::json!({ "user": user, "pass": password, "verbose": false, "headers": true });
        connection.say(format!("CONNECT {login}\r\nSUB {INBOX} 1\r\n").as_bytes(), "PONG\r\n").await?;
        Ok(connection)
    }

    /// Publishes bytes with a header block as it is, and nobody says what became of it.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn publish(&mut self, subject: &[u8], reply: &[u8], block: &[u8], body: &[u8]) -> Result<(), String> {
        self.say(&message(subject, reply, block, body), "PONG\r\n").await.map(|_| ())
    }

    /// Publishes to a stream, and tells the sequence under which it is stored.
    ///
    /// # Errors
    /// It is not stored.
    pub async fn store(&mut self, subject: &[u8], block: &[u8], body: &[u8]) -> Result<u64, String> {
        let said = self.ask(subject, block, body).await?;
        let seq = said.split("\"seq\":").nth(1).and_then(|rest| rest.split([',', '}']).next()?.trim().parse().ok());
        seq.ok_or(said)
    }

    /// Publishes and waits for an answer, which must be JSON; tells all that was heard, headers included.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn ask(&mut self, subject: &[u8], block: &[u8], body: &[u8]) -> Result<String, String> {
        self.say(&message(subject, INBOX.as_bytes(), block, body), "}\r\n").await
    }

    /// Says something and waits for a word.
    async fn say(&mut self, text: &[u8], word: &str) -> Result<String, String> {
        let mut heard = Vec::new();
        let (mut read, mut write) = self.stream.split();
        let saying = async {
            write.write_all(text).await?;
            write.write_all(b"PING\r\n").await
        };
        let hearing = async {
            loop {
                let said = String::from_utf8_lossy(&heard);
                if said.contains(word) && said.contains("PONG\r\n") || said.contains("-ERR") {
                    return Ok(());
                }
                if read.read_buf(&mut heard).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
        };
        // A server that refuses says so and hears no more: its word counts, not what could not be said to the end.
        let talk = timeout(LIMIT, async { tokio::join!(saying, hearing).1 });
        let talked: std::io::Result<()> = talk.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let said = String::from_utf8_lossy(&heard).into_owned();
        match talked {
            Ok(()) if !said.contains("-ERR") => Ok(said),
            Ok(()) => Err(said),
            Err(error) => Err(format!("{error}; heard {said:?}")),
        }
    }
}

fn message(subject: &[u8], reply: &[u8], block: &[u8], body: &[u8]) -> Vec<u8> {
    let lengths = format!(" {} {}\r\n", block.len(), block.len() + body.len());
    [b"HPUB ", subject, b" ", reply, lengths.as_bytes(), block, body, b"\r\n"].concat()
}
