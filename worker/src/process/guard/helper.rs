//! The other side of the pipe: the guard itself.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::super::kill;
use super::super::tree::{Leader, Tree};

/// Pause of the guard between two reads, so that a burst of attempts wakes it twenty times a second, not for each line.
pub(super) const READ_PAUSE: Duration = Duration::from_millis(50);

/// What the guard reads at once; when there is that much, it does not pause.
const READ_BYTES: usize = 64 * 1024;

/// The guard itself: reads `input`, which must be the reading end of a pipe (the standard input that it was started with), until
/// it ends; then kills whatever is still registered. Signals that would end it are ignored meanwhile.
///
/// # Errors
///
/// When `input` is not a pipe, or signals cannot be caught.
pub async fn guard_main(input: OwnedFd) -> io::Result<()> {
    let mut input = Receiver::from_owned_fd(input)?;
    // A signal that has a listener does not end the process; nobody needs to hear it.
    let ignored =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()].map(signal);
    for result in &ignored {
        if let Err(error) = result {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
    }
    let mut open = BTreeMap::new();
    let mut buffer = Vec::new();
    loop {
        buffer.reserve(READ_BYTES);
        let n = match input.read_buf(&mut buffer).await {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(_) => break,
        };
        let whole = buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in buffer.drain(..whole).as_slice().split(|byte| *byte == b'\n') {
            note(&mut open, &String::from_utf8_lossy(line));
        }
        open.values_mut().for_each(Entry::look_up);
        if n < READ_BYTES {
            sleep(READ_PAUSE).await;
        }
    }
    if !open.is_empty() {
        let leaders = open.values().filter_map(Entry::leader).collect();
        kill::kill(Tree::new(leaders, open.into_keys())).await;
    }
    Ok(())
}

/// What the guard knows of one key.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// Its marker only.
    Open,
    /// The number of its leader.
    Led(Pid),
    /// Its leader, or none: it was gone already.
    Known(Option<Leader>),
}

impl Entry {
    fn look_up(&mut self) {
        match self {
            Self::Led(pid) => *self = Self::Known(Leader::foreign(*pid)),
            Self::Open | Self::Known(_) => {}
        }
    }

    fn leader(&self) -> Option<Leader> {
        match self {
            Self::Known(leader) => *leader,
            Self::Open | Self::Led(_) => None,
        }
    }
}

/// Reads one line; what is no line of ours changes nothing.
fn note(open: &mut BTreeMap<String, Entry>, line: &str) {
    let mut words = line.split(' ');
    let (Some(verb), Some(key)) = (words.next(), words.next()) else {
        return;
    };
    match verb {
        "open" => {
            open.insert(key.to_owned(), Entry::Open);
        }
        "lead" => {
            let pid = words.next().and_then(|word| word.parse().ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid {
                open.insert(key.to_owned(), Entry::Led(pid));
            }
        }
        "shut" => {
            open.remove(key);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::{lead_line, open_line};
    use super::*;

    #[test]
    fn lines_say_who_is_open_and_who_leads() {
        let own = rustix::process::getpid();
        let mut open = BTreeMap::new();
        for line in [
            open_line("a"),
            lead_line("a", own),
            open_line("b"),
            "shut c".into(),
            "lead b x".into(),
            "lead b 0".into(),
            "hello".into(),
            String::new(),
        ] {
            note(&mut open, line.trim_end());
        }
        open.values_mut().for_each(Entry::look_up);
        assert!(matches!(open["a"], Entry::Known(Some(_))), "{open:?}");
        assert!(matches!(open["b"], Entry::Open), "{open:?}");
        note(&mut open, "shut a");
        assert_eq!(open.into_keys().collect::<Vec<_>>(), ["b"]);
    }
}
