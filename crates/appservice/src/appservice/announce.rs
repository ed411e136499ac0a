//! Says hello to the homeserver.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::client::Client;

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
