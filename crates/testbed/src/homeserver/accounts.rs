//! The people on a homeserver.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Homeserver;
use crate::{http, random};

/// How long a homeserver may take for one request.
const PATIENCE: Duration = Duration::from_mins(1);

/// A person with an account, logged in.
#[derive(Clone)]
#[non_exhaustive]
pub struct User {
    /// The full id: `@arts:huisarts`.
    pub user_id: String,
    /// Stands for this login only; another login gets another one.
    pub access_token: String,
    /// For a client that logs in itself.
    pub password: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({})", self.user_id)
    }
}

#[derive(Deserialize)]
struct Login {
    user_id: String,
    access_token: String,
}

/// The Matrix error of an answer. Nothing else of it is shown: it may hold a token.
#[derive(Deserialize)]
struct MatrixError {
    errcode: String,
    #[serde(default)]
    error: String,
}

impl Homeserver {
    /// Makes an account for a person, or finds the one that is there, and logs in.
    ///
    /// Each test uses names of its own ([`unique`](crate::unique) makes them). The password follows from the name, so a
    /// second call with the same name logs the same person in again.
    ///
    /// # Errors
    ///
    /// When the homeserver does not answer or refuses the name.
    pub async fn register_user(&self, localpart: &str) -> Result<User> {
        let mut hash = Sha256::new();
        for part in [&self.seed, self.name, localpart] {
            hash.update(part);
            hash.update([0]);
        }
        let password = random::hex(&hash.finalize()[..12]);
        self.register_user_with_password(localpart, &password).await
    }

    /// As [`Homeserver::register_user`], with a password for people to type.
    ///
    /// # Errors
    ///
    /// When the homeserver does not answer or refuses the name, or when the account has another password.
    pub async fn register_user_with_password(
        &self,
        localpart: &str,
        password: &str,
    ) -> Result<User> {
        let registration = json!({
            "username": localpart,
            "password": password,
            "auth": {"type": "m.login.dummy"},
        });
        let login = match self.post("register", &registration).await? {
            Ok(login) => login,
            Err(error) if error.errcode == "M_USER_IN_USE" => {
                self.log_in(localpart, password).await?
            }
            Err(error) => bail!(
                "{} refuses to register {localpart}: {} {}",
                self.name,
                error.errcode,
                error.error
            ),
        };
        Ok(User {
            user_id: login.user_id,
            access_token: login.access_token,
            password: password.to_owned(),
        })
    }

    async fn log_in(&self, localpart: &str, password: &str) -> Result<Login> {
        let login = json!({
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": localpart},
            "password": password,
        });
        match self.post("login", &login).await? {
            Ok(login) => Ok(login),
            Err(error) => bail!(
                "{} refuses to log {localpart} in: {} {}",
                self.name,
                error.errcode,
                error.error
            ),
        }
    }

    async fn post(&self, endpoint: &str, body: &Value) -> Result<Result<Login, MatrixError>> {
        let url = self.client_url.join("_matrix/client/v3/")?.join(endpoint)?;
        let response = http::client(PATIENCE)?
            .post(url)
            .json(body)
            .send()
            .await
            .with_context(|| format!("{} does not answer", self.name))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Ok(response.json().await?));
        }
        let error = response
            .json()
            .await
            .with_context(|| format!("{} answers {status} without a Matrix error", self.name))?;
        Ok(Err(error))
    }
}
