//! `fhir-bridge links`: which resource is which room, event and account.

use std::io::Write;

use anyhow::bail;
use clap::Args;
use serde_json::json;

use crate::{config::Config, database::Place};

/// Which links are listed.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Only those of this resource, room, event or user, such as `Communication/7` or `!abc:vvt.example`.
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Also which message is which event: there are many.
    #[arg(long)]
    messages: bool,
}

/// Lists them, one in a line.
pub(super) async fn list(
    config: &Config,
    filter: &Filter,
    json: bool,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut any = false;
    let place = Place::of(config)?;
    for server in config.servers() {
        let Some(links) = place.look(server).await? else {
            continue;
        };
        any = true;
        let messages = filter.messages || filter.id.is_some();
        let mut after = None;
        loop {
            let page = links.page(after, filter.id.as_deref(), messages).await?;
            for link in &page.links {
                if json {
                    let server = server.name.as_deref();
                    writeln!(
                        out,
                        "{}",
                        json!({"server": server, "kind": link.kind, "resource": link.resource, "matrix": link.matrix})
                    )?;
                } else {
                    writeln!(
                        out,
                        "{:<7} {:<40} {}",
                        link.kind, link.resource, link.matrix
                    )?;
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    if !any {
        bail!("there are no links yet in {place}: has the bridge ever run?");
    }
    Ok(())
}
