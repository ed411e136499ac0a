//! Where the federation list comes from, and the last good copy of it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::Context;
use tokio::time::Instant;
use url::Url;

use super::{
    Policy,
    list::{BadList, FederationList, Key},
};
use crate::{config, links::unix_ms, startup};

/// How long the source may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest list that is read.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// After a miss the list is read again, but not more often than this.
const AFTER_A_MISS: Duration = Duration::from_mins(1);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Why the list could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("the file can't be read")]
    File(#[source] std::io::Error),
    #[error("the server can't be reached, or breaks off")]
    Http,
    #[error("the server answers {0}")]
    Status(u16),
    #[error("it is larger than 16 MiB")]
    TooLarge,
    #[error(transparent)]
    Bad(#[from] BadList),
    #[error("its version is older than the one that is known")]
    Older,
}

/// Reads the list from time to time.
pub(crate) struct Source {
    policy: Arc<Policy>,
    place: Place,
    refresh: Duration,
    keys: Vec<Key>,
    /// The last good copy.
    copy: PathBuf,
    last: Mutex<Option<Instant>>,
    /// When the list that counts was read, Unix time in ms; 0: never.
    read_at: AtomicI64,
}

enum Place {
    File(PathBuf),
    Url(reqwest::Client, Url),
}

impl Source {
    /// The source that the configuration names, and the last good copy of its list taken over. `data` is the
    /// folder where the copy is.
    ///
    /// # Errors
    ///
    /// When a key can't be read: a list that nobody can check would be refused each time.
    pub(crate) fn open(
        policy: Arc<Policy>,
        config: &config::FederationList,
        data: &Path,
    ) -> anyhow::Result<Self> {
        let mut keys = Vec::new();
        for file in &config.keys {
            let name = file.display();
            let jwk = std::fs::read(file)
                .with_context(|| format!("`policy.list.keys`: {name} can't be read"))?;
            let key = Key::parse(&jwk).with_context(|| {
                format!("`policy.list.keys`: {name} is no public key as JWK (EC on P-256, or OKP on Ed25519)")
            })?;
            keys.push(key);
        }
        let place = match (&config.file, &config.url) {
            (Some(file), _) => Place::File(file.clone()),
            (None, Some(url)) => {
                startup::set_up_tls();
                let client = reqwest::Client::builder()
                    .timeout(PATIENCE)
                    // It is the operator who says where the list is, nobody else.
                    .redirect(reqwest::redirect::Policy::none())
                    .build()
                    .context("the HTTP client of `policy.list` can't be set up")?;
                Place::Url(client, url.clone())
            }
            (None, None) => anyhow::bail!("`policy.list` needs either `file` or `url`"),
        };
        let source = Self {
            policy,
            place,
            refresh: Duration::from_secs(config.refresh_seconds),
            keys,
            copy: data.join("federation-list"),
            last: Mutex::default(),
            read_at: AtomicI64::new(0),
        };
        source.take_copy();
        Ok(source)
    }

    /// When the list that counts was read, Unix time in ms; `None` when there has never been one.
    pub(crate) fn read_at(&self) -> Option<i64> {
        Some(self.read_at.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Whether it comes from a file or from a URL.
    pub(crate) fn kind(&self) -> &'static str {
        match self.place {
            Place::File(_) => "file",
            Place::Url(..) => "url",
        }
    }

    /// Somebody is not on the list: perhaps it is an old one. Reads it again, unless that was done just now.
    /// Returns whether it was read.
    pub(crate) async fn after_a_miss(&self) -> bool {
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() < AFTER_A_MISS) {
                return false;
            }
            // Others don't ask meanwhile.
            *last = Some(Instant::now());
        }
        self.read_and_tell().await
    }

    /// Reads it again and again, for as long as it is polled.
    pub(crate) async fn keep(&self) {
        let mut failures = 0_u32;
        loop {
            let pause = if self.read_and_tell().await {
                failures = 0;
                self.refresh
            } else {
                failures += 1;
                Duration::from_secs(1 << failures.min(8)).min(LONGEST_PAUSE.min(self.refresh))
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn read_and_tell(&self) -> bool {
        let read = self.read().await;
        let homeservers = self.policy.list().map_or(0, |list| list.len());
        let ok = read.is_ok();
        match read {
            Ok(odd) => tracing::info!(homeservers, odd, "the federation list was read"),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, homeservers, "the federation list can't be read; the last good one counts");
            }
        }
        ok
    }

    /// Reads it once. Returns how many entries were passed over.
    pub(crate) async fn read(&self) -> Result<usize, SourceError> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let bytes = self.fetch().await?;
        let list = FederationList::parse(&bytes, &self.keys)?;
        let odd = list.odd;
        if !self.policy.take(list) {
            return Err(SourceError::Older);
        }
        let now = unix_ms(SystemTime::now());
        self.read_at.store(now, Ordering::Relaxed);
        if let Err(error) = self.keep_copy(&bytes) {
            tracing::warn!(%error, "the federation list can't be kept for the next start");
        }
        Ok(odd)
    }

    async fn fetch(&self) -> Result<Vec<u8>, SourceError> {
        let (client, url) = match &self.place {
            Place::File(file) => return tokio::fs::read(file).await.map_err(SourceError::File),
            Place::Url(client, url) => (client, url),
        };
        let answer = client.get(url.clone()).send().await;
        let mut answer = answer.map_err(|_| SourceError::Http)?;
        if answer.status().as_u16() != 200 {
            return Err(SourceError::Status(answer.status().as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| SourceError::Http)? {
            if bytes.len() + chunk.len() > MOST_BYTES {
                return Err(SourceError::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// As it came, with its signature: it is checked again when it is taken over.
    fn keep_copy(&self, bytes: &[u8]) -> std::io::Result<()> {
        let beside = self.copy.with_extension("new");
        std::fs::write(&beside, bytes)?;
        std::fs::rename(beside, &self.copy)
    }

    fn take_copy(&self) {
        let Ok(bytes) = std::fs::read(&self.copy) else {
            return;
        };
        match FederationList::parse(&bytes, &self.keys) {
            Ok(list) => {
                let homeservers = list.len();
                self.policy.take(list);
                // The copy was written when it was read.
                let written = std::fs::metadata(&self.copy).and_then(|file| file.modified());
                self.read_at
                    .store(written.map_or(0, unix_ms), Ordering::Relaxed);
                tracing::info!(
                    homeservers,
                    "the federation list of the last run counts until it is read"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "the federation list of the last run can't be used");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use matrix_appservice::ruma::{ServerName, server_name};

    use super::*;

    const LIST: &str = r#"{"version": 1, "domainList": [{"domain": "gp.example"}]}"#;

    fn open(folder: &Path, yaml: &str) -> Source {
        let config: config::Policy = serde_yaml::from_str(yaml).unwrap();
        let policy = Policy::new(server_name!("own.example").to_owned(), &config);
        Source::open(Arc::new(policy), &config.list.unwrap(), folder).unwrap()
    }

    fn may(source: &Source, server: &str) -> bool {
        let server = ServerName::parse(server).unwrap();
        source.policy.refuses(&server).is_none()
    }

    #[tokio::test]
    async fn the_last_good_list_counts_while_the_source_fails_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list.json");
        let yaml = format!("{{federation: closed, list: {{file: {}}}}}", file.display());
        let source = open(folder.path(), &yaml);
        assert!(!source.read_and_tell().await);
        assert!(!may(&source, "gp.example"));

        std::fs::write(&file, LIST).unwrap();
        assert!(source.read_and_tell().await);
        assert!(may(&source, "gp.example"));

        for broken in ["<html>", r#"{"version": 0, "domainList": []}"#] {
            std::fs::write(&file, broken).unwrap();
            assert!(!source.read_and_tell().await, "{broken}");
            assert!(may(&source, "gp.example"), "{broken}");
        }
        std::fs::remove_file(&file).unwrap();
        let source = open(folder.path(), &yaml);
        assert!(may(&source, "gp.example"));
    }

    #[tokio::test]
    async fn a_miss_reads_the_list_again_but_not_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list.json");
        std::fs::write(&file, LIST).unwrap();
        let yaml = format!("{{federation: closed, list: {{file: {}}}}}", file.display());
        let source = open(folder.path(), &yaml);
        assert!(source.after_a_miss().await);
        assert!(may(&source, "gp.example"));
        assert!(!source.after_a_miss().await);
    }

    #[test]
    fn a_key_that_can_not_be_read_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.json");
        std::fs::write(&key, "{}").unwrap();
        let yaml = format!(
            "{{federation: closed, list: {{file: x, keys: [{}]}}}}",
            key.display()
        );
        let config: config::Policy = serde_yaml::from_str(&yaml).unwrap();
        let policy = Arc::new(Policy::new(server_name!("own.example").to_owned(), &config));
        let error = Source::open(policy, &config.list.unwrap(), folder.path());
        let error = error.err().unwrap().to_string();
        assert!(
            error.contains("policy.list.keys") && error.contains("key.json"),
            "{error}"
        );
    }
}
