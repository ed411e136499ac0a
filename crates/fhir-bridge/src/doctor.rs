//! Looks whether the bridge can work with this configuration, step by step, and says what to do where it can't.
//!
//! It changes nothing that stays: the resource that it writes on a FHIR server is deleted again, and a bridge that is at
//! work meanwhile goes on undisturbed.

mod fhir_server;
mod homeserver;
mod local;
mod network;

use std::{process::ExitCode, time::Duration};

use matrix_appservice::{AppService, Journal, Registration};

pub(crate) use self::local::tell_lint;
use crate::{config::Config, report::Report};

/// How long a single step may take. The FHIR server has longer: as long as the bridge itself waits for its answers, and
/// what took longer than this is told. (HAPI's first `CapabilityStatement` is 1.5 MB, and takes a busy server some time.)
const PATIENCE: Duration = Duration::from_secs(10);

/// What is looked at, and how.
pub(crate) struct Doctor {
    pub(crate) config: Config,
    /// Whether something may be written on the FHIR servers.
    pub(crate) write: bool,
    pub(crate) json: bool,
}

impl Doctor {
    /// All steps. Ends with 1 when any has failed.
    pub(crate) async fn run(self) -> ExitCode {
        let mut report = Report::new(self.json);
        let config = &self.config;
        let registration = local::registration(config, &mut report);
        let at_work = local::data(config, &mut report).await;
        local::federation_list(config, &mut report).await;
        local::provisioning(config, &mut report);
        if let Some(registration) = registration {
            match Self::app(config, registration.clone()).await {
                Ok(app) => {
                    let matrix = homeserver::Matrix {
                        config,
                        registration: &registration,
                        app: &app,
                        at_work,
                    };
                    matrix.look(&mut report).await;
                }
                Err(error) => report.fail(
                    "homeserver",
                    format!("{error:#}"),
                    "Mend the registration, then run this again.",
                ),
            }
        } else {
            report.skip("homeserver", "not looked at without a registration");
        }
        for server in config.servers() {
            let client = fhir_server::Server {
                config,
                settings: server,
                write: self.write,
                at_work,
            };
            client.look(&mut report).await;
        }
        local::operators(config, at_work, &mut report).await;
        report.end()
    }

    /// What asks the homeserver; it takes no transactions.
    async fn app(config: &Config, registration: Registration) -> anyhow::Result<AppService> {
        let journal = Journal::in_memory().await?;
        Ok(AppService::builder(
            registration,
            &config.homeserver.name,
            config.homeserver.url.clone(),
            journal,
        )
        .homeserver_versions(config.policy.matrix_versions())
        .build()?)
    }
}
