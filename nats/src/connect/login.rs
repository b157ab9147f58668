//! Who logs in, and over which TLS: files are read and looked at before anything is sent.
//!
//! Invariant: a file with a secret in it that others can read is refused, and no secret gets into an error.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use async_nats::ServerAddr;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;

use super::{ClientCertificate, ConnectError, ConnectOptions, TlsFirst, TlsOptions, UserJwt, address};

/// Bytes of a file of credentials, keys or certificates at most; a system's bundle of certificates has 250 KiB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How the seed of a user begins.
const USER_SEED: &str = "SU";
/// Characters of a seed.
const SEED_CHARS: usize = 58;
/// The bits for the group and for others.
const NOT_THE_OWNER: u32 = 0o077;

const CREDENTIALS: &str = "credentials";

/// Whether a file may be read by others than its owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Readers {
    Anybody,
    Owner,
}

/// Adds login and TLS.
pub(super) async fn apply(
    client: async_nats::ConnectOptions,
    options: &ConnectOptions,
    addresses: &[ServerAddr],
) -> Result<async_nats::ConnectOptions, ConnectError> {
    let client = tls(client, &options.tls).await?;
    if let Some(path) = &options.creds {
        let text = read(CREDENTIALS, path, Readers::Owner).await?;
        return client.credentials(&text).map_err(|error| bad(CREDENTIALS, path, error));
    }
    if let Some(UserJwt { jwt, seed }) = &options.jwt {
        let Some(seed) = seed else {
            return Ok(client.jwt(jwt.clone(), async |_nonce| Ok(Vec::new())));
        };
        let text = decorated(jwt, seed);
        let told = |error: std::io::Error| ConnectError::Auth(format!("the JWT of the user is unusable: {error}"));
        return client.credentials(&text).map_err(told);
    }
    if let Some(path) = &options.nkey {
        let text = read("nkey", path, Readers::Owner).await?;
        let seed = seed_in(&text).ok_or_else(|| bad("nkey", path, "there is no seed of a user in it (SU…)"))?;
        return Ok(client.nkey(seed.to_owned()));
    }
    if let Some(user) = &options.user {
        return Ok(client.user_and_password(user.clone(), options.password.clone().unwrap_or_default()));
    }
    if let Some(token) = &options.token {
        return Ok(client.token(token.clone()));
    }
    Ok(match address::login(addresses) {
        Some(address::UrlLogin::User(user, password)) => client.user_and_password(user, password),
        Some(address::UrlLogin::Token(token)) => client.token(token),
        None => client,
    })
}

async fn tls(
    client: async_nats::ConnectOptions,
    options: &TlsOptions,
) -> Result<async_nats::ConnectOptions, ConnectError> {
    let TlsOptions { ca, client: shown, first } = options;
    // Whoever says whom to trust does not want to talk in plain text to somebody else.
    let mut client = if *options == TlsOptions::default() { client } else { client.require_tls(true) };
    if let Some(path) = ca {
        holds("certificates of the authorities", path, Readers::Anybody, "CERTIFICATE-----").await?;
        client = client.add_root_certificates(path.clone());
    }
    if let Some(ClientCertificate { cert, key }) = shown {
        holds("client certificate", cert, Readers::Anybody, "CERTIFICATE-----").await?;
        holds("client key", key, Readers::Owner, "PRIVATE KEY-----").await?;
        client = client.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(match first {
        TlsFirst::No => client,
        TlsFirst::Yes => client.tls_first(),
    })
}

/// The client takes a PEM file with nothing in it for one with no certificates.
async fn holds(what: &'static str, path: &Path, readers: Readers, label: &str) -> Result<(), ConnectError> {
    let text = read(what, path, readers).await?;
    let is_label = |line: &str| line.starts_with("-----BEGIN") && line.trim_end().ends_with(label);
    if text.lines().any(is_label) { Ok(()) } else { Err(bad(what, path, format!("no PEM with {label:?} in it"))) }
}

async fn read(what: &'static str, path: &Path, readers: Readers) -> Result<String, ConnectError> {
    let unreadable = |error: std::io::Error| bad(what, path, error);
    let metadata = tokio::fs::metadata(path).await.map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(bad(what, path, "not a file"));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(bad(what, path, format!("{} bytes, limit {FILE_BYTES_MAX}", metadata.len())));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if readers == Readers::Owner && mode & NOT_THE_OWNER != 0 {
        return Err(ConnectError::OpenFile { what, path: PathBuf::from(path), mode });
    }
    tokio::fs::read_to_string(path).await.map_err(unreadable)
}

fn bad(what: &'static str, path: &Path, why: impl std::fmt::Display) -> ConnectError {
    ConnectError::BadFile { what, path: PathBuf::from(path), why: why.to_string() }
}

/// A seed alone on its line, with or without the lines that tools write around it.
fn seed_in(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| line.starts_with(USER_SEED) && line.len() == SEED_CHARS)
}

/// A JWT and its seed as a credentials file has them.
fn decorated(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt.trim(),
        seed.trim()
    )
}

/// A refused login with the time until which its credentials are valid: the server does not say that they have run out.
pub(super) async fn with_validity(error: ConnectError, options: &ConnectOptions) -> ConnectError {
    let ConnectError::Auth(cause) = &error else { return error };
    let text = match (&options.creds, &options.jwt) {
        (Some(path), _) => read(CREDENTIALS, path, Readers::Owner).await.unwrap_or_default(),
        (None, Some(UserJwt { jwt, .. })) => jwt.clone(),
        (None, None) => return error,
    };
    match expiry(&text) {
        Some(until) => ConnectError::Auth(format!("{cause}; these credentials are valid until {until}")),
        None => error,
    }
}

/// Until when the first JWT of a text is valid, if not for ever.
fn expiry(text: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let jwt = text.lines().map(str::trim).find(|line| line.starts_with("ey"))?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    Timestamp::from_second(serde_json::from_slice::<Claims>(&claims).ok()?.exp).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_found_with_and_without_decoration() {
        let seed = format!("SU{}", "A".repeat(56));
        for (text, found) in [
            (seed.clone(), true),
            (format!("  {seed}\n\n"), true),
            (format!("-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"), true),
            (format!("SA{}", "A".repeat(56)), false),
            ("SUSHI".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(seed_in(&text), found.then_some(seed.as_str()), "{text}");
        }
    }

    #[test]
    fn credentials_say_until_when_they_are_valid() {
        let jwt = |claims: &str| format!("eyJ0eXAiOiJKV1QifQ.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
        for (text, expected) in [
            (decorated(&jwt(r#"{"exp": 1700000000}"#), "SU"), Some("2023-11-14T22:13:20Z")),
            (jwt(r#"{"sub": "x"}"#), None),
            ("nonsense".to_owned(), None),
        ] {
            assert_eq!(expiry(&text).map(|at| at.to_string()).as_deref(), expected, "{text}");
        }
    }
}
