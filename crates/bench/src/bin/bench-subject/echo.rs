//! The echo of the subjects: one plain request an event, no retry, no order, as a ghost.

use std::{future::Future, sync::Arc};

use anyhow::{Context, Result, ensure};
use tokio::sync::Semaphore;
use url::Url;

use crate::{env, events::Head};

/// As many as there are rooms in the load: an order in each room allows no more either.
const AT_ONCE: usize = 100;
const GHOST: &str = "@_bench_ghost:example.org";

pub(crate) struct Echo {
    client: reqwest::Client,
    homeserver: Url,
    token: String,
    room: Arc<Semaphore>,
}

impl Echo {
    pub(crate) fn try_new() -> Result<Self> {
        // The first to install it wins; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            client: reqwest::Client::builder()
                // Nothing here is encrypted, and reading the system's certificates takes a while.
                .tls_certs_only([])
                .tcp_nodelay(true)
                .build()?,
            homeserver: env("HS_URL")?.parse()?,
            token: env("AS_TOKEN")?,
            room: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    pub(crate) fn send(
        &self,
        event: &Head<'_>,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let mut url = self.homeserver.clone();
        let there = url.path_segments_mut().map(|mut path| {
            path.extend(["_matrix", "client", "v3", "rooms", event.room_id, "send"]);
            path.extend(["m.room.message", event.event_id]);
        });
        url.query_pairs_mut().append_pair("user_id", GHOST);
        let body = format!("echo {}", event.event_id);
        let request = self
            .client
            .put(url)
            .bearer_auth(&self.token)
            .json(&serde_json::json!({"msgtype": "m.notice", "body": body}));
        let (room, own) = (self.room.clone(), event.sender == GHOST);
        async move {
            there.ok().context("the homeserver's URL has no path")?;
            if own {
                return Ok(());
            }
            let _permit = room.acquire().await?;
            let answer = request.send().await?;
            ensure!(answer.status().is_success(), "{}", answer.status());
            answer.bytes().await?;
            Ok(())
        }
    }
}
