//! What attempts write: chunks in, chunks out.

use bytes::Bytes;
use jiff::Timestamp;
use rr_schemas::{id::RunId, name::WorkerName, ranges::Ranges};

use crate::{
    copies::Copied,
    error::{Error, PublishError},
    extent::extent,
    link::typed,
    mesh::Mesh,
    ordered::{Content, From, Ordered, Plan, Step},
    raw::RawMessage,
    subject::{self, header},
    transport::Outgoing,
};

/// Tasks that are filtered by the server; of more, all of the run's output is read.
const FILTERS_MAX: u64 = 16;

/// The content type of chunks.
const OCTETS: &str = "application/octet-stream";

/// Where output was written to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum OutStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A note of the worker: what was left out, why a program did not start.
    Note,
}

impl OutStream {
    const fn word(self) -> &'static str {
        match self {
            Self::Stdout => "out",
            Self::Stderr => "err",
            Self::Note => "note",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr, Self::Note].into_iter().find(|stream| stream.word() == word)
    }
}

/// Which chunk of a run's output.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChunkId {
    /// The task.
    pub task: u32,
    /// Which try.
    pub attempt: u32,
    /// Where it was written to.
    pub stream: OutStream,
    /// Its number in the attempt.
    pub n: u32,
}

/// Some output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Who sent it.
    pub worker: WorkerName,
    /// Which chunk.
    pub id: ChunkId,
    /// When it was stored.
    pub at: Timestamp,
    /// What was written.
    pub bytes: Bytes,
}

impl Chunk {
    /// Reads a stored chunk, and says which run it is of; none where it is no chunk.
    pub fn read(raw: RawMessage) -> Option<(RunId, Self)> {
        let (worker, run, task) = subject::parse_output(&raw.subject)?;
        let out = raw.out().filter(|_| raw.flaw().is_none())?;
        let stream = OutStream::of(&out.stream)?;
        let id = ChunkId { task, attempt: out.attempt, stream, n: out.n };
        Some((run, Self { worker, id, at: raw.at, bytes: raw.payload }))
    }

    /// The chunk as it is stored, but for its sequence.
    pub fn copied(&self, run: &RunId) -> Copied {
        let headers = [
            (header::CONTENT_TYPE, OCTETS.to_owned()),
            (header::OUT_ATTEMPT, self.id.attempt.to_string()),
            (header::OUT_CHUNK, self.id.n.to_string()),
            (header::OUT_STREAM, self.id.stream.word().to_owned()),
        ];
        Copied {
            subject: subject::output(&self.worker, run, self.id.task),
            seq: 0,
            time: self.at.to_string(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            payload: self.bytes.clone(),
        }
    }
}

/// Which output to read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OutputFilter {
    /// These tasks only.
    pub tasks: Option<Ranges>,
}

/// Whether to wait for more when what is there was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Follow {
    /// No.
    No,
    /// Yes.
    Yes,
}

impl Mesh {
    /// When the oldest output that is still there was stored, of any run; none where there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn oldest_output(&self) -> Result<Option<Timestamp>, Error> {
        Ok(extent(self.link(), subject::OUTPUT).await?.first_at)
    }

    /// Stores a chunk. Many may be under way at once; readers put them in order by their number.
    ///
    /// # Errors
    /// [`PublishError`]; a chunk may be stored twice without harm.
    pub async fn publish_chunk(
        &self,
        worker: &WorkerName,
        run: &RunId,
        id: ChunkId,
        bytes: Bytes,
    ) -> Result<(), PublishError> {
        let mut headers = typed(OCTETS);
        headers.insert(header::OUT_STREAM, id.stream.word());
        headers.insert(header::OUT_ATTEMPT, id.attempt.to_string());
        headers.insert(header::OUT_CHUNK, id.n.to_string());
        let subject = subject::output(worker, run, id.task).into();
        self.link().publish(Outgoing { subject, headers: Some(headers), payload: bytes }).await.map(|_| ())
    }

    /// Reads a run's output from its beginning.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read_output(&self, run: &RunId, filter: OutputFilter, follow: Follow) -> OutputReader {
        let filters = match &filter.tasks {
            Some(tasks) if tasks.len() <= FILTERS_MAX && !tasks.is_empty() => {
                tasks.iter().map(|task| subject::outputs_of_task(run, task)).collect()
            }
            Some(_) | None => vec![subject::outputs(run)],
        };
        let plan = Plan { stream: subject::OUTPUT, filters, from: From::Oldest, content: Content::Whole };
        OutputReader { ordered: Ordered::new(self.link(), plan), filter, follow, pending: None }
    }
}

/// Reads the output of a run.
#[derive(Debug)]
pub struct OutputReader {
    ordered: Ordered,
    filter: OutputFilter,
    follow: Follow,
    /// Messages in front of the reader, as far as it knows.
    pending: Option<u64>,
}

impl OutputReader {
    /// The next chunk; none when all was read and nobody wants to wait for more. Losing the future loses nothing.
    ///
    /// # Errors
    /// [`Error`]; trying again does not help.
    pub async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        loop {
            if self.follow == Follow::No && self.pending == Some(0) {
                return Ok(None);
            }
            match self.ordered.next().await? {
                Step::Begin { pending } => self.pending = Some(pending),
                Step::Message(pulled) => {
                    self.pending = Some(pulled.pending);
                    if let Some(chunk) =
                        Chunk::read(pulled.raw).map(|(_, chunk)| chunk).filter(|chunk| self.wants(chunk))
                    {
                        return Ok(Some(chunk));
                    }
                }
            }
        }
    }

    /// Ends the reading and tells the server so.
    pub async fn close(self) {
        self.ordered.close().await;
    }

    fn wants(&self, chunk: &Chunk) -> bool {
        self.filter.tasks.as_ref().is_none_or(|tasks| tasks.contains(chunk.id.task))
    }
}
