//! Who takes part: invented people with test identifiers.

use anyhow::Result;
use serde_json::{Value, json};

use super::Record;

/// The people and the resources that bring them together, as references such as `Practitioner/7`.
pub(super) struct Cast {
    pub(super) client: String,
    pub(super) nurse: String,
    pub(super) gp: String,
    pub(super) pharmacist: String,
    pub(super) team: String,
    pub(super) thread: String,
    /// Names and numbers that must not be found elsewhere.
    pub(super) private: Vec<String>,
}

/// A number from the range that is never given out.
const CLIENT_NUMBER: &str = "999911120";

impl Cast {
    /// Posts everybody, their care team and a thread to the FHIR server.
    pub(super) async fn post(
        record: &Record,
        gp_user: &str,
        pharmacist_user: &str,
    ) -> Result<Self> {
        let client = record
            .create(&json!({
                "resourceType": "Patient",
                "identifier": [{"system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": CLIENT_NUMBER}],
                "name": [{"family": "Voorbeeldcliënt", "given": ["Testina"]}],
                "birthDate": "1940-01-01",
            }))
            .await?;
        let nurse = record
            .create(&practitioner("Verzinsel", "Vera", None))
            .await?;
        let gp = record
            .create(&practitioner("Proefpersoon", "Gerda", Some(gp_user)))
            .await?;
        let pharmacist = record
            .create(&practitioner("Denkbeeldig", "Adam", Some(pharmacist_user)))
            .await?;
        let member = |reference: &str, role: &str| json!({"member": {"reference": reference}, "role": [{"text": role}]});
        let team = record
            .create(&json!({
                "resourceType": "CareTeam",
                "status": "active",
                "subject": {"reference": client},
                "participant": [
                    member(&nurse, "nurse"), member(&gp, "general practitioner"), member(&pharmacist, "pharmacist"),
                ],
            }))
            .await?;
        let thread = record
            .create(&json!({
                "resourceType": "CommunicationRequest",
                "status": "active",
                "subject": {"reference": client},
                "requester": {"reference": nurse},
                "recipient": [{"reference": team}],
            }))
            .await?;
        let private = [
            CLIENT_NUMBER,
            "Voorbeeldcliënt",
            "Testina",
            "Verzinsel",
            "Proefpersoon",
            "Denkbeeldig",
        ];
        Ok(Self {
            client,
            nurse,
            gp,
            pharmacist,
            team,
            thread,
            private: private.map(str::to_owned).to_vec(),
        })
    }

    pub(super) fn role_of(&self, reference: &str) -> &'static str {
        match reference {
            one if one == self.nurse => "nurse",
            one if one == self.gp => "GP",
            one if one == self.pharmacist => "pharmacist",
            _ => "somebody else",
        }
    }
}

fn practitioner(family: &str, given: &str, matrix: Option<&str>) -> Value {
    let mut practitioner = json!({
        "resourceType": "Practitioner",
        "name": [{"family": family, "given": [given]}],
    });
    if let Some(user) = matrix {
        practitioner["telecom"] = json!([{
            "system": "other",
            "value": user,
            "extension": [{
                "url": "http://hl7.org/fhir/StructureDefinition/contactpoint-purpose",
                "valueString": "matrix-messaging",
            }],
        }]);
    }
    practitioner
}
