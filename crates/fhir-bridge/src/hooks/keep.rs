//! Keeping the subscriptions at work: made, begun again after a failure, prolonged before their end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fhir::{NotificationKind, SubscriptionState, SubscriptionStatus};
use tokio_util::sync::CancellationToken;

use super::{Hook, Hooks};
use crate::{
    bridge::{Bridge, lock},
    puller::Pullers,
};

/// How often the bridge looks whether its subscriptions still work.
const WATCH: Duration = Duration::from_mins(1);
/// … and how soon while one doesn't.
const WATCH_SOON: Duration = Duration::from_secs(5);
/// How long taking the subscriptions away may hold up the end.
const FAREWELL: Duration = Duration::from_secs(3);

/// Subscribes to each type, and looks from time to time whether the subscriptions still work. After a
/// gap in one, its type is read.
pub(crate) async fn keep_subscribed(
    bridge: Arc<Bridge>,
    hooks: Hooks,
    pullers: Pullers,
    stop: CancellationToken,
) {
    let keeping = async {
        let mut told = false;
        let mut worked = vec![false; hooks.all.len()];
        loop {
            let mut all_work = true;
            for (hook, worked) in hooks.all.iter().zip(&mut worked) {
                let works = match keep_one(&bridge, &hooks, hook).await {
                    Ok(works) => works,
                    Err(error) => {
                        if !told || *worked {
                            tracing::warn!(resource_type = %hook.resource_type, %error, "no subscription; changes are read on the timer instead");
                        }
                        false
                    }
                };
                if !(works && *worked) {
                    // Something may have been missed while nobody told, also between the last look and its beginning.
                    pullers.wake(&hook.resource_type);
                }
                *worked = works;
                all_work &= works;
            }
            if all_work && !told {
                tracing::info!("the FHIR server notifies the bridge of changes");
            }
            told = all_work || told;
            let pause = if all_work { WATCH } else { WATCH_SOON };
            // A notification may say that its subscription is broken.
            let _ = tokio::time::timeout(pause, hooks.broken.notified()).await;
        }
    };
    stop.run_until_cancelled(keeping).await;
    if bridge.server.subscription.remove_on_stop {
        let _ = tokio::time::timeout(FAREWELL, take_away(&bridge, &hooks)).await;
    }
}

/// Whether the subscription is at work.
async fn keep_one(bridge: &Bridge, hooks: &Hooks, hook: &Hook) -> Result<bool, fhir::Error> {
    let Some(wanted) = hooks.wanted(hook) else {
        return Ok(true);
    };
    let state = bridge.fhir.ensure_subscription(&wanted).await?;
    if state.status != SubscriptionStatus::Active {
        return Ok(false);
    }
    let heartbeat = wanted.topic.and_then(|topic| topic.heartbeat);
    if !lock(&hook.watch).is_silent(heartbeat, Instant::now()) {
        return Ok(true);
    }
    ask_why(bridge, hook, &state).await
}

/// The server has promised heartbeats and sends none. Some never do, so it is asked first.
async fn ask_why(
    bridge: &Bridge,
    hook: &Hook,
    state: &SubscriptionState,
) -> Result<bool, fhir::Error> {
    let answer = bridge.fhir.subscription_status(&state.reference).await?;
    if let Some(mut answer) = answer {
        // What it says is as good as a heartbeat.
        answer.kind = NotificationKind::Heartbeat;
        let heard = lock(&hook.watch).heard(Some(&answer), Instant::now());
        if !heard.read {
            return Ok(true);
        }
    }
    tracing::warn!(
        resource_type = %hook.resource_type,
        "the FHIR server has not been heard of for too long; it is asked to begin again, and changes are read"
    );
    bridge.fhir.restart_subscription(&state.reference).await?;
    lock(&hook.watch).restarted(Instant::now());
    Ok(false)
}

async fn take_away(bridge: &Bridge, hooks: &Hooks) {
    for hook in hooks.all.iter() {
        let Some(wanted) = hooks.wanted(hook) else {
            continue;
        };
        match bridge.fhir.remove_subscription(&wanted).await {
            Ok(count) => {
                tracing::info!(resource_type = %hook.resource_type, count, "subscription removed");
            }
            Err(error) => {
                tracing::warn!(resource_type = %hook.resource_type, %error, "the subscription stays on the FHIR server");
            }
        }
    }
}
