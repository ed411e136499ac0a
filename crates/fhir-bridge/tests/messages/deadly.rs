//! A bridge that dies behind its writes: the server has done what it was asked for, the bridge never hears of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use axum::http::Method;
use testbed::{BridgeSetup, Testbed};
use tokio::sync::mpsc;
use url::Url;

use crate::{
    between::{self, Asked, Fate},
    place::Place,
};

/// Proxies in front of both servers of a bridge, which swallow answers.
pub(crate) struct Deadly {
    homeserver: Url,
    fhir: Url,
    is_armed: Arc<AtomicBool>,
    killed: mpsc::UnboundedReceiver<String>,
}

impl Deadly {
    /// `step` is asked about each write once it is done: what it is called, if the bridge is to die behind it.
    pub(crate) async fn set(
        step: impl Fn(&Asked) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let testbed = Testbed::shared().await.unwrap();
        let vvt = testbed.homeserver("vvt").unwrap().client_url().clone();
        let fhir = testbed.start_fhir().await.unwrap();
        let is_armed = Arc::new(AtomicBool::new(false));
        let (kill, killed) = mpsc::unbounded_channel();
        let armed = is_armed.clone();
        let judge = Arc::new(move |asked: &Asked| {
            let counts = armed.load(Relaxed) && asked.succeeded == Some(true) && is_write(asked);
            if counts && let Some(step) = step(asked) {
                kill.send(step).unwrap();
                return Fate::Silence;
            }
            Fate::Pass
        });
        let other = judge.clone();
        Self {
            homeserver: between::put(&vvt, move |asked| judge(asked)).await,
            fhir: between::put(&fhir, move |asked| other(asked)).await,
            is_armed,
            killed,
        }
    }

    /// A conversation of a bridge behind the proxies, which lives for now.
    pub(crate) async fn open(&self, change: impl FnOnce(&mut BridgeSetup)) -> Place {
        Place::open_with(|setup| {
            change(setup);
            setup.homeserver = self.homeserver.clone();
            setup.fhir = self.fhir.clone();
        })
        .await
    }

    /// Has the bridge die and start anew until this is done. Returns what it died behind.
    pub(crate) async fn during(&mut self, place: &Place, done: impl Future) -> Vec<String> {
        self.is_armed.store(true, Relaxed);
        let mut deaths = Vec::new();
        let dying = async {
            loop {
                let behind = self.killed.recv().await.unwrap();
                place.bridge.kill().await;
                deaths.push(behind);
                // What else had been done by then, beside it: of that, too, it never heard.
                while let Ok(also) = self.killed.try_recv() {
                    deaths.push(also);
                }
                place.bridge.restart().await.unwrap();
            }
        };
        tokio::select! {
            _ = done => {}
            () = dying => unreachable!(),
        }
        self.is_armed.store(false, Relaxed);
        place.bridge.restart_if_dead().await.unwrap();
        deaths
    }
}

fn is_write(asked: &Asked) -> bool {
    asked.method == Method::PUT
        || asked.method == Method::DELETE
        || asked.method == Method::POST
            && !asked.path.ends_with("/_search")
            && !asked.path.ends_with("/ping")
}
