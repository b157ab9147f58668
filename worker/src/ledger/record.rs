//! How a ledger's file is written: framed CBOR records.
//!
//! A frame is the length of its record (4 bytes, little-endian), a checksum (4 bytes) and the record. Reading stops at the
//! first frame that is incomplete or damaged: the rest was being written when the machine or the worker went down.

use rr_schemas::{id::RunId, name::InstanceId, report::Ended};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

/// First bytes of every file; the digit is the version of the format.
pub(super) const MAGIC: &[u8; 8] = b"RRLEDG1\n";

/// Longest record. Whatever claims to be longer is damage.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// One fact. Names are short, because each attempt writes three of these. Written by reference, read by value.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) enum Record<Instance = InstanceId, Run = RunId, End = Ended, Text = String> {
    /// What follows was written by this instance.
    #[serde(rename = "l")]
    Life(Instance),
    /// An attempt is about to start: number, run, task, attempt, offer.
    #[serde(rename = "s")]
    Start(u64, Run, u32, u32, u32),
    /// The token of its offer, behind its start.
    #[serde(rename = "t")]
    Token(u64, Text),
    /// It ended.
    #[serde(rename = "e")]
    End(u64, End),
    /// Its report is stored in the mesh.
    #[serde(rename = "c")]
    Confirm(u64),
}

/// A record as it is written.
pub(super) type RecordRef<'a> = Record<&'a InstanceId, &'a RunId, &'a Ended, &'a str>;

/// Appends one frame.
pub(super) fn append(buffer: &mut Vec<u8>, record: &RecordRef<'_>) {
    let head = buffer.len();
    buffer.extend_from_slice(&[0; 8]);
    // Writing into memory cannot fail, and every record has a form in CBOR.
    if let Err(error) = ciborium::into_writer(record, &mut *buffer) {
        tracing::error!(%error, "ledger record has no encoding");
        buffer.truncate(head);
        return;
    }
    let (frame, body) = buffer.split_at_mut(head + 8);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if let Some(head) = frame.get_mut(head..) {
        let (first, second) = head.split_at_mut(4);
        first.copy_from_slice(&length.to_le_bytes());
        second.copy_from_slice(&checksum(body));
    }
}

/// Whether a file was written by another version, or by something else. One that was only just begun is not.
pub(super) fn is_foreign(bytes: &[u8]) -> bool {
    let begun = bytes.iter().zip(MAGIC).take_while(|(found, wanted)| found == wanted).count();
    begun < MAGIC.len() && begun < bytes.len() && bytes.iter().any(|byte| *byte != 0)
}

/// The records of a file, and how many of its bytes are good.
pub(super) fn read(bytes: &[u8]) -> (Vec<Record>, usize) {
    let mut records = Vec::new();
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return (records, 0);
    };
    while let Some((record, tail)) = frame(rest) {
        records.push(record);
        rest = tail;
    }
    (records, bytes.len() - rest.len())
}

fn frame(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= RECORD_BYTES_MAX)?;
    let (body, rest) = rest.split_at_checked(length)?;
    if checksum(body) != *sum {
        return None;
    }
    Some((ciborium::from_reader(body).ok()?, rest))
}

/// The lower half of the body's hash.
fn checksum(body: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = XxHash3_64::oneshot(body).to_le_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::{MAGIC, Record, RecordRef, append, is_foreign, read};

    fn file() -> (Vec<u8>, Vec<usize>) {
        let run = "r1".parse().unwrap();
        let mut bytes = MAGIC.to_vec();
        let mut ends = vec![bytes.len()];
        for n in 0..5 {
            append(&mut bytes, &RecordRef::Start(n, &run, 1, 2, 3));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn whatever_is_cut_off_only_the_torn_record_is_lost() {
        let (bytes, ends) = file();
        for cut in MAGIC.len()..=bytes.len() {
            let (records, good) = read(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!((records.len(), good), (whole, ends[whole]), "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_byte_ends_the_reading_before_its_record() {
        let (bytes, ends) = file();
        for at in MAGIC.len()..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let whole = ends.iter().filter(|end| **end <= at).count() - 1;
            assert_eq!(read(&damaged).0.len(), whole, "damaged at {at}");
        }
    }

    #[test]
    fn a_file_that_was_only_begun_is_empty_and_a_foreign_one_is_told_apart() {
        for (bytes, foreign) in
            [(&b""[..], false), (b"RRL", false), (b"\0\0\0\0", false), (b"RRLEDG2\n...", true), (b"x", true)]
        {
            assert_eq!(is_foreign(bytes), foreign, "{bytes:?}");
            assert_eq!(read(bytes), (Vec::<Record>::new(), 0));
        }
        assert!(!is_foreign(&file().0));
    }
}
