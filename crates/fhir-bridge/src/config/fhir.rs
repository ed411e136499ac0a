//! The FHIR servers.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use fhir::{FhirClient, Secret, SetupError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Auth, Config, Subscription, Tls};

/// What a server's name may not be: ghosts and aliases begin with the prefix and one of these, so that a
/// server of this name would share localparts with the one without a name.
const TAKEN: [&str; 11] = [
    "careteam",
    "communication",
    "communicationrequest",
    "conversation",
    "healthcareservice",
    "organization",
    "patient",
    "person",
    "practitioner",
    "practitionerrole",
    "relatedperson",
];

/// How long a server's name may be: it stands in every ghost's user id, which has room for 255 bytes.
const LONGEST_NAME: usize = 32;

/// A FHIR server.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fhir {
    /// What it is called among several, in `fhir_servers`: its ghosts and aliases begin with `prefix` and this
    /// name, and its links are in `links-<name>.db`. Absent in `fhir`, and in `fhir_servers` for one at most,
    /// which is then the one that was `fhir` before.
    pub name: Option<String>,
    /// Its base URL, such as `http://127.0.0.20:8080/fhir`.
    pub url: Url,
    /// A file with the bearer token that the bridge shows: short for `auth: {kind: bearer, token_file: …}`.
    pub token_file: Option<PathBuf>,
    /// How the bridge shows who it is. Default: not at all.
    #[serde(default)]
    pub auth: Auth,
    /// Which certificates it trusts, and its own. Default: those of the operating system, and none.
    #[serde(default)]
    pub tls: Tls,
    /// What `Accept` and `Content-Type` say. Default: `application/fhir+json`.
    #[serde(default = "default_media_type")]
    pub media_type: String,
    /// How often it is asked for changes even when it has not told of any. Default: 10.
    #[serde(default = "default_poll")]
    pub poll_interval_seconds: u64,
    /// How far behind the newest change that was read it begins to read the next time: as long as the server's longest
    /// transaction may take, since what is stored late may bear an earlier time. Default: 10.
    #[serde(default = "default_overlap")]
    pub overlap_seconds: u64,
    /// Which resources its conversations are, to be chosen before there is a room of any.
    /// Default: `communication-request`.
    #[serde(default)]
    pub threads: Threads,
    /// What the first start takes over of what is there already. Default: `all`.
    #[serde(default)]
    pub import: Import,
    /// Where the FHIR server reaches the bridge's listener, to notify it of changes by a rest-hook
    /// subscription. Absent: the bridge only asks.
    pub notify_url: Option<Url>,
    /// Which subscriptions are created there for that.
    #[serde(default)]
    pub subscription: Subscription,
}

/// What the first start takes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Import {
    /// Everything.
    #[default]
    All,
    /// What was changed in the minute before; what else there is, when it is changed, or needed for what is.
    None,
}

/// Which resources a FHIR server's conversations are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Threads {
    /// A `CommunicationRequest`; its messages are the `Communication`s that are `partOf` it.
    #[default]
    CommunicationRequest,
    /// A `Communication` without `payload` and `partOf`, the header; its messages are the `Communication`s that are
    /// `partOf` it. So it is in Medplum.
    CommunicationHeader,
    /// A `CareTeam` has one, without a resource of its own; its messages are the `Communication`s without `partOf` that
    /// have it as a `recipient`.
    Flat,
}

fn default_poll() -> u64 {
    10
}

fn default_media_type() -> String {
    "application/fhir+json".to_owned()
}

fn default_overlap() -> u64 {
    10
}

impl Fhir {
    /// How often it is asked for changes.
    #[must_use]
    pub fn poll_interval(&self) -> Duration {
        Duration::from_secs(self.poll_interval_seconds)
    }

    /// How far behind the newest change it begins to read.
    #[must_use]
    pub fn overlap(&self) -> Duration {
        Duration::from_secs(self.overlap_seconds)
    }

    /// A client for it, which has asked nothing yet.
    ///
    /// # Errors
    ///
    /// When a secret, a key or a certificate can't be used: which, and why.
    pub fn client(&self) -> Result<FhirClient, SetupError> {
        let auth = match &self.token_file {
            Some(file) => fhir::Auth::Bearer(Secret::File(file.clone())),
            None => self.auth.of_client(),
        };
        FhirClient::builder(self.url.as_str())
            .name(self.name.as_deref().unwrap_or_default())
            .auth(auth)
            .tls(self.tls.of_client())
            .media_type(&self.media_type)
            .build()
    }

    /// What the localparts of its ghosts and aliases begin with.
    #[must_use]
    pub fn prefix(&self, prefix: &str) -> String {
        match &self.name {
            None => prefix.to_owned(),
            Some(name) => format!("{prefix}{name}_"),
        }
    }

    /// The file of its links, in the folder `data`.
    #[must_use]
    pub fn links_file(&self, data: &Path) -> PathBuf {
        data.join(match &self.name {
            None => "links.db".to_owned(),
            Some(name) => format!("links-{name}.db"),
        })
    }

    pub(super) fn relative_to(&mut self, folder: &Path) {
        if let Some(file) = self.auth.key_file_mut() {
            *file = folder.join(&*file);
        }
        let files = self
            .auth
            .files_mut()
            .into_iter()
            .chain(self.tls.files_mut());
        for file in files.chain([&mut self.token_file]).flatten() {
            *file = folder.join(&*file);
        }
    }

    /// The first mistake in one server's settings: the key, and what is wrong with it.
    fn mistake(&self) -> Option<(&'static str, String)> {
        for (key, url) in [
            ("url", Some(&self.url)),
            ("notify_url", self.notify_url.as_ref()),
        ] {
            if let Some(what) = url.and_then(super::mistake_in_url) {
                return Some((key, what.to_owned()));
            }
        }
        if self.poll_interval_seconds == 0 {
            return Some(("poll_interval_seconds", "must be at least 1".to_owned()));
        }
        if self.token_file.is_some() && !matches!(self.auth, Auth::None) {
            return Some((
                "token_file",
                "must not stand beside `auth`: put it in there".to_owned(),
            ));
        }
        let mistake = (self.auth.mistake(&self.url))
            .or_else(|| self.tls.mistake())
            .or_else(|| self.subscription.mistake(self.threads));
        if mistake.is_some() {
            return mistake;
        }
        let name = self.name.as_deref()?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
            return Some((
                "name",
                format!(
                    "may hold lower-case letters, digits and `-` only, at least one and at most {LONGEST_NAME}"
                ),
            ));
        }
        if TAKEN.contains(&name) {
            return Some(("name", "must not be that of a type of resource".to_owned()));
        }
        None
    }
}

impl Config {
    /// The FHIR servers: the one, or all of them.
    pub fn servers(&self) -> impl Iterator<Item = &Fhir> {
        self.fhir.iter().chain(&self.fhir_servers)
    }

    /// The first mistake in the settings of the FHIR servers: the key, and what is wrong with it.
    pub(super) fn mistake_in_servers(&self) -> Option<(String, String)> {
        match (&self.fhir, self.fhir_servers.as_slice()) {
            (None, []) => {
                return Some((
                    "fhir".to_owned(),
                    "is missing (or `fhir_servers`, for several)".to_owned(),
                ));
            }
            (Some(_), [_, ..]) => {
                return Some((
                    "fhir_servers".to_owned(),
                    "must not stand beside `fhir`: move that one into the list, without a name"
                        .to_owned(),
                ));
            }
            (Some(fhir), []) => {
                if fhir.name.is_some() {
                    return Some((
                        "fhir.name".to_owned(),
                        "is for one of several servers, in `fhir_servers`".to_owned(),
                    ));
                }
                return fhir
                    .mistake()
                    .map(|(key, what)| (format!("fhir.{key}"), what));
            }
            (None, _) => {}
        }
        for (index, server) in self.fhir_servers.iter().enumerate() {
            let key = |key: &str| format!("fhir_servers[{index}].{key}");
            if let Some((name, what)) = server.mistake() {
                return Some((key(name), what));
            }
            if self.fhir_servers[..index]
                .iter()
                .any(|other| other.name == server.name)
            {
                let what = match &server.name {
                    Some(_) => "is another server's already",
                    None => {
                        "is missing; one server at most may be without, the one that was `fhir` before"
                    }
                };
                return Some((key("name"), what.to_owned()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::{GOOD, load};

    fn with_servers(servers: &str) -> String {
        let (before, _) = GOOD.split_once("\nfhir:").unwrap();
        format!("{before}\n{servers}\n")
    }

    #[test]
    fn each_of_several_servers_has_its_own_prefix_and_links() {
        let config = load(&with_servers(
            "fhir_servers: [{url: 'http://a/fhir'}, {name: b, url: 'http://b/fhir', poll_interval_seconds: 3}]",
        ))
        .unwrap();
        let all: Vec<_> = config
            .servers()
            .map(|server| {
                (
                    server.prefix(&config.prefix),
                    server.links_file(Path::new("data")),
                )
            })
            .collect();
        assert_eq!(
            all,
            [
                ("_fhir_bridge_".to_owned(), "data/links.db".into()),
                ("_fhir_bridge_b_".to_owned(), "data/links-b.db".into()),
            ]
        );
        assert_eq!(
            config.servers().last().unwrap().poll_interval().as_secs(),
            3
        );
    }

    #[test]
    fn servers_that_would_be_mixed_up_are_refused_and_the_key_is_told() {
        for (servers, words) in [
            ("", "`fhir` is missing"),
            (
                "fhir: {url: 'http://a'}\nfhir_servers: [{url: 'http://b'}]",
                "`fhir_servers` must not",
            ),
            ("fhir: {url: 'http://a', name: a}", "`fhir.name`"),
            (
                "fhir_servers: [{url: 'http://a'}, {url: 'http://b'}]",
                "`fhir_servers[1].name` is missing",
            ),
            (
                "fhir_servers: [{url: 'http://a', name: x}, {url: 'http://b', name: x}]",
                "`fhir_servers[1].name` is another",
            ),
            (
                "fhir_servers: [{url: 'http://a', name: A_b}]",
                "`fhir_servers[0].name` may hold",
            ),
            (
                "fhir_servers: [{url: 'http://a', name: patient}]",
                "`fhir_servers[0].name` must not",
            ),
            (
                "fhir_servers: [{url: 'http://a', name: communication}]",
                "`fhir_servers[0].name` must not",
            ),
            (
                "fhir: {url: 'http://a', threads: headers}",
                "`communication-header`",
            ),
            (
                "fhir_servers: [{url: 'http://a', name: conversation}]",
                "`fhir_servers[0].name` must not",
            ),
            (
                "fhir: {url: 'http://a', threads: flat, subscription: {filters: {CommunicationRequest: ['a=b']}}}",
                "a type that is not followed",
            ),
            (
                "fhir: {url: 'http://a', threads: communication-header, subscription: {filters: {CommunicationRequest: ['a=b']}}}",
                "a type that is not followed",
            ),
            (
                "fhir_servers: [{url: 'ftp://a', name: a}]",
                "`fhir_servers[0].url`",
            ),
        ] {
            let error = load(&with_servers(servers)).unwrap_err().to_string();
            assert!(error.contains(words), "{error} lacks {words}");
        }
    }
}
