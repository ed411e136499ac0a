//! Everything that is neither token nor namespace.

use std::net::IpAddr;

use super::{
    super::{Registration, parse::FIELDS, unstable::names},
    finding::{Code, Finding, Severity},
    shown,
};

type Tell<'a> = &'a mut dyn FnMut(Finding);

pub(super) fn check(registration: &Registration, tell: Tell<'_>) {
    url(registration, tell);
    sender(registration, tell);
    ephemeral(registration, tell);
    unstable(registration, tell);
    unknown(registration, tell);
}

fn url(registration: &Registration, tell: Tell<'_>) {
    let Some(url) = &registration.url else {
        tell(
            Finding::new(Code::NoUrl, Severity::Note, "url")
                .says("is null: the homeserver pushes nothing and asks nothing")
                .advises("give an address that the homeserver reaches, unless that is meant"),
        );
        return;
    };
    let Ok(url) = url::Url::parse(url) else {
        return;
    };
    let on_this_machine = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || !name.contains('.'),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => true,
    };
    if url.scheme() == "http" && !on_this_machine {
        tell(
            Finding::new(Code::PlainHttp, Severity::Warning, "url")
                .says("is no https: messages and the hs_token can be read on their way")
                .advises("use https, or a network that nobody else is in"),
        );
    }
}

fn sender(registration: &Registration, tell: Tell<'_>) {
    let sender = &registration.sender_localpart;
    let finding = |severity| Finding::new(Code::SenderLocalpart, severity, "sender_localpart");
    // What Python's `urllib.parse.quote` leaves as it is.
    let quoted = |c: char| !(c.is_ascii_alphanumeric() || "_.-~/".contains(c));
    if sender.contains(quoted) {
        tell(
            finding(Severity::Error)
                .says("has a character that has to be encoded in a path: Synapse refuses it")
                .advises("use a-z, 0-9, `_`, `.`, `-` and `/`"),
        );
    } else if sender.contains(|c: char| c.is_ascii_uppercase() || c == '~') {
        tell(
            finding(Severity::Warning)
                .says("has a character that user ids have no more")
                .advises("use a-z, 0-9, `_`, `.`, `-` and `/`"),
        );
    }
}

fn ephemeral(registration: &Registration, tell: Tell<'_>) {
    let finding = |field| Finding::new(Code::EphemeralNames, Severity::Note, field);
    match (
        registration.receive_ephemeral,
        registration.unstable.msc2409_push_ephemeral == Some(true),
    ) {
        (true, false) => tell(
            finding("receive_ephemeral")
                .says("is unknown to Synapse before 1.156, which pushes nothing ephemeral then")
                .advises(format!("set `{}: true` as well", names::PUSH_EPHEMERAL)),
        ),
        (false, true) => tell(
            finding(names::PUSH_EPHEMERAL)
                .says("is the name from before the specification, and will be forgotten")
                .advises("set `receive_ephemeral: true` as well"),
        ),
        _ => {}
    }
}

fn unstable(registration: &Registration, tell: Tell<'_>) {
    let unstable = &registration.unstable;
    for range in &unstable.ip_range_whitelist {
        if !is_ip_range(range) {
            tell(
                Finding::new(Code::IpRange, Severity::Error, names::IP_RANGES)
                    .says(format!(
                        "holds `{}`, which is no address range",
                        shown(range)
                    ))
                    .advises("write it as `10.0.0.0/8`, `192.0.2.1` or `fd00::/8`"),
            );
        }
    }
    let (prefix, url) = (&unstable.msc4512_proxy_prefix, &unstable.msc4512_proxy_url);
    if prefix.is_some() != url.is_some() {
        let (there, lacking) = if prefix.is_some() {
            (names::PROXY_PREFIX, names::PROXY_URL)
        } else {
            (names::PROXY_URL, names::PROXY_PREFIX)
        };
        tell(
            Finding::new(Code::ProxyHalf, Severity::Error, there)
                .says(format!("stands without `{lacking}`: Synapse refuses that"))
                .advises("set both or neither"),
        );
    }
}

fn is_ip_range(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

fn unknown(registration: &Registration, tell: Tell<'_>) {
    for name in registration.unknown.names() {
        if let Some(meant) = FIELDS.into_iter().find(|known| nearly(known, name)) {
            tell(
                Finding::new(Code::UnknownField, Severity::Warning, name)
                    .says("is read by nobody")
                    .advises(format!("did you mean `{meant}`?")),
            );
        } else if !name.contains('.') {
            // A name with a dot is somebody's own, as `org.example.field`.
            tell(
                Finding::new(Code::UnknownField, Severity::Note, name)
                    .says("is a field that this library doesn't know; it is kept")
                    .advises("remove it if no homeserver of yours reads it"),
            );
        }
    }
    for name in registration.namespaces.unknown.names() {
        if !name.contains('.') {
            tell(
                Finding::new(
                    Code::UnknownField,
                    Severity::Warning,
                    format!("namespaces.{name}"),
                )
                .says("is a list that no homeserver is known to read")
                .advises("the lists are `users`, `aliases` and `rooms`"),
            );
        }
    }
}

/// Whether one becomes the other by at most two letters put in, left out or exchanged.
fn nearly(known: &str, name: &str) -> bool {
    const MOST: usize = 2;
    if known.len().abs_diff(name.len()) > MOST || known.len() <= MOST + 1 {
        return false;
    }
    let name = name.as_bytes();
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (index, known) in known.bytes().enumerate() {
        let mut before = std::mem::replace(&mut row[0], index + 1);
        for (column, letter) in name.iter().enumerate() {
            let exchanged = before + usize::from(*letter != known);
            before = row[column + 1];
            row[column + 1] = exchanged.min(before + 1).min(row[column] + 1);
        }
    }
    row.last().is_some_and(|distance| *distance <= MOST)
}
