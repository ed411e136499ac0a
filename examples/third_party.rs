//! Answers clients that look for somebody, or for a channel, on another network.
//!
//! A client asks `GET /_matrix/client/v3/thirdparty/user/pager?number=17`, and the homeserver asks us,
//! because the registration names the protocol.

use matrix_appservice::ruma::{ServerName, server_name};
use matrix_appservice::thirdparty::{Fields, Location, Protocol, ThirdParty, User};
use matrix_appservice::{AppService, Builder, HandlerError, Journal, Registration};
use serde_json::{Map, json};

/// A hospital's pagers: their numbers are their names.
pub(crate) struct Pagers {
    pub(crate) protocol: String,
    /// What the registration's namespaces begin with.
    pub(crate) prefix: String,
    pub(crate) server: &'static ServerName,
}

impl ThirdParty for Pagers {
    async fn protocol(&self, protocol: &str) -> Result<Option<Protocol>, HandlerError> {
        Ok((protocol == self.protocol).then(Protocol::default))
    }

    /// Nobody has to be there yet: the ghost is made when somebody invites it.
    async fn users(&self, _: &str, fields: &Fields) -> Result<Vec<User>, HandlerError> {
        let Some(number) = fields.get("number").filter(|number| is_number(number)) else {
            return Ok(Vec::new());
        };
        Ok(vec![User {
            userid: format!("@{}{number}:{}", self.prefix, self.server).try_into()?,
            protocol: self.protocol.clone(),
            fields: Map::from_iter([("number".to_owned(), json!(number))]),
        }])
    }

    async fn locations(&self, _: &str, fields: &Fields) -> Result<Vec<Location>, HandlerError> {
        let Some(ward) = fields.get("ward").filter(|ward| is_number(ward)) else {
            return Ok(Vec::new());
        };
        Ok(vec![Location {
            alias: format!("#{}ward_{ward}:{}", self.prefix, self.server).try_into()?,
            protocol: self.protocol.clone(),
            fields: Map::from_iter([("ward".to_owned(), json!(ward))]),
        }])
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(crate) fn bridge(builder: Builder, pagers: Pagers) -> Builder {
    builder.third_party(pagers)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registration = Registration::load("registration/third_party.yaml")?;
    let homeserver = "http://127.0.0.1:8008".parse()?;
    let journal = Journal::open("third_party.db").await?;
    let pagers = Pagers {
        protocol: "pager".to_owned(),
        prefix: "_pager_".to_owned(),
        server: server_name!("localhost"),
    };
    let builder = AppService::builder(registration, pagers.server, homeserver, journal);
    bridge(builder, pagers)
        .build()?
        .serve("127.0.0.1:9000")
        .await?;
    Ok(())
}
