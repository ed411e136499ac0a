//! What a bridge at work says and does for its operators, over its API (`docs/api/operator.yaml`).

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{ConfigFile, Output};
use crate::config::Config;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many stand on a page.
const PAGE: usize = 100;

/// A bridge at work.
pub(super) struct Operator {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// Where a bridge at work is asked.
#[derive(Debug, Args)]
pub(super) struct Target {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Where its `ops.listen` is reached, when that is not on this machine.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List them, oldest first.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Show one: what it is about and why it was given up. What it holds is not shown.
    Show {
        /// Its id, as `list` says it.
        id: i64,
        #[command(flatten)]
        target: Target,
    },
    /// Try one again, behind what waits in its lane, as often as a new one is tried.
    Retry {
        /// Its id, as `list` says it.
        id: i64,
        #[command(flatten)]
        target: Target,
    },
    /// Give one up for good: what it holds is erased.
    Skip {
        /// Its id, as `list` says it.
        id: i64,
        #[command(flatten)]
        target: Target,
    },
}

impl DeadLetters {
    pub(super) fn target(&self) -> &Target {
        match self {
            Self::List { target }
            | Self::Show { target, .. }
            | Self::Retry { target, .. }
            | Self::Skip { target, .. } => target,
        }
    }
}

#[derive(Deserialize)]
struct Page {
    dead_letters: Vec<DeadLetter>,
    next: Option<i64>,
}

#[derive(Deserialize, serde::Serialize)]
pub(super) struct DeadLetter {
    id: i64,
    pub(super) source: String,
    pub(super) key: Option<String>,
    pub(super) lane: String,
    attempts: u32,
    received_at: String,
    error: String,
}

impl Operator {
    pub(super) fn of(config: &Config, url: Option<&str>) -> anyhow::Result<Self> {
        let base = match (url, &config.ops.listen) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(listen)) => format!("http://{}", super::reachable(listen)),
            (None, None) => {
                bail!("`ops.listen` is null in the configuration: the bridge can't be asked")
            }
        };
        Ok(Self {
            client: reqwest::Client::builder().timeout(PATIENCE).build()?,
            base,
            token: config.ops.token()?.map(|token| token.expose().to_owned()),
        })
    }

    /// Asks, and says what is wrong where there is no answer.
    async fn ask(&self, method: Method, path: &str) -> anyhow::Result<Value> {
        let mut request = self
            .client
            .request(method, format!("{}/api/v1/{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.with_context(|| {
            format!(
                "no bridge answers at {}: does it run with this configuration?",
                self.base
            )
        })?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let advice = match status.as_u16() {
            401 => "; `ops.token_file` or `ops.token_env` has to hold the bridge's token",
            404 if body.is_null() => "; without a token, this is there on loopback addresses only",
            _ => "",
        };
        let what = body["error"].as_str().unwrap_or("no reason is given");
        bail!("the bridge answers {status}: {what}{advice}");
    }

    pub(super) async fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("dead-letters?after={after}&limit={PAGE}");
            let page: Page = serde_json::from_value(self.ask(Method::GET, &path).await?)
                .context("the bridge that answers is of another version")?;
            all.extend(page.dead_letters);
            match page.next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }
}

/// `fhir-bridge status`.
pub(super) async fn status(config: &Config, target: &Target) -> anyhow::Result<ExitCode> {
    let status = Operator::of(config, target.url.as_deref())?
        .ask(Method::GET, "status")
        .await?;
    if target.output.json {
        println!("{status}");
    } else {
        print!("{}", told(&status));
    }
    Ok(ExitCode::from(u8::from(status["ready"] != true)))
}

/// A status for people.
fn told(status: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "?".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines = vec![format!(
        "fhir-bridge {}, since {}: {}",
        text(&status["version"]),
        text(&status["started_at"]),
        if status["ready"] == true {
            "ready"
        } else {
            "NOT READY"
        }
    )];
    lines.push("\ncomponents".to_owned());
    for component in status["components"].as_array().into_iter().flatten() {
        let up = if component["up"] == true {
            "up  "
        } else {
            "DOWN"
        };
        let why = component["problem"]
            .as_str()
            .map_or(String::new(), |why| format!(": {why}"));
        lines.push(format!("  {up}  {}{why}", text(&component["name"])));
    }
    let journal = &status["journal"];
    lines.push("\njournal".to_owned());
    for (key, name) in [
        ("waiting", "waiting"),
        ("oldest_waiting_seconds", "oldest waits for (s)"),
        ("held_lanes", "lanes that are held"),
        ("dead_letters", "dead letters"),
    ] {
        let shown = if journal[key].is_null() {
            "-".to_owned()
        } else {
            text(&journal[key])
        };
        lines.push(format!("  {name:<22}{shown}"));
    }
    let sum = |key: &str| -> u64 {
        let minutes = status["flows"][key].as_array().into_iter().flatten();
        minutes.filter_map(Value::as_u64).sum()
    };
    lines.push("\nmessages in the last hour".to_owned());
    lines.push(format!("  {:<22}{}", "to Matrix", sum("to_matrix")));
    lines.push(format!("  {:<22}{}", "to FHIR", sum("to_fhir")));
    lines.push(format!(
        "  {:<22}{}",
        "last push",
        text(&status["last_push_at"])
    ));
    for lane in status["held_lanes"].as_array().into_iter().flatten() {
        lines.push(format!(
            "held: {} ({} attempts, again in {} s): {}",
            text(&lane["lane"]),
            text(&lane["attempts"]),
            text(&lane["next_try_seconds"]),
            text(&lane["error"])
        ));
    }
    lines.join("\n") + "\n"
}

/// `fhir-bridge dead-letters`.
pub(super) async fn dead_letters(
    config: &Config,
    command: &DeadLetters,
) -> anyhow::Result<ExitCode> {
    let target = command.target();
    let operator = Operator::of(config, target.url.as_deref())?;
    let json = target.output.json;
    match command {
        DeadLetters::List { .. } => {
            let all = operator.dead_letters().await?;
            for letter in &all {
                if json {
                    println!("{}", serde_json::to_string(letter)?);
                } else {
                    println!(
                        "{:<8} {}  {}: {}",
                        letter.id, letter.received_at, letter.lane, letter.error
                    );
                }
            }
            if !json && all.is_empty() {
                println!("No dead letters.");
            }
        }
        DeadLetters::Show { id, .. } => {
            let letter = operator
                .ask(Method::GET, &format!("dead-letters/{id}"))
                .await?;
            if json {
                println!("{letter}");
            } else {
                for key in [
                    "id",
                    "source",
                    "key",
                    "lane",
                    "attempts",
                    "received_at",
                    "error",
                ] {
                    let value = &letter[key];
                    let shown = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    println!("{key:<12} {shown}");
                }
            }
        }
        DeadLetters::Retry { id, .. } => {
            let done = operator
                .ask(Method::POST, &format!("dead-letters/{id}/retry"))
                .await?;
            if json {
                println!("{done}");
            } else {
                println!("{id} waits again, at the end of its lane.");
            }
        }
        DeadLetters::Skip { id, .. } => {
            let done = operator
                .ask(Method::POST, &format!("dead-letters/{id}/skip"))
                .await?;
            if json {
                println!("{done}");
            } else {
                println!("{id} is given up; what it held is erased.");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `fhir-bridge replay`.
pub(super) async fn replay(
    config: &Config,
    target: &Target,
    resource: &str,
    server: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("resource", resource);
    if let Some(server) = server {
        query.append_pair("server", server);
    }
    let path = format!("replay?{}", query.finish());
    let done = Operator::of(config, target.url.as_deref())?
        .ask(Method::POST, &path)
        .await?;
    if target.output.json {
        println!("{done}");
    } else {
        println!("{resource} waits to be looked at again.");
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_told_in_lines_also_when_much_is_not_known() {
        let status = json!({
            "version": "0.1.0", "started_at": "2026-11-21T10:00:00Z", "ready": false,
            "components": [{"name": "fhirServer", "up": false, "problem": "no answer within 10 s"}],
            "journal": {"waiting": 3, "oldest_waiting_seconds": null, "held_lanes": 1, "dead_letters": 2},
            "flows": {"to_matrix": [0, 4], "to_fhir": [1, 1]}, "last_push_at": null,
            "held_lanes": [{"lane": "CommunicationRequest/7", "attempts": 3, "next_try_seconds": 8, "error": "refused"}],
        });
        let told = told(&status);
        for line in [
            "fhir-bridge 0.1.0, since 2026-11-21T10:00:00Z: NOT READY",
            "  DOWN  fhirServer: no answer within 10 s",
            "  dead letters          2",
            "  oldest waits for (s)  -",
            "  to Matrix             4",
            "  to FHIR               2",
            "held: CommunicationRequest/7 (3 attempts, again in 8 s): refused",
        ] {
            assert!(
                told.lines().any(|one| one == line),
                "{line} is missing in\n{told}"
            );
        }
        assert!(super::told(&json!({})).contains("NOT READY"));
    }
}
