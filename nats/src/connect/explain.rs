//! Why a first connection failed, by its cause.

use std::{error::Error, io};

use async_nats::{
    ConnectErrorKind, ServerError,
    rustls::{self, AlertDescription, CertificateError},
};

use super::ConnectError;

/// Whether the server hung up in the middle: it may have said why, but that can be lost.
pub(super) fn is_broken(error: &async_nats::ConnectError) -> bool {
    let kind = cause_of::<io::Error>(error).map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof))
}

/// The error with its cause in our words.
pub(super) fn explain(error: &async_nats::ConnectError, place: &str) -> ConnectError {
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    if let Some(tls) = cause_of::<io::Error>(error).and_then(of_tls) {
        return explain_tls(tls, place);
    }
    if let Some(ServerError::Other(text)) = cause_of::<ServerError>(error) {
        return of_server(text, place);
    }
    match error.kind() {
        ConnectErrorKind::ServerParse => ConnectError::BadUrl(cause),
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => ConnectError::Auth(cause),
        ConnectErrorKind::Tls => ConnectError::Unreachable(format!("{place}: TLS failed: {cause}")),
        ConnectErrorKind::Dns => ConnectError::Unreachable(format!("{place}: the name has no address: {cause}")),
        ConnectErrorKind::TimedOut => ConnectError::Unreachable(format!("{place}: no answer")),
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            ConnectError::Unreachable(format!("{place}: {cause}"))
        }
    }
}

/// What the server says before it hangs up: most of it is about accounts and limits.
fn of_server(text: &str, place: &str) -> ConnectError {
    let lower = text.to_ascii_lowercase();
    if ["authentication", "authorization", "account", "revoked"].iter().any(|word| lower.contains(word)) {
        ConnectError::Auth(text.to_owned())
    } else {
        ConnectError::Unreachable(format!("{place}: the server says: {text}"))
    }
}

fn explain_tls(error: &rustls::Error, place: &str) -> ConnectError {
    if let rustls::Error::InvalidCertificate(why) = error {
        let why = if *why == CertificateError::UnknownIssuer {
            "its certificate was issued by an authority that is not trusted here".to_owned()
        } else if matches!(why, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
            "its certificate has expired".to_owned()
        } else {
            format!("its certificate is not valid: {why}")
        };
        return ConnectError::Untrusted(format!("{place}: {why}"));
    }
    if let rustls::Error::AlertReceived(alert) = error {
        return of_alert(*alert, place);
    }
    ConnectError::Unreachable(format!("{place}: TLS failed, does the server speak it? {error}"))
}

/// What a server that looks at certificates says of ours.
fn of_alert(alert: AlertDescription, place: &str) -> ConnectError {
    let untrusted = [
        AlertDescription::BadCertificate,
        AlertDescription::UnknownCA,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::AccessDenied,
    ];
    if alert == AlertDescription::CertificateRequired {
        ConnectError::Auth(format!("{place}: it wants a client certificate"))
    } else if alert == AlertDescription::CertificateExpired {
        ConnectError::Auth(format!("{place}: the client certificate has expired"))
    } else if untrusted.contains(&alert) {
        ConnectError::Auth(format!("{place}: it does not trust the client certificate ({alert:?})"))
    } else {
        ConnectError::Unreachable(format!("{place}: TLS failed: the server sent the alert {alert:?}"))
    }
}

fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn cause_of<T: Error + 'static>(error: &async_nats::ConnectError) -> Option<&T> {
    error.source()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: rustls::Error) -> ConnectError {
        let io = io::Error::new(io::ErrorKind::InvalidData, error);
        explain(&async_nats::ConnectError::with_source(ConnectErrorKind::Io, io), "h:1")
    }

    #[test]
    fn causes_are_told_apart() {
        use rustls::Error as Tls;
        let alert = |alert| told(Tls::AlertReceived(alert)).to_string();
        assert_eq!(
            alert(AlertDescription::CertificateRequired),
            "the server refuses the login: h:1: it wants a client certificate"
        );
        assert!(matches!(told(Tls::AlertReceived(AlertDescription::UnknownCA)), ConnectError::Auth(_)));
        assert!(matches!(told(Tls::AlertReceived(AlertDescription::InternalError)), ConnectError::Unreachable(_)));
        let unknown = told(Tls::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(matches!(&unknown, ConnectError::Untrusted(text) if text.contains("not trusted here")), "{unknown}");
        let expired = told(Tls::InvalidCertificate(CertificateError::Expired));
        assert!(matches!(&expired, ConnectError::Untrusted(text) if text.contains("expired")), "{expired}");
        let plain = told(Tls::DecryptError);
        assert!(matches!(&plain, ConnectError::Unreachable(text) if text.contains("does the server speak it")));
        for (text, is_login) in [("Account Authentication Expired", true), ("maximum connections exceeded", false)] {
            let error = ServerError::Other(text.to_owned());
            let error = explain(&async_nats::ConnectError::with_source(ConnectErrorKind::Io, error), "h:1");
            assert_eq!(matches!(error, ConnectError::Auth(_)), is_login, "{error}");
        }
    }
}
