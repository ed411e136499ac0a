use percent_encoding::percent_decode_str;

/// Reads a Matrix user id from what directories write: the id itself (`@name:server`), a
/// `matrix:u/name:server` URI, or a `https://matrix.to/#/@name:server` link. `None` for anything
/// else.
///
/// Checked is the shape that every homeserver agrees on: 255 bytes at most, a local part of
/// printable ASCII, a server name with an optional port.
///
/// Spec: <https://spec.matrix.org/v1.11/appendices/#user-identifiers>,
/// <https://spec.matrix.org/v1.11/appendices/#uris>
#[must_use]
pub fn matrix_user_id(text: &str) -> Option<String> {
    let text = text.trim();
    if text.starts_with('@') {
        return is_user_id(text).then(|| text.to_owned());
    }
    let id = if let Some(rest) = strip_prefix_ignore_case(text, "matrix:") {
        // `matrix://authority/u/…` is reserved, and a `user/` long form was once proposed.
        let rest = rest
            .strip_prefix("u/")
            .or_else(|| rest.strip_prefix("user/"))?;
        format!("@{}", decode(first_segment(rest))?)
    } else {
        let rest = strip_prefix_ignore_case(text, "https://matrix.to/#/")
            .or_else(|| strip_prefix_ignore_case(text, "http://matrix.to/#/"))?;
        decode(first_segment(rest))?
    };
    is_user_id(&id).then_some(id)
}

fn first_segment(rest: &str) -> &str {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    &rest[..end]
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

fn is_user_id(text: &str) -> bool {
    let Some((local, server)) = text.strip_prefix('@').and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    // Ids from before the grammar was narrowed still exist, with any printable ASCII.
    text.len() <= 255
        && !local.is_empty()
        && local.bytes().all(|b| b.is_ascii_graphic())
        && is_server_name(server)
}

fn is_server_name(server: &str) -> bool {
    let (host, port) = if server.starts_with('[') {
        let Some((host, rest)) = server.split_once(']') else {
            return false;
        };
        let v6 = &host[1..];
        if v6.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        match rest.strip_prefix(':') {
            Some(port) => (None, Some(port)),
            None if rest.is_empty() => (None, None),
            None => return false,
        }
    } else {
        match server.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(server), None),
        }
    };
    let host_ok = host.is_none_or(|host| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    });
    let port_ok = port.is_none_or(|port| {
        (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit())
    });
    host_ok && port_ok
}
