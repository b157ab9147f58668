//! What can go wrong between us and JetStream, by what the caller does next.
//!
//! Invariant: decisions about errors are taken on the server's numeric codes, never on its texts, and a publish whose
//! answer did not come is [`PublishError::Unknown`], never a failure.

/// Codes of the server that mean something to us.
pub(crate) mod code {
    /// No such consumer.
    pub(crate) const CONSUMER_NOT_FOUND: u32 = 10014;
    /// No message found.
    pub(crate) const NO_MESSAGE: u32 = 10037;
    /// JetStream is not enabled for this account.
    pub(crate) const JETSTREAM_OFF_ACCOUNT: u32 = 10039;
    /// JetStream is not enabled.
    pub(crate) const JETSTREAM_OFF: u32 = 10076;
    /// The expected stream is another one.
    pub(crate) const STREAM_MISMATCH: u32 = 10060;
    /// No such stream.
    pub(crate) const STREAM_NOT_FOUND: u32 = 10059;
    /// The name is in use with another configuration.
    pub(crate) const STREAM_EXISTS: u32 = 10058;
    /// An expectation was not met.
    pub(crate) const WRONG_LAST_SEQUENCE: u32 = 10071;
    /// Whether an expectation is met is not known: another publish is in flight, which is forgotten where its leader loses
    /// the majority (replicated streams).
    pub(crate) const WRONG_LAST_SEQUENCE_RACE: u32 = 10164;
    /// The same message id is in flight (replicated streams).
    pub(crate) const DUPLICATE_IN_FLIGHT: u32 = 10158;
    /// The name is in use, so nothing is restored under it.
    pub(crate) const STREAM_IN_THE_WAY: u32 = 10130;
    /// A stream is not restored; the text says why, and ends with the code of the cause.
    pub(crate) const NOT_RESTORED: u32 = 10062;
    /// The stream has reached a limit.
    pub(crate) const STREAM_FULL: u32 = 10077;
    /// Filters of two consumers of a work queue overlap.
    pub(crate) const FILTERS_OVERLAP: u32 = 10100;
    /// The cluster has too few servers for so many copies, or these have too little room.
    pub(crate) const NO_PEERS: u32 = 10005;
    /// A server without a cluster keeps one copy.
    pub(crate) const NOT_CLUSTERED: u32 = 10074;
    /// Resources of the account or the server are used up.
    pub(crate) const RESOURCES: [u32; 4] = [10002, 10023, 10028, 10047];
    /// No leader, or the server is not ready: the same as no answer at all.
    pub(crate) const NOT_READY: [u32; 3] = [10008, 10009, 10118];
}

/// Why a publish is not known to be stored.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// The expectation was not met: read what is there. After an earlier [`PublishError::Unknown`] it may be one's own.
    #[error("the log has moved on")]
    Conflict,
    /// What was published there before is not settled yet, and may never be stored; nothing was stored of this one. Says
    /// nothing of what is there: try again.
    #[error("what was published there before is not settled yet")]
    Unsettled,
    /// No answer: it may or may not be stored.
    #[error("no acknowledgement: {0}")]
    Unknown(String),
    /// The stream or the server has reached a limit; nothing was stored.
    #[error("the store is full: {0}")]
    Full(String),
    /// The account may not publish there.
    #[error("permission denied: publish to {subject}")]
    Denied {
        /// The subject.
        subject: String,
    },
    /// Nobody answers for the subject: no stream, or no leader for the moment. Try again.
    #[error("no stream answers for {subject}")]
    NotFound {
        /// The subject.
        subject: String,
    },
    /// Larger than the server takes.
    #[error("message of {bytes} bytes, the server takes {limit}")]
    TooLarge {
        /// Size of the message with its headers.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Refused for another reason.
    #[error("refused by the server ({code}): {text}")]
    Refused {
        /// The server's code.
        code: u32,
        /// The server's text.
        text: String,
    },
}

impl PublishError {
    /// Whether the same publish may be tried again as it is.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unsettled | Self::Unknown(_) | Self::NotFound { .. } | Self::Full(_) => true,
            Self::Conflict | Self::Denied { .. } | Self::TooLarge { .. } | Self::Refused { .. } => false,
        }
    }

    /// Sorts a refusal by its code.
    pub(crate) fn classify(code: u32, text: &str, subject: &str) -> Self {
        match code {
            code::WRONG_LAST_SEQUENCE => Self::Conflict,
            code::WRONG_LAST_SEQUENCE_RACE => Self::Unsettled,
            code::DUPLICATE_IN_FLIGHT => Self::Unknown(text.to_owned()),
            code::STREAM_FULL => Self::Full(format!("{text} (publish to {subject})")),
            code if code::RESOURCES.contains(&code) => Self::Full(format!("{text} (publish to {subject})")),
            code::STREAM_NOT_FOUND | code::STREAM_MISMATCH => Self::NotFound { subject: subject.to_owned() },
            code if code::NOT_READY.contains(&code) => Self::NotFound { subject: subject.to_owned() },
            _ => Self::Refused { code, text: text.to_owned() },
        }
    }
}

/// Why a request or a read failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// No server can be reached, or nobody answers for the moment. Try again.
    #[error("no server answers: {0}")]
    Unreachable(String),
    /// The account may not do this.
    #[error("permission denied: {subject}")]
    Denied {
        /// The subject.
        subject: String,
    },
    /// The answer did not come in time. Try again.
    #[error("no answer in time: {what}")]
    Timeout {
        /// What was asked.
        what: String,
    },
    /// It does not exist.
    #[error("not found: {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The mesh on the server was made differently.
    #[error(
        "the mesh differs: {what}; another version of rr has made it, or somebody has changed it: change it back, or \
         delete the streams RR_* and KV_rr-* with everything in them and start a coordinator, which makes them anew"
    )]
    Drift {
        /// What, found and wanted.
        what: String,
    },
    /// The event log was removed, and with it the histories of all runs.
    #[error(
        "the event log, stream RR_EVENTS, is gone, with the histories of {runs} runs whose states are still there; to go \
         on from a backup, stop the coordinators, delete the other streams RR_* and KV_rr-*, restore it with rr restore \
         DIR, start the coordinators; to give the histories up, delete these streams and start a coordinator, which makes \
         an empty mesh"
    )]
    LogGone {
        /// States of runs that are left.
        runs: u64,
    },
    /// More copies are wanted than there are servers.
    #[error(
        "{wanted} copies of stream {stream} need {wanted} servers in one cluster ({text}): start them, or set \
         mesh.replicas to what there is"
    )]
    Replicas {
        /// Copies that were asked for.
        wanted: usize,
        /// The stream.
        stream: String,
        /// The server's text.
        text: String,
    },
    /// The server is too old.
    #[error("nats-server {found} is too old, 2.14 or newer is needed")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The server runs without JetStream, or the account may not use it.
    #[error("JetStream is off on this server or for this account")]
    JetStreamOff,
    /// Not even the stream's leader has the message that must be there.
    #[error("the log does not show message {seq} of {entity}")]
    Behind {
        /// The entity.
        entity: String,
        /// The sequence that must be there.
        seq: u64,
    },
    /// Refused for another reason.
    #[error("refused by the server ({code}): {text}")]
    Refused {
        /// The server's code.
        code: u32,
        /// The server's text.
        text: String,
    },
    /// An answer that cannot be read.
    #[error("cannot read the server's answer: {0}")]
    Answer(String),
}

impl Error {
    /// Whether the same request may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout { .. } | Self::Behind { .. } => true,
            Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Drift { .. }
            | Self::LogGone { .. }
            | Self::Replicas { .. }
            | Self::TooOld { .. }
            | Self::JetStreamOff
            | Self::Refused { .. }
            | Self::Answer(_) => false,
        }
    }

    /// Sorts a refusal by its code.
    pub(crate) fn classify(code: u32, text: &str, what: &str) -> Self {
        match code {
            code::STREAM_NOT_FOUND | code::CONSUMER_NOT_FOUND | code::NO_MESSAGE => {
                Self::NotFound { what: what.to_owned() }
            }
            code::JETSTREAM_OFF | code::JETSTREAM_OFF_ACCOUNT => Self::JetStreamOff,
            code if code::NOT_READY.contains(&code) => {
                Self::Unreachable(format!("{text}; a cluster needs the majority of its servers"))
            }
            _ => Self::Refused { code, text: text.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, PublishError};

    #[test]
    fn a_refused_publish_is_sorted_by_its_code() {
        let subject = "rr.ev.0.a";
        let missing = || PublishError::NotFound { subject: subject.to_owned() };
        for (code, expected) in [
            (10071, PublishError::Conflict),
            (10164, PublishError::Unsettled),
            (10158, PublishError::Unknown("text".to_owned())),
            (10077, PublishError::Full(format!("text (publish to {subject})"))),
            (10023, PublishError::Full(format!("text (publish to {subject})"))),
            (10059, missing()),
            (10008, missing()),
            (10190, PublishError::Refused { code: 10190, text: "text".to_owned() }),
        ] {
            assert_eq!(PublishError::classify(code, "text", subject), expected, "{code}");
        }
    }

    #[test]
    fn only_what_may_pass_by_itself_is_tried_again() {
        for (error, retry) in [
            (Error::classify(10059, "stream not found", "RR_EVENTS"), false),
            (Error::classify(10008, "not available", "RR_EVENTS"), true),
            (Error::classify(10039, "not enabled", "RR_EVENTS"), false),
            (Error::Timeout { what: "x".to_owned() }, true),
        ] {
            assert_eq!(error.is_retryable(), retry, "{error}");
        }
    }
}
