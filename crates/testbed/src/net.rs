//! The loopback net of a testbed.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

use crate::random;

/// A homeserver's port for other homeservers: TLS, served by the proxy.
pub const FEDERATION_PORT: u16 = 8448;
/// A homeserver's port for clients and application services: plain HTTP.
pub const CLIENT_PORT: u16 = 8008;
/// The FHIR server's port: plain HTTP.
pub const FHIR_PORT: u16 = 8080;
/// The last number of the FHIR server's address.
pub const FHIR_HOST: u8 = 20;
/// The homeservers of the care network and the last number of their addresses.
pub const HOMESERVERS: [(&str, u8); 3] = [("apotheek", 11), ("huisarts", 12), ("vvt", 13)];

/// A loopback net of 256 addresses, `127.x.y.0/24`.
///
/// Every testbed has one of its own, so that several can run at a time with the same ports. Linux serves all of
/// `127.0.0.0/8` without set-up; elsewhere each address has to be made first
/// (macOS: `sudo ifconfig lo0 alias 127.0.0.11`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net([u8; 2]);

impl Net {
    /// Any net but `127.0.0`, which belongs to the demo.
    pub(crate) fn random() -> Result<Self> {
        let [x, y] = random::bytes::<2>()?;
        Ok(Self([x.clamp(1, 254), y]))
    }

    /// The address with this last number.
    #[must_use]
    pub fn address(self, host: u8) -> Ipv4Addr {
        let [x, y] = self.0;
        Ipv4Addr::new(127, x, y, host)
    }

    /// Binds what the proxy will listen on and checks that the other ports are free, too.
    ///
    /// The listeners are the claim on the net: nobody else can take it while they are open.
    pub(crate) fn claim(self) -> Result<Vec<(&'static str, TcpListener)>> {
        let mut claimed = Vec::new();
        for (name, host) in HOMESERVERS {
            claimed.push((name, bind(self.address(host), FEDERATION_PORT)?));
            bind(self.address(host), CLIENT_PORT)?;
        }
        bind(self.address(FHIR_HOST), FHIR_PORT)?;
        Ok(claimed)
    }
}

impl FromStr for Net {
    type Err = anyhow::Error;

    /// Reads the first three numbers, such as `127.0.0`.
    fn from_str(text: &str) -> Result<Self> {
        let address: Ipv4Addr = format!("{text}.0").parse().with_context(|| {
            format!("{text} is not a net; write three numbers, such as 127.0.0")
        })?;
        let [first, x, y, _] = address.octets();
        if first != 127 {
            bail!("{text} is not a loopback net; it has to start with 127");
        }
        Ok(Self([x, y]))
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y] = self.0;
        write!(f, "127.{x}.{y}")
    }
}

fn bind(address: Ipv4Addr, port: u16) -> Result<TcpListener> {
    let address = SocketAddr::from((address, port));
    TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_net_cannot_be_claimed_again_until_it_is_released() {
        let net = Net::random().unwrap();
        let claim = net.claim().unwrap();

        let error = net.claim().unwrap_err();
        assert!(error.to_string().contains("8448"), "{error}");

        drop(claim);
        net.claim().unwrap();
    }

    #[test]
    fn only_loopback_nets_are_nets() {
        let net: Net = "127.0.0".parse().unwrap();
        assert_eq!(net.address(12), Ipv4Addr::new(127, 0, 0, 12));
        assert_eq!(net.to_string(), "127.0.0");
        assert!("10.0.0".parse::<Net>().is_err());
        assert!("127.0".parse::<Net>().is_err());
    }
}
