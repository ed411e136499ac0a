//! Application services that are registered on a homeserver and wait for a test.

mod idle;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use url::Url;

pub(crate) use idle::Idle;

use crate::net::Net;
use crate::{files, poll, random};

/// The homeserver that they are registered on.
pub(crate) const HOMESERVER: &str = "vvt";
/// The last number of the address that they listen on.
const HOST: u8 = 1;
/// How long a test waits for another one to give a service back.
const PATIENCE: Duration = Duration::from_mins(5);

/// An application service that is registered on `vvt` and that this test has to itself until it is dropped.
///
/// While no test has it, the testbed answers in its place, so that the homeserver never backs off from it and no
/// events pile up. Between taking a service and listening, a transaction of an earlier test may still fail: the
/// homeserver then tries again after two seconds, or at once after a successful
/// `POST /_matrix/client/v1/appservice/{id}/ping`, which a service sends when it starts anyway.
#[derive(Debug)]
#[non_exhaustive]
pub struct Appservice {
    /// The name it was taken by, such as `sdk1`.
    pub name: &'static str,
    /// The registration, with the tokens, as the homeserver has read it.
    pub registration_path: PathBuf,
    /// Where the homeserver sends its transactions: listen here. Free from now on.
    pub listen_addr: SocketAddr,
    /// The client URL of the homeserver that it is registered on.
    pub homeserver_url: Url,
    /// That homeserver's name.
    pub server_name: &'static str,
    /// The localpart of the service's own user.
    pub sender_localpart: String,
    /// What the localparts of its users begin with.
    pub user_prefix: String,
    /// Nobody else has the service while this is open.
    _lock: File,
}

/// Which shape a registration has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// For tests of the SDK: namespaces of its own, no rooms, no rate limits.
    Sdk,
    /// For tests of the bridge: like the example registration, whose `!*` matches every room.
    Bridge,
}

/// One of the services, of which only the tokens are made at run time.
#[derive(Debug)]
pub(crate) struct Slot {
    name: &'static str,
    kind: Kind,
    port: u16,
    localpart: &'static str,
}

/// The services of a shared testbed.
pub(crate) static SLOTS: [Slot; 8] = [
    Slot::new("sdk1", Kind::Sdk, 1301, "sdk1"),
    Slot::new("sdk2", Kind::Sdk, 1302, "sdk2"),
    Slot::new("sdk3", Kind::Sdk, 1303, "sdk3"),
    Slot::new("sdk4", Kind::Sdk, 1304, "sdk4"),
    Slot::new("sdk5", Kind::Sdk, 1305, "sdk5"),
    Slot::new("sdk6", Kind::Sdk, 1306, "sdk6"),
    Slot::new("bridge1", Kind::Bridge, 1311, "_fhir1"),
    Slot::new("bridge2", Kind::Bridge, 1312, "_fhir2"),
];

impl Slot {
    const fn new(name: &'static str, kind: Kind, port: u16, localpart: &'static str) -> Self {
        Self {
            name,
            kind,
            port,
            localpart,
        }
    }

    fn listen_addr(&self, net: Net) -> SocketAddr {
        (net.address(HOST), self.port).into()
    }

    fn registration_path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.yaml", self.name))
    }

    fn lock_path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.lock", self.name))
    }

    /// Exists, and is young, while somebody waits for the service.
    fn wish_path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.wanted", self.name))
    }

    /// What the localparts of its users begin with.
    fn user_prefix(&self) -> String {
        match self.kind {
            Kind::Sdk => format!("_{}_", self.localpart),
            Kind::Bridge => format!("{}_bridge_", self.localpart),
        }
    }

    fn registration(&self, net: Net) -> Result<String> {
        let prefix = self.user_prefix();
        let mut yaml = format!("id: {}\n", json!(self.name));
        writeln!(yaml, "url: \"http://{}\"", self.listen_addr(net))?;
        writeln!(yaml, "as_token: {}", json!(random::secret()?))?;
        writeln!(yaml, "hs_token: {}", json!(random::secret()?))?;
        writeln!(yaml, "sender_localpart: {}", json!(self.localpart))?;
        let namespaces = match self.kind {
            Kind::Sdk => json!({
                "users": [{"regex": format!("@{prefix}.*"), "exclusive": true}],
                "aliases": [{"regex": format!("#{prefix}.*"), "exclusive": true}],
                "rooms": [],
            }),
            Kind::Bridge => json!({
                "users": [{"regex": format!("@{prefix}.*"), "exclusive": true}],
                "aliases": [{"regex": format!("#{prefix}.*"), "exclusive": false}],
                "rooms": [{"regex": "!*", "exclusive": false}],
            }),
        };
        writeln!(yaml, "namespaces: {namespaces}")?;
        if self.kind == Kind::Bridge {
            writeln!(yaml, "receive_ephemeral: true")?;
            writeln!(yaml, "de.sorunome.msc2409.push_ephemeral: true")?;
        }
        if self.kind == Kind::Sdk {
            writeln!(yaml, "rate_limited: false")?;
            writeln!(yaml, "protocols: [{}]", json!(self.name))?;
        }
        Ok(yaml)
    }
}

/// Writes the registrations of all services; their paths.
pub(crate) fn write_registrations(folder: &Path, net: Net) -> Result<Vec<PathBuf>> {
    files::private_folder(folder)?;
    SLOTS
        .iter()
        .map(|slot| {
            let path = slot.registration_path(folder);
            files::write_private(&path, &slot.registration(net)?)?;
            Ok(path)
        })
        .collect()
}

/// Takes a service, and waits while another test has it.
pub(crate) async fn take(
    name: &str,
    folder: &Path,
    net: Net,
    homeserver_url: &Url,
) -> Result<Appservice> {
    let Some(slot) = SLOTS.iter().find(|slot| slot.name == name) else {
        let names = SLOTS.each_ref().map(|slot| slot.name).join(", ");
        bail!("there is no application service {name}; there are {names}");
    };
    let registration_path = slot.registration_path(folder);
    if !registration_path.is_file() {
        bail!("only a shared testbed has application services; this one was started without");
    }
    let wish = slot.wish_path(folder);
    let lock = poll::until(PATIENCE, async || {
        let lock = files::try_lock(&slot.lock_path(folder))?;
        if lock.is_none() {
            fs::write(&wish, "").with_context(|| format!("cannot write {}", wish.display()))?;
        }
        Ok(lock)
    });
    let lock = lock.await?.with_context(|| {
        format!("another test has had the application service {name} for {PATIENCE:?}")
    })?;
    // Others who wait will say so again.
    let _ = fs::remove_file(&wish);
    Ok(Appservice {
        name: slot.name,
        registration_path,
        listen_addr: slot.listen_addr(net),
        homeserver_url: homeserver_url.clone(),
        server_name: HOMESERVER,
        sender_localpart: slot.localpart.to_owned(),
        user_prefix: slot.user_prefix(),
        _lock: lock,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_registration_has_its_own_identity_and_namespaces() {
        let net: Net = "127.7.8".parse().unwrap();
        let mut seen = HashSet::new();
        for slot in &SLOTS {
            let text = slot.registration(net).unwrap();
            let registration: Value = serde_yaml::from_str(&text).unwrap();
            for own in ["id", "url", "as_token", "hs_token", "sender_localpart"] {
                let value = registration[own].as_str().unwrap().to_owned();
                assert!(
                    seen.insert((own, value)),
                    "{own} of {} is not its own",
                    slot.name
                );
            }
            for kind in ["users", "aliases"] {
                let regex = &registration["namespaces"][kind][0]["regex"];
                assert!(seen.insert((kind, regex.to_string())));
            }
        }
    }

    #[test]
    fn a_bridge_is_registered_like_the_example() {
        let net: Net = "127.7.8".parse().unwrap();
        let slot = SLOTS.iter().find(|slot| slot.name == "bridge2").unwrap();
        let registration: Value = serde_yaml::from_str(&slot.registration(net).unwrap()).unwrap();

        assert_eq!(registration["url"], "http://127.7.8.1:1312");
        assert_eq!(registration["sender_localpart"], "_fhir2");
        assert_eq!(
            registration["namespaces"],
            json!({
                "users": [{"regex": "@_fhir2_bridge_.*", "exclusive": true}],
                "aliases": [{"regex": "#_fhir2_bridge_.*", "exclusive": false}],
                "rooms": [{"regex": "!*", "exclusive": false}],
            })
        );
        assert_eq!(registration.get("rate_limited"), None);
    }
}
