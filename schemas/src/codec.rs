//! How a typed value becomes a message: a versioned envelope, in JSON or CBOR.
//!
//! JSON is the default because people look at messages with the NATS CLI; CBOR is for thin links and for files on a
//! worker's disk. Readers take both. The envelope repeats whom a message is from and for, so that a message that was
//! planted under a foreign subject betrays itself.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::id::EntityId;

/// The version of the wire that this build writes. Readers refuse a larger one by name.
pub const VERSION: u16 = 1;

/// `Content-Type` of JSON messages.
pub const JSON: &str = "application/json";
/// `Content-Type` of CBOR messages.
pub const CBOR: &str = "application/cbor";

/// The wire format of a message.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Text that people can read.
    #[default]
    Json,
    /// Compact binary.
    Cbor,
}

impl Format {
    /// The value of the `Content-Type` header for this format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Cbor => CBOR,
        }
    }

    /// The format that a `Content-Type` header names; a message without one is JSON.
    ///
    /// # Errors
    /// [`DecodeError::ContentType`] for any other value.
    pub fn of(content_type: Option<&str>) -> Result<Self, DecodeError> {
        match content_type {
            None | Some(JSON) => Ok(Self::Json),
            Some(CBOR) => Ok(Self::Cbor),
            Some(other) => Err(DecodeError::ContentType(other.escape_debug().take(80).collect())),
        }
    }
}

/// What may stand in an envelope; the kind keeps one body from being read as another.
pub trait Body: Serialize + DeserializeOwned {
    /// The word in the envelope's `kind` field.
    const KIND: &'static str;
}

/// A body with its version, its sender and the entity that it is for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Envelope<B> {
    /// Version of the wire, [`VERSION`] when written by this build.
    pub v: u16,
    /// [`Body::KIND`] of the body.
    pub kind: String,
    /// Who wrote it: `api:<who>`, `worker:<name>`, `coordinator:<instance>`.
    pub from: String,
    /// The entity that it is for.
    pub to: EntityId,
    /// The content.
    pub body: B,
}

impl<B: Body> Envelope<B> {
    /// Wraps a body in this build's version.
    pub fn new(from: impl Into<String>, to: EntityId, body: B) -> Self {
        Self { v: VERSION, kind: B::KIND.to_owned(), from: from.into(), to, body }
    }

    /// Reads an envelope and checks version and kind before the body is believed.
    ///
    /// # Errors
    /// [`DecodeError`]; the message belongs in the quarantine.
    pub fn read(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, DecodeError> {
        let format = Format::of(content_type)?;
        match decode::<Self>(format, bytes) {
            Ok(envelope) if envelope.v > VERSION => Err(DecodeError::Version(envelope.v)),
            Ok(envelope) if envelope.kind != B::KIND => {
                Err(DecodeError::Kind { found: envelope.kind, expected: B::KIND })
            }
            Ok(envelope) => Ok(envelope),
            Err(error) => Err(explain::<B>(format, bytes, error)),
        }
    }
}

/// What every version of an envelope has.
#[derive(Deserialize)]
struct Head {
    v: u16,
    kind: String,
}

/// The kind that an envelope says it has, even when its body cannot be read; none where it is no envelope.
pub fn kind(content_type: Option<&str>, bytes: &[u8]) -> Option<String> {
    decode::<Head>(Format::of(content_type).ok()?, bytes).ok().map(|head| head.kind)
}

/// What stands on an envelope, whatever is in it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Address {
    /// Version of the wire.
    pub v: u16,
    /// The kind of its body.
    pub kind: String,
    /// Who says to have written it.
    pub from: String,
    /// The entity that it is for.
    pub to: EntityId,
}

/// What stands on an envelope whose body this build may not be able to read; none where it is no envelope.
pub fn address(content_type: Option<&str>, bytes: &[u8]) -> Option<Address> {
    decode(Format::of(content_type).ok()?, bytes).ok()
}

/// A newer or foreign message fails in its body first; its head says the better reason.
fn explain<B: Body>(format: Format, bytes: &[u8], error: DecodeError) -> DecodeError {
    match decode::<Head>(format, bytes) {
        Ok(head) if head.v > VERSION => DecodeError::Version(head.v),
        Ok(head) if head.kind != B::KIND => DecodeError::Kind { found: head.kind, expected: B::KIND },
        Ok(_) | Err(_) => error,
    }
}

/// Encodes a value.
///
/// # Errors
/// [`EncodeError`] when a value has no form in the format; none of this crate's types does that.
pub fn encode<T: Serialize>(format: Format, value: &T) -> Result<Vec<u8>, EncodeError> {
    match format {
        Format::Json => serde_json::to_vec(value).map_err(|error| EncodeError(error.to_string())),
        Format::Cbor => {
            let mut bytes = Vec::with_capacity(256);
            ciborium::into_writer(value, &mut bytes).map_err(|error| EncodeError(error.to_string()))?;
            Ok(bytes)
        }
    }
}

/// Decodes a value and refuses bytes that follow it.
///
/// # Errors
/// [`DecodeError::Json`] or [`DecodeError::Cbor`].
pub fn decode<T: DeserializeOwned>(format: Format, bytes: &[u8]) -> Result<T, DecodeError> {
    match format {
        Format::Json => serde_json::from_slice(bytes).map_err(|error| DecodeError::Json(error.to_string())),
        Format::Cbor => {
            let mut rest = bytes;
            let value = ciborium::from_reader(&mut rest).map_err(|error| DecodeError::Cbor(error.to_string()))?;
            // ciborium stops after the first value and says nothing of what follows.
            if rest.is_empty() { Ok(value) } else { Err(DecodeError::Cbor(format!("{} trailing bytes", rest.len()))) }
        }
    }
}

/// Why a value has no encoding.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode: {0}")]
pub struct EncodeError(String);

/// Why bytes are not a message of ours. All of these belong in the quarantine.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The header names neither JSON nor CBOR.
    #[error("unknown content type \"{0}\"")]
    ContentType(String),
    /// Not the JSON of the expected type.
    #[error("bad JSON: {0}")]
    Json(String),
    /// Not the CBOR of the expected type.
    #[error("bad CBOR: {0}")]
    Cbor(String),
    /// Written by a newer `rr`.
    #[error("wire version {0} is newer than this rr understands ({VERSION})")]
    Version(u16),
    /// Another kind of message.
    #[error("a message of kind {found:?} where {expected:?} belongs")]
    Kind {
        /// What the envelope says.
        found: String,
        /// What the place holds.
        expected: &'static str,
    },
}
