use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::Value;

use super::FhirClient;
use crate::{Error, ResourceType};

/// What a server says about itself.
///
/// Spec: <http://hl7.org/fhir/R4/capabilitystatement.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// The version of FHIR that it speaks, such as `4.0.1`.
    pub fhir_version: String,
    /// Its software's name and version, where it tells.
    pub software: Option<String>,
    /// The interactions it offers for each type of resource, such as `history-type`.
    interactions: BTreeMap<String, BTreeSet<String>>,
}

impl FhirClient {
    /// Asks the server what it is and what it can do: `GET metadata`. Also the way to find out
    /// whether it can be reached.
    ///
    /// Spec: <http://hl7.org/fhir/R4/http.html#capabilities>
    ///
    /// # Errors
    ///
    /// When the server is unavailable or refuses, or when what answers is not a FHIR server.
    pub async fn capability(&self) -> Result<ServerInfo, Error> {
        let answer = self
            .send(self.request(Method::GET, "metadata", "metadata"))
            .await?
            .success()?;
        ServerInfo::from_json(&answer.json()?).ok_or_else(|| {
            answer.bad("it is not a CapabilityStatement; check that the FHIR base URL is right")
        })
    }
}

impl ServerInfo {
    fn from_json(json: &Value) -> Option<Self> {
        if json.get("resourceType")?.as_str()? != "CapabilityStatement" {
            return None;
        }
        let software = json.get("software");
        let software = |name: &str| {
            software?
                .get(name)?
                .as_str()
                .map(str::trim)
                .filter(|text| !text.is_empty())
        };
        let software: Vec<&str> = [software("name"), software("version")]
            .into_iter()
            .flatten()
            .collect();
        let list = |json: &Value, name: &str| {
            json.get(name)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let mut interactions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for resource in list(json, "rest")
            .iter()
            .flat_map(|rest| list(rest, "resource"))
        {
            let Some(resource_type) = resource.get("type").and_then(Value::as_str) else {
                continue;
            };
            interactions
                .entry(resource_type.to_owned())
                .or_default()
                .extend(
                    list(&resource, "interaction")
                        .iter()
                        .filter_map(|interaction| {
                            interaction.get("code")?.as_str().map(str::to_owned)
                        }),
                );
        }
        Some(Self {
            fhir_version: json.get("fhirVersion")?.as_str()?.to_owned(),
            software: (!software.is_empty()).then(|| software.join(" ")),
            interactions,
        })
    }

    /// Whether it speaks R4 or R4B, the versions that this crate understands.
    #[must_use]
    pub fn is_r4(&self) -> bool {
        ["4.0", "4.1", "4.3"].into_iter().any(|version| {
            self.fhir_version
                .strip_prefix(version)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
        })
    }

    /// Whether it offers an interaction for a type, in the words of
    /// <http://hl7.org/fhir/R4/valueset-type-restful-interaction.html>: `read`, `history-type`,
    /// `search-type`, `create`, `update` …
    #[must_use]
    pub fn offers(&self, resource_type: &ResourceType, interaction: &str) -> bool {
        self.interactions
            .get(resource_type.as_str())
            .is_some_and(|offered| offered.contains(interaction))
    }

    /// Whether subscriptions can be created. A statement has no words for which channels really
    /// work: a subscription that stays `requested` shows that its does not.
    #[must_use]
    pub fn offers_subscriptions(&self) -> bool {
        self.offers(&ResourceType::Subscription, "create")
    }
}
