//! A host: whatever a flow can name as a target.
//!
//! Invariants: a [`Host`] is a DNS name or an IP literal in its one spelling (names in lower case, IPv6 in
//! canonical form), because DNS knows no case and a host with two spellings would have two queues. It has
//! a reversible form as one subject token, the only way of a host into a subject.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::text::{Echo, string_newtype, string_value};

mod expr;

pub use expr::{ExprError, ExprErrorKind, HOSTS_MAX, HostSet, fold};

/// Most characters of a host: the limit of a DNS name in text.
pub const HOST_CHARS_MAX: usize = 253;
/// Most characters between two dots: the limit of a DNS label.
pub const LABEL_CHARS_MAX: usize = 63;

/// A DNS name, an IPv4 address or an IPv6 address (without brackets). Lower case, canonical.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Host(String);

/// Why a text is no host.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HostError {
    /// Nothing was given.
    #[error("host is empty")]
    Empty,
    /// Longer than DNS allows.
    #[error("host is longer than 253 characters; got {0}")]
    TooLong(Echo),
    /// A character that no host has.
    #[error("host may hold A-Z a-z 0-9 . - _ (IPv6 also :); got {0}")]
    Character(Echo),
    /// Two dots in a row, or a dot at an end.
    #[error("host has an empty part between dots; got {0}")]
    EmptyLabel(Echo),
    /// A part between dots is longer than DNS allows.
    #[error("host has a part of more than 63 characters between dots; got {0}")]
    LabelTooLong(Echo),
    /// A part between dots begins or ends with `-`.
    #[error("host has a part that begins or ends with -; got {0}")]
    LabelDash(Echo),
    /// Four numbers that are no address.
    #[error("host looks like an IPv4 address but is none; got {0}")]
    Ipv4(Echo),
    /// Colons, but no IPv6 address.
    #[error("host looks like an IPv6 address but is none (write no brackets, port or zone); got {0}")]
    Ipv6(Echo),
    /// A token that no host has.
    #[error("token of a host is malformed; got {0}")]
    Token(Echo),
}

impl Host {
    /// The host as one NATS subject token, which is also a key and a file name: `.` is written `=` and `:`
    /// is written `=-`. That is unambiguous, because no part of a name begins with `-`.
    pub fn to_token(&self) -> String {
        self.0.replace('.', "=").replace(':', "=-")
    }

    /// The host whose token this is.
    ///
    /// # Errors
    /// No host has this token.
    pub fn from_token(token: &str) -> Result<Self, HostError> {
        let malformed = || HostError::Token(Echo::new(token));
        let host: Self = token.replace("=-", ":").replace('=', ".").parse().map_err(|_| malformed())?;
        // One host, one token: `WEB1` and `web1.a` (not escaped) are nobody's.
        if host.to_token() == token { Ok(host) } else { Err(malformed()) }
    }

    /// Takes a text that is known to be a host in its one spelling.
    fn trusted(text: String) -> Self {
        debug_assert_eq!(text.parse::<Self>().map(|host| host.0).as_ref(), Ok(&text));
        Self(text)
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.len() > HOST_CHARS_MAX {
            return Err(HostError::TooLong(Echo::new(text)));
        }
        if !text.chars().all(is_host_char) {
            return Err(HostError::Character(Echo::new(text)));
        }
        if text.contains(':') {
            let address: Ipv6Addr = text.parse().map_err(|_| HostError::Ipv6(Echo::new(text)))?;
            return Ok(Self(address.to_string()));
        }
        check_name(text)?;
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Whether `char` can stand in a host.
fn is_host_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | ':')
}

fn check_name(text: &str) -> Result<(), HostError> {
    for label in text.split('.') {
        if label.is_empty() {
            return Err(HostError::EmptyLabel(Echo::new(text)));
        }
        if label.len() > LABEL_CHARS_MAX {
            return Err(HostError::LabelTooLong(Echo::new(text)));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(HostError::LabelDash(Echo::new(text)));
        }
    }
    let is_ipv4_like = text.split('.').count() == 4 && text.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
    if is_ipv4_like && text.parse::<Ipv4Addr>().is_err() {
        return Err(HostError::Ipv4(Echo::new(text)));
    }
    Ok(())
}

string_newtype!(Host);
string_value!(
    Host,
    HostError,
    "a host",
    "A host: a DNS name, an IPv4 address or an IPv6 address without brackets.",
    "^[A-Za-z0-9._:-]{1,253}$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_have_one_spelling_and_one_token() {
        for (text, spelling, token) in [
            ("web1", "web1", "web1"),
            ("WEB1.Example.org", "web1.example.org", "web1=example=org"),
            ("a_b-c", "a_b-c", "a_b-c"),
            ("_srv.a", "_srv.a", "_srv=a"),
            ("10.0.0.1", "10.0.0.1", "10=0=0=1"),
            ("5", "5", "5"),
            ("1.2.3.4.5", "1.2.3.4.5", "1=2=3=4=5"),
            ("::1", "::1", "=-=-1"),
            ("FE80:0:0:0:0:0:0:1", "fe80::1", "fe80=-=-1"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1", "=-=-ffff=-10=0=0=1"),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!((host.as_str(), host.to_token().as_str()), (spelling, token));
            assert_eq!(Host::from_token(token), Ok(host));
        }
        assert!([LABEL_CHARS_MAX; 3].map(|length| "a".repeat(length)).join(".").parse::<Host>().is_ok());
    }

    #[test]
    fn what_is_no_host_is_refused() {
        use HostError as E;
        let cases = [
            (".", E::EmptyLabel as fn(Echo) -> E),
            ("a..b", E::EmptyLabel),
            (".a", E::EmptyLabel),
            ("a.example.org.", E::EmptyLabel),
            ("-a", E::LabelDash),
            ("a-", E::LabelDash),
            ("a.-b.c", E::LabelDash),
            ("a b", E::Character),
            ("a*", E::Character),
            (">", E::Character),
            ("a/b", E::Character),
            ("[::1]", E::Character),
            ("user@host", E::Character),
            ("münchen.de", E::Character),
            ("a\u{202e}b", E::Character),
            ("a\0", E::Character),
            ("256.1.1.1", E::Ipv4),
            ("010.0.0.1", E::Ipv4),
            ("web1:22", E::Ipv6),
            ("1::2::3", E::Ipv6),
            ("12345::", E::Ipv6),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Host>(), Err(error(Echo::new(text))));
        }
        assert_eq!("".parse::<Host>(), Err(E::Empty));
        assert!(matches!("a".repeat(LABEL_CHARS_MAX + 1).parse::<Host>(), Err(E::LabelTooLong(_))));
        assert!(matches!("a.".repeat(200).parse::<Host>(), Err(E::TooLong(_))));
        assert!(serde_json::from_str::<Host>("5").is_err());
    }

    #[test]
    fn tokens_that_no_host_has_are_refused() {
        for token in ["", "=", "a=", "a.b", "WEB1", "a==b", "a b", "fe80=-0=-0=-0=-0=-0=-0=-1", "::1", "a=-b"] {
            assert_eq!(Host::from_token(token), Err(HostError::Token(Echo::new(token))));
        }
    }

    proptest! {
        #[test]
        fn a_token_gives_its_host_back(
            text in "[A-Za-z0-9_]([A-Za-z0-9_-]{0,20}[A-Za-z0-9_])?(\\.[a-z0-9_]{1,9}){0,4}|[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F:.]{2,20}"
        ) {
            if let Ok(host) = text.parse::<Host>() {
                let token = host.to_token();
                prop_assert!(token.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_=".contains(&byte)));
                prop_assert_eq!(Host::from_token(&token), Ok(host.clone()));
                prop_assert_eq!(host.as_str().parse::<Host>(), Ok(host));
            }
        }

        #[test]
        fn every_ipv6_address_is_a_host(address in any::<Ipv6Addr>()) {
            let host: Host = address.to_string().parse().unwrap();
            prop_assert_eq!(Host::from_token(&host.to_token()), Ok(host));
        }

        #[test]
        fn no_token_is_read_as_two(token in "[a-z0-9_=-]{0,12}|\\PC*") {
            if let Ok(host) = Host::from_token(&token) {
                prop_assert_eq!(host.to_token(), token);
            }
        }
    }
}
