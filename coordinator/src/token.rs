//! Tokens: what an offer says to whoever gets it, and nobody else knows.
//!
//! The first decision of a run holds a secret, and the token of an attempt is its keyed hash of run, task and attempt. So
//! every coordinator that has loaded the run can check a token, and nothing is stored for each offer. Whoever may read
//! decisions can make tokens; to use one, they would have to publish as a worker too.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

use rr_core::run::WITHDRAWN_BY;
use rr_schemas::{
    id::RunId,
    input::{Input, Source},
};
use sha2::{Digest as _, Sha256};

/// The system's source of randomness.
const RANDOM: &str = "/dev/urandom";
/// Bytes of a hash that are kept: enough that nobody guesses them.
const KEPT: usize = 16;
/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// What a coordinator draws the secrets of its runs from.
#[derive(Clone, Eq, PartialEq)]
pub struct Seed([u8; 32]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed")
    }
}

impl Seed {
    /// A known one, for lives that must be repeated exactly: whoever knows it can make tokens.
    pub const fn known(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// A new one for each life of a coordinator.
    pub(crate) fn random() -> io::Result<Self> {
        let mut seed = [0; 32];
        File::open(RANDOM)?.read_exact(&mut seed)?;
        Ok(Self(seed))
    }

    /// The secret of a run that this coordinator submits.
    pub(crate) fn secret(&self, run: &RunId) -> String {
        hex(&hmac(&self.0, run.as_str().as_bytes()))
    }
}

/// The token of an attempt; none where the run has no secret.
pub(crate) fn token(secret: &str, run: &RunId, task: u32, attempt: u32) -> String {
    if secret.is_empty() {
        return String::new();
    }
    hex(&hmac(secret.as_bytes(), format!("{run}.{task}.{attempt}").as_bytes()))
}

/// Whether an input bears the token that it must bear, if any.
pub(crate) fn is_borne(secret: &str, run: &RunId, source: &Source, input: &Input) -> bool {
    let (task, attempt, borne) = match (source, input) {
        (Source::Worker(_), Input::Report(report)) => (report.task, report.attempt, &report.token),
        // Coordinators claim for nobody, by a right of their own.
        (Source::Claim { worker, .. }, Input::Claim(claim)) if worker.as_str() != WITHDRAWN_BY => {
            (claim.task, claim.attempt, &claim.token)
        }
        (Source::Api | Source::Timer | Source::Note | Source::Worker(_) | Source::Claim { .. }, _) => return true,
    };
    secret.is_empty() || is_same(&token(secret, run, task, attempt), borne)
}

/// Compares in a time that does not tell how much is right.
fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

/// HMAC with SHA-256 (RFC 2104). A bare hash of secret and message could be continued by whoever knows one of them.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    let hashed;
    let key = if key.len() > BLOCK {
        hashed = Sha256::digest(key);
        hashed.as_slice()
    } else {
        key
    };
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

fn hex(hash: &[u8; 32]) -> String {
    hash.iter().take(KEPT).fold(String::with_capacity(2 * KEPT), |mut text, byte| {
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_keyed_hash_is_that_of_the_standard() {
        // RFC 4231, cases 1, 2 and 6, cut to 128 bits as in its case 5.
        for (key, message, hash) in [
            (vec![0x0b; 20], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b"),
            (b"Jefe".to_vec(), "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c7"),
            (
                vec![0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f",
            ),
        ] {
            assert_eq!(hex(&hmac(&key, message.as_bytes())), hash);
        }
    }

    #[test]
    fn each_attempt_of_each_run_has_a_token_of_its_own() {
        let runs: Vec<RunId> = ["r1", "r11"].map(|run| run.parse().unwrap()).into();
        let mut tokens = BTreeSet::new();
        for secret in ["s1", "s2"] {
            for run in &runs {
                for (task, attempt) in [(0, 1), (1, 0), (0, 11), (1, 1), (11, 1)] {
                    assert!(tokens.insert(token(secret, run, task, attempt)));
                }
            }
        }
        assert_eq!(token("", &runs[0], 0, 1), "", "a run of before there were tokens");
        let (one, other) = (Seed::random().unwrap(), Seed::random().unwrap());
        let secrets = [&one, &other].map(|seed| runs.iter().map(|run| seed.secret(run)).collect::<BTreeSet<_>>());
        assert_eq!(secrets.iter().flatten().collect::<BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn a_token_is_the_same_in_every_part_or_it_is_another() {
        for (one, other, same) in [("ab", "ab", true), ("ab", "ac", false), ("ab", "a", false), ("", "", true)] {
            assert_eq!(is_same(one, other), same, "{one} {other}");
        }
    }
}
