//! Subjects and filters, as the server matches them.

/// Whether a filter, which may have wildcards, matches a subject. As for the server, a wildcard in the subject is a token like
/// any other.
pub(crate) fn matches(filter: &str, subject: &str) -> bool {
    // Most filters have nothing to do with a subject, and show it before their first wildcard.
    let is_telling = |(wanted, found): &(u8, u8)| wanted != found || matches!(wanted, b'*' | b'>');
    match filter.bytes().zip(subject.bytes()).find(is_telling) {
        Some((b'*' | b'>', _)) => match_tokens(filter, subject),
        Some(_) => false,
        None => filter.len() == subject.len(),
    }
}

fn match_tokens(filter: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, subject.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

/// Whether everything that `inner` matches is matched by `outer`, too.
pub(crate) fn covers(outer: &str, inner: &str) -> bool {
    let mut inner = inner.split('.');
    for wanted in outer.split('.') {
        match (wanted, inner.next()) {
            (">", Some(_)) => return true,
            ("*", Some(found)) if found != ">" => {}
            (wanted, Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
    inner.next().is_none()
}

/// Whether some subject is matched by both.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

/// Whether a subject has no wildcards.
pub(crate) fn is_literal(subject: &str) -> bool {
    subject.split('.').all(|token| token != "*" && token != ">")
}

/// Whether the server routes what is published to it: no token is empty.
pub(crate) fn is_routable(subject: &str) -> bool {
    !subject.is_empty() && subject.split('.').all(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{covers, is_routable, match_tokens, matches, overlap};

    #[test]
    fn filters_match_token_by_token() {
        for (filter, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a", false),
            ("a.>", "a.b.c", true),
            ("*.b", "a.b", true),
            (">", "a", true),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("a.*.c", "a.*b.c", true),
            ("a.b*", "a.bc", false),
            ("a.b*", "a.b*", true),
            ("a.>", "a.>", true),
        ] {
            assert_eq!(match_tokens(filter, subject), expected, "{filter} {subject}, by token");
            assert_eq!(matches(filter, subject), expected, "{filter} {subject}");
        }
    }

    #[test]
    fn a_filter_covers_what_it_matches_all_of() {
        for (outer, inner, covered, shared) in [
            ("a.>", "a.b.*", true, true),
            ("a.*", "a.>", false, true),
            ("a.b.*", "a.*.c", false, true),
            ("a.*.c", "a.*.c", true, true),
            ("a.b", "a.c", false, false),
            ("a.*", "a.*.c", false, false),
            ("a.>", "a", false, false),
        ] {
            assert_eq!((covers(outer, inner), overlap(outer, inner)), (covered, shared), "{outer} {inner}");
        }
        assert!(is_routable("a.b") && !is_routable("a..b") && !is_routable("a."));
    }
}
