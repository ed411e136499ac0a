//! From a URL to a server: its name, a connection, its clock.

use std::time::{Duration, SystemTime};

use tokio::{net::TcpStream, time::timeout};
use url::Url;

use super::PATIENCE;
use crate::report::Report;

/// How far two clocks may be apart before it is told.
const CLOCKS: Duration = Duration::from_secs(5);

/// Whether a server is there at all: its name is known, and it takes connections.
pub(super) async fn reach(what: &str, key: &str, url: &Url, report: &mut Report) -> bool {
    let check = format!("{what}: network");
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        report.fail(
            &check,
            format!("`{key}` names no host"),
            "Write it as https://host:port/path.",
        );
        return false;
    };
    // The brackets of an IPv6 address belong to the URL, not to the address.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = match timeout(PATIENCE, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        _ => Vec::new(),
    };
    if addresses.is_empty() {
        report.fail(
            &check,
            format!("the name {host} has no address here"),
            &format!("Check the host in `{key}`, and this machine's DNS (`getent hosts {host}`)."),
        );
        return false;
    }
    for address in &addresses {
        if let Ok(Ok(_)) = timeout(PATIENCE, TcpStream::connect(address)).await {
            report.ok(
                &check,
                format!("{host} is {}, port {port} takes connections", address.ip()),
            );
            return true;
        }
    }
    report.fail(
        &check,
        format!(
            "nothing takes connections on port {port} of {host} ({})",
            addresses[0].ip()
        ),
        &format!("Is it running there? Check the port in `{key}` and the firewalls in between."),
    );
    false
}

/// Whether a server's clock and this machine's tell the same time: tokens and signatures end by the clock.
pub(super) async fn clock(what: &str, url: &Url, report: &mut Report) {
    let check = format!("{what}: clock");
    let asked = async {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().ok()?;
        let answer = client.head(url.clone()).send().await.ok()?;
        httpdate::parse_http_date(answer.headers().get("date")?.to_str().ok()?).ok()
    };
    let Some(theirs) = asked.await else {
        report.skip(&check, "it does not tell the time");
        return;
    };
    let apart = apart(theirs, SystemTime::now());
    if apart <= CLOCKS {
        report.ok(&check, "the same time as here");
    } else {
        report.warn(
            &check,
            format!("{} s away from this machine's", apart.as_secs()),
            "Let both machines keep their clocks by NTP (`timedatectl set-ntp true`).",
        );
    }
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other)
        .or_else(|_| other.duration_since(one))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_by_what_is_missing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let mut report = Report::new(true);
        let url = |text: &str| Url::parse(text).unwrap();
        assert!(
            reach(
                "a",
                "a.url",
                &url(&format!("http://{there}/x")),
                &mut report
            )
            .await
        );
        drop(listener);
        assert!(
            !reach(
                "a",
                "a.url",
                &url(&format!("http://{there}/x")),
                &mut report
            )
            .await
        );
        assert!(
            !reach(
                "a",
                "a.url",
                &url("https://no-such-host.invalid"),
                &mut report
            )
            .await
        );
        assert_eq!(report.count(Outcome::Failed), 2);
    }

    #[test]
    fn clocks_are_apart_both_ways() {
        let (one, other) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + CLOCKS);
        assert_eq!(apart(one, other), CLOCKS);
        assert_eq!(apart(other, one), CLOCKS);
    }
}
