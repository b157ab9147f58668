//! Tokens, computed anew: whoever reports on an attempt must bear what only its offer says.
//!
//! The judge has this of its own, apart from the coordinator's: a mistake in one of them must not hide in both.

use std::fmt::Write as _;

use rr_core::run::WITHDRAWN_BY;
use rr_schemas::{
    id::RunId,
    input::{Input, Source},
};
use sha2::{Digest as _, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// Bytes of a keyed hash that a token keeps.
const KEPT: usize = 16;

/// Whether an input bears the token that it must bear. A run whose first decision has no secret asks for none.
pub fn is_borne(secret: &str, run: &RunId, source: &Source, input: &Input) -> bool {
    let (task, attempt, borne) = match (source, input) {
        (Source::Worker(_), Input::Report(report)) => (report.task, report.attempt, &report.token),
        (Source::Claim { worker, .. }, Input::Claim(claim)) if worker.as_str() != WITHDRAWN_BY => {
            (claim.task, claim.attempt, &claim.token)
        }
        (Source::Api | Source::Timer | Source::Note | Source::Worker(_) | Source::Claim { .. }, _) => return true,
    };
    secret.is_empty() || *borne == token(secret, run, task, attempt)
}

/// The token of an attempt, in a run with this secret: half of an HMAC with SHA-256 (RFC 2104), in hex.
pub fn token(secret: &str, run: &RunId, task: u32, attempt: u32) -> String {
    let mut key = [0_u8; BLOCK];
    let hashed = Sha256::digest(secret.as_bytes());
    let bytes = if secret.len() > BLOCK { hashed.as_slice() } else { secret.as_bytes() };
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let message = format!("{run}.{task}.{attempt}");
    let inner = Sha256::new().chain_update(key.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    let outer = Sha256::new().chain_update(key.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize();
    outer.iter().take(KEPT).fold(String::with_capacity(2 * KEPT), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rr_schemas::{
        input::{Cancel, Holder},
        report::{Claim, Report, What},
    };

    use super::*;

    #[test]
    fn a_token_is_the_keyed_hash_that_others_compute() {
        // printf 'r1.7.2' | openssl dgst -sha256 -mac HMAC -macopt key:SECRET, its first half
        let run = "r1".parse().unwrap();
        assert_eq!(token("secret", &run, 7, 2), "db284170770466272ee3cc5e64a97af4");
        assert_eq!(token(&"s".repeat(65), &run, 7, 2), "8afe290616f2934680125ecf14c3b4fa");
    }

    /// Coordinators, who claim for nobody, need none, nor does who does not speak of an attempt; nor any run without a secret.
    #[test]
    fn who_speaks_of_an_attempt_bears_its_token() {
        let run: RunId = "r1".parse().unwrap();
        let by = |worker: &str| Holder { worker: worker.parse().unwrap(), instance: "i1".parse().unwrap() };
        let report = |token: &str| {
            let (Holder { worker, instance }, token) = (by("w1"), token.to_owned());
            let report = Report { task: 7, attempt: 2, offer: 1, instance, what: What::Returned {}, token };
            (Source::Worker(worker), Input::Report(report))
        };
        let claim = |worker: &str, token: &str| {
            let (Holder { worker, instance }, token) = (by(worker), token.to_owned());
            let claim = Claim { task: 7, attempt: 2, worker, instance, token };
            (Source::from(&claim), Input::Claim(claim))
        };
        let good = token("secret", &run, 7, 2);
        let cancel = (Source::Api, Input::Cancel(Cancel { by: "t".into(), reason: None }));
        for (what, (source, input), is_borne_by_it) in [
            ("a report", report(&good), true),
            ("a report without one", report(""), false),
            ("a report with another one", report(&token("secret", &run, 7, 1)), false),
            ("a claim", claim("w1", &good), true),
            ("a claim without one", claim("w1", ""), false),
            ("a claim for nobody", claim(WITHDRAWN_BY, ""), true),
            ("a cancel", cancel, true),
        ] {
            assert_eq!(is_borne("secret", &run, &source, &input), is_borne_by_it, "{what}");
            assert!(is_borne("", &run, &source, &input), "{what}, where there is no secret");
        }
    }
}
