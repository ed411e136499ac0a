//! How large a file may be.

use std::time::Duration;

use ruma::UserId;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{Acting, Call, Client, Error};

const CONFIG: &str = "/_matrix/client/v1/media/config";
const VALID: Duration = Duration::from_hours(1);

/// What was asked last, and when. While somebody asks, others wait for the answer.
pub(super) type UploadLimit = Mutex<Option<(Instant, Option<u64>)>>;

impl Client {
    /// The largest file that the homeserver takes, in bytes.
    pub(crate) async fn upload_limit(&self, user: &UserId) -> Result<Option<u64>, Error> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(rename = "m.upload.size")]
            upload_size: Option<u64>,
        }
        let mut known = self.0.upload_limit.lock().await;
        if let Some((asked, limit)) = *known
            && self.now() < asked + VALID
        {
            return Ok(limit);
        }
        let acting = Acting { user, device: None };
        let config: Config = self
            .execute(acting, Call::get(CONFIG, &[])?)
            .await?
            .read()?;
        *known = Some((self.now(), config.upload_size));
        Ok(config.upload_size)
    }
}
