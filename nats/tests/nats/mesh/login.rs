//! Logins of every kind, and TLS: what works, and what is said when it does not.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use rcgen::{CertificateParams, DnType, IsCa, Issuer, date_time_ymd};
use rr_nats::{ClientCertificate, ConnectError, ConnectOptions, TlsFirst, TlsOptions, UserJwt, connect};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    connecting::{failure, to},
    custom::Custom,
};

/// A year in which everything here is still valid, and one in which nothing was.
const VALID: i32 = 2100;
const EXPIRED: i32 = 2021;

/// An authority with its files.
struct Authority {
    dir: PathBuf,
    name: &'static str,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new(dir: &Path, name: &'static str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let cert = params.self_signed(&key).unwrap();
        fs::write(dir.join(format!("{name}.pem")), cert.pem()).unwrap();
        Self { dir: dir.to_owned(), name, issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> PathBuf {
        self.dir.join(format!("{}.pem", self.name))
    }

    /// A certificate for a name, which is also its common name, valid until that year.
    fn issue(&self, name: &str, until: i32) -> ClientCertificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let file = |kind: &str| self.dir.join(format!("{}-{name}-{until}.{kind}", self.name));
        fs::write(file("pem"), cert.pem()).unwrap();
        secret(&file("key"), &key.serialize_pem());
        ClientCertificate { cert: file("pem"), key: file("key") }
    }
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A server with `JetStream` in a directory of its own.
async fn server(configuration: &str) -> (Custom, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("js");
    let configuration = format!("jetstream {{ store_dir: \"{}\" }}\n{configuration}", store.display());
    (Custom::start(dir.path(), &configuration).await, dir)
}

fn tls(files: &ClientCertificate, more: &str) -> String {
    let ClientCertificate { cert, key } = files;
    format!("tls {{ cert_file: \"{}\", key_file: \"{}\", {more} }}\n", cert.display(), key.display())
}

fn trusting(server: &Custom, ca: impl Into<Option<PathBuf>>) -> ConnectOptions {
    let ca = ca.into();
    ConnectOptions { tls: TlsOptions { ca, ..TlsOptions::default() }, ..to(&server.url) }
}

#[tokio::test]
async fn a_server_shows_a_certificate_that_is_trusted_or_is_not_talked_to() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let (good, _good) = server(&tls(&ours.issue("127.0.0.1", VALID), "")).await;
    connect(&trusting(&good, ours.ca())).await.unwrap();
    let by_url = ConnectOptions { server: good.url.replace("nats://", "tls://"), ..trusting(&good, ours.ca()) };
    connect(&by_url).await.unwrap();

    let (expired, _expired) = server(&tls(&ours.issue("127.0.0.1", EXPIRED), "")).await;
    let (foreign, _foreign) = server(&tls(&ours.issue("elsewhere.example", VALID), "")).await;
    for (server, ca, says) in [
        (&good, None, "not trusted here"),
        (&good, Some(other.ca()), "not trusted here"),
        (&expired, Some(ours.ca()), "expired"),
        (&foreign, Some(ours.ca()), "elsewhere.example"),
    ] {
        let error = failure(&trusting(server, ca)).await;
        assert!(matches!(error, ConnectError::Untrusted(_)) && error.to_string().contains(says), "{says}: {error}");
        assert!(error.to_string().contains("127.0.0.1:"), "{error}");
    }

    // Whoever names an authority does not talk in plain text to somebody else.
    let (plain, _plain) = server("").await;
    let error = failure(&trusting(&plain, ours.ca())).await;
    assert!(matches!(&error, ConnectError::Unreachable(text) if text.contains("TLS")), "{error}");

    let (first, _first) = server(&tls(&ours.issue("127.0.0.1", VALID), "handshake_first: true")).await;
    let mut options = trusting(&first, ours.ca());
    options.tls.first = TlsFirst::Yes;
    connect(&options).await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let ca = ours.ca();
    let verify = format!("ca_file: \"{}\", verify_and_map: true", ca.display());
    let users = "authorization { users: [ { user: \"worker.rr\" } ] }\n";
    let (server, _dir) = server(&(tls(&ours.issue("127.0.0.1", VALID), &verify) + users)).await;
    let showing = |client: Option<ClientCertificate>| {
        let mut options = trusting(&server, ours.ca());
        options.tls.client = client;
        options
    };
    connect(&showing(Some(ours.issue("worker.rr", VALID)))).await.unwrap();
    for (client, says) in [
        (None, "it wants a client certificate"),
        (Some(other.issue("worker.rr", VALID)), "it does not trust the client certificate"),
        (Some(ours.issue("worker.rr", EXPIRED)), "certificate"),
        (Some(ours.issue("stranger.rr", VALID)), "authorization violation"),
    ] {
        let error = failure(&showing(client)).await;
        assert!(matches!(error, ConnectError::Auth(_)) && error.to_string().contains(says), "{says}: {error}");
    }
    let key = ours.issue("worker.rr", VALID).key;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let cert = ours.issue("other.rr", VALID).cert;
    let error = failure(&showing(Some(ClientCertificate { cert, key: key.clone() }))).await;
    assert_eq!(error, ConnectError::OpenFile { what: "client key", path: key, mode: 0o640 });
}

#[tokio::test]
async fn passwords_tokens_and_nkeys_log_in() {
    let user = KeyPair::new_user();
    let nkey = format!("{{ nkey: {} }}", user.public_key());
    let (server, dir) =
        server(&format!("authorization {{ users: [ {{ user: u, password: \"p@:%\" }}, {nkey} ] }}\n")).await;
    let url = |login: &str| server.url.replace("nats://", &format!("nats://{login}@"));
    let file = |name: &str, text: &str| {
        secret(&dir.path().join(name), text);
        Some(dir.path().join(name))
    };
    let seed = file("seed", &format!("{}\n", user.seed().unwrap()));
    let foreign = file("foreign", &KeyPair::new_user().seed().unwrap());
    let by_user = |password: &str| ConnectOptions {
        user: Some("u".to_owned()),
        password: Some(password.to_owned()),
        ..to(&server.url)
    };
    let by_nkey = |nkey: &Option<PathBuf>| ConnectOptions { nkey: nkey.clone(), ..to(&server.url) };
    for good in [by_user("p@:%"), to(&url("u:p%40%3A%25")), by_nkey(&seed)] {
        connect(&good).await.unwrap();
    }
    for wrong in [by_user("x"), to(&url("u:x")), to(&url("t")), to(&server.url), by_nkey(&foreign)] {
        let error = failure(&wrong).await;
        assert_eq!(error.to_string(), "the server refuses the login: nats: authorization violation", "{wrong:?}");
        assert!(!format!("{wrong:?}").contains("p@:%"));
    }

    let (by_token, _dir) = self::server("authorization { token: s3cr3t }\n").await;
    connect(&to(&by_token.url.replace("nats://", "nats://s3cr3t@"))).await.unwrap();
    connect(&ConnectOptions { token: Some("s3cr3t".to_owned()), ..to(&by_token.url) }).await.unwrap();
    assert!(matches!(failure(&to(&by_token.url)).await, ConnectError::Auth(_)));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let nonsense = dir.path().join("nonsense");
    secret(&nonsense, "nonsense");
    let open = dir.path().join("open");
    secret(&open, "x");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let path = |path: &PathBuf| Some(path.clone());
    for (file, why) in [(&nowhere, "No such file"), (&nonsense, ""), (&dir.path().to_owned(), "not a file")] {
        let client = ClientCertificate { cert: file.clone(), key: nonsense.clone() };
        for options in [
            ConnectOptions { creds: path(file), ..to("127.0.0.1:1") },
            ConnectOptions { nkey: path(file), ..to("127.0.0.1:1") },
            ConnectOptions { tls: TlsOptions { ca: path(file), ..TlsOptions::default() }, ..to("127.0.0.1:1") },
            ConnectOptions { tls: TlsOptions { client: Some(client), ..TlsOptions::default() }, ..to("127.0.0.1:1") },
        ] {
            let error = failure(&options).await;
            assert!(matches!(&error, ConnectError::BadFile { path, .. } if path == file), "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }
    for options in [
        ConnectOptions { creds: path(&open), ..to("127.0.0.1:1") },
        ConnectOptions { nkey: path(&open), ..to("127.0.0.1:1") },
    ] {
        let error = failure(&options).await;
        assert!(matches!(&error, ConnectError::OpenFile { path, mode: 0o644, .. } if *path == open), "{error}");
    }
}

/// A JWT of NATS: who issues it, for whom, and what it says.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &Value, expires: Option<i64>) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let mut claims = json!({
        "jti": "x", "iat": 1_700_000_000, "name": "test", "nats": nats,
        "iss": issuer.public_key(), "sub": subject.public_key(),
    });
    if let (Some(claims), Some(expires)) = (claims.as_object_mut(), expires) {
        claims.insert("exp".to_owned(), json!(expires));
    }
    let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn credentials_of_an_operators_user_log_in_until_they_expire() {
    let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let plain = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
    });
    let mut limits = plain.clone();
    for stored in ["mem_storage", "disk_storage", "streams", "consumer"] {
        limits.as_object_mut().unwrap().insert(stored.to_owned(), json!(-1));
    }
    let of_operator = jwt(&operator, &operator, &json!({ "type": "operator", "version": 2 }), None);
    let of_account = jwt(&operator, &account, &json!({ "type": "account", "version": 2, "limits": limits }), None);
    let system = KeyPair::new_account();
    let of_system = jwt(&operator, &system, &json!({ "type": "account", "version": 2, "limits": plain }), None);
    let (account_id, system_id) = (account.public_key(), system.public_key());
    let (server, dir) = server(&format!(
        "operator: {of_operator}\nresolver: MEMORY\nsystem_account: {system_id}\n\
         resolver_preload: {{ {account_id}: {of_account}, {system_id}: {of_system} }}\n"
    ))
    .await;
    let nats = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let of_user = |expires| UserJwt { jwt: jwt(&account, &user, &nats, expires), seed: Some(user.seed().unwrap()) };
    let creds = |name: &str, UserJwt { jwt, seed }: &UserJwt| {
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            seed.as_ref().unwrap()
        );
        secret(&dir.path().join(name), &text);
        ConnectOptions { creds: Some(dir.path().join(name)), ..to(&server.url) }
    };
    connect(&creds("good.creds", &of_user(None))).await.unwrap();
    connect(&ConnectOptions { jwt: Some(of_user(Some(4_000_000_000))), ..to(&server.url) }).await.unwrap();
    let bearer = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "bearer_token": true });
    let bearer = UserJwt { jwt: jwt(&account, &user, &bearer, None), seed: None };
    connect(&ConnectOptions { jwt: Some(bearer), ..to(&server.url) }).await.unwrap();

    let expired = of_user(Some(1_700_000_100));
    for options in [creds("old.creds", &expired), ConnectOptions { jwt: Some(expired.clone()), ..to(&server.url) }] {
        let error = failure(&options).await;
        assert!(matches!(error, ConnectError::Auth(_)), "{error}");
        assert!(error.to_string().contains("valid until 2023-11-14T22:15:00Z"), "{error}");
    }
    let stranger = jwt(&KeyPair::new_account(), &user, &nats, None);
    let error = failure(&creds("wrong.creds", &UserJwt { jwt: stranger, seed: of_user(None).seed })).await;
    assert!(matches!(error, ConnectError::Auth(_)), "{error}");
}
