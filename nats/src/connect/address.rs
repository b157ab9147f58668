//! Addresses of servers, and who logs in by them.

use async_nats::ServerAddr;

use super::ConnectError;

/// What an address says of the login.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum UrlLogin {
    /// `user:password@`.
    User(String, String),
    /// `token@`.
    Token(String),
}

/// The login of the first address that has one.
pub(super) fn login(addresses: &[ServerAddr]) -> Option<UrlLogin> {
    // The client reads it from an address and then does not use it.
    let address = addresses.iter().find(|address| address.has_user_pass())?;
    let user = decoded(address.username()?);
    Some(match address.password() {
        Some(password) => UrlLogin::User(user, decoded(password)),
        None => UrlLogin::Token(user),
    })
}

/// Reads addresses with commas between.
pub(super) fn parse(text: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    let bad = |one: &str, why: &dyn std::fmt::Display| {
        ConnectError::BadUrl(format!("{}: {why}", rr_schemas::text::Echo::new(&without_password(one))))
    };
    let mut found = Vec::new();
    for one in text.split(',').map(str::trim) {
        let address: ServerAddr = one.parse().map_err(|error| bad(one, &error))?;
        match address.scheme() {
            "nats" | "tls" if address.host().is_empty() => return Err(bad(one, &"no host")),
            "nats" | "tls" => found.push(address),
            _ => return Err(bad(one, &"begin it with nats:// or tls://")),
        }
    }
    Ok(found)
}

/// The text of addresses without what must not be shown.
pub(super) fn without_password(text: &str) -> String {
    let each = text.split(',').map(|one| {
        let (scheme, rest) = one.split_once("://").map_or(("", one), |(scheme, rest)| (scheme, rest));
        let shown = rest.rfind('@').and_then(|at| rest.get(at..)).map(|host| format!("…{host}"));
        let separator = if scheme.is_empty() { "" } else { "://" };
        format!("{scheme}{separator}{}", shown.as_deref().unwrap_or(rest))
    });
    each.collect::<Vec<_>>().join(",")
}

/// Hosts and ports, for people.
pub(super) fn shown(addresses: &[ServerAddr]) -> String {
    let each = addresses.iter().map(|address| format!("{}:{}", address.host(), address.port()));
    each.collect::<Vec<_>>().join(", ")
}

/// A part of a URL with its `%40` made `@`; what is no such code stays as it is.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = code.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%');
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_who_logs_in() {
        let user = |user: &str, password: &str| Some(UrlLogin::User(user.to_owned(), password.to_owned()));
        for (text, expected) in [
            ("nats://h", None),
            ("nats://u:p@h", user("u", "p")),
            ("nats://a,nats://u:p%40%3Aq@b", user("u", "p@:q")),
            ("tls://s3cr3t@h:1", Some(UrlLogin::Token("s3cr3t".to_owned()))),
        ] {
            assert_eq!(login(&parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn secrets_of_addresses_are_not_shown() {
        for (text, shown) in [
            ("nats://u:p@h:1", "nats://…@h:1"),
            ("u:p@h", "…@h"),
            ("nats://h", "nats://h"),
            ("nats://u:p@a:1,tls://t@b,c", "nats://…@a:1,tls://…@b,c"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }
}
