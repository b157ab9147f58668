//! The least of HTTP: what a nats-server says of itself on its monitoring port.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// What lies at `http://host:port/path`.
///
/// # Errors
/// Nobody answers, or not with 200.
pub async fn get(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").ok_or("no http://")?;
    let (address, path) = rest.split_once('/').ok_or("no path")?;
    let asked = timeout(LIMIT, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET /{path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<String, std::io::Error>(answer)
    });
    let answer = asked.await.map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no body: {answer}"))?;
    let is_good = head.split(' ').nth(1) == Some("200");
    if is_good { Ok(body.to_owned()) } else { Err(answer) }
}
