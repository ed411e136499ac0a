//! Says hello to the homeserver.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// What the homeserver answers to a ping that didn't get here.
const PUSH_FAILED: [&str; 3] = [
    "M_CONNECTION_FAILED",
    "M_CONNECTION_TIMEOUT",
    "M_BAD_STATUS",
];

/// Tells the homeserver that we are there, so that it delivers what it has kept for us at once and not
/// at the end of its pause.
pub(super) async fn announce(client: Client, id: String, stop: CancellationToken) {
    let mut pause = Duration::from_millis(500);
    loop {
        match client.ping(&id).await {
            Ok(took) => {
                tracing::info!(
                    took_ms = took.as_millis(),
                    "the homeserver reaches the application service"
                );
                return;
            }
            Err(error) if error.is("M_URL_NOT_SET") || error.is("M_UNRECOGNIZED") => {
                tracing::info!(%error, "no ping");
                return;
            }
            // A proxy's 502 has no such code.
            Err(error)
                if error.is_transient() && !PUSH_FAILED.iter().any(|code| error.is(code)) =>
            {
                tracing::warn!(%error, "the homeserver isn't reached: is it running, and is its address right?");
            }
            Err(error) if error.status() == Some(http::StatusCode::UNAUTHORIZED) => {
                tracing::warn!(%error, "the homeserver doesn't know the `as_token`: does it have the registration, and was it restarted since?");
            }
            Err(error) => {
                tracing::warn!(%error, "the homeserver does not reach the application service yet: is `url` in the registration right?");
            }
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return;
        }
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}
