//! Settings of care networks: rooms, roles, who is told what about whom.

use matrix_appservice::ruma::RoomVersionId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How care teams and conversations look in Matrix, and what comes back from there.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The version of the rooms that are made. From 12 on the bridge is above everybody in them by
    /// having made them; below, it takes a power level of 200. Default: `12`.
    #[schemars(with = "String")]
    pub room_version: RoomVersionId,
    /// What a conversation's room is called. Default: `neutral`.
    pub room_names: RoomNames,
    /// Whether those who come and go in Matrix change `CareTeam.participant` and the `recipient`s of
    /// conversations, and whether a room that a professional makes in a space becomes a conversation (see
    /// `fhir.threads`). Default: yes.
    pub membership_to_fhir: bool,
    /// Whether what Matrix users say of themselves in `custom.user_mappings` is believed, within the
    /// limits that `directory::claims` states. Default: yes.
    pub trust_user_mappings: bool,
    /// What a professional's new Matrix account takes. Default: `verified`.
    pub moves: Moves,
    /// Whether a ghost's account is deactivated once the professional whom it stood for has moved, verified, to an
    /// account of their own. Default: yes.
    pub deactivate_moved: bool,
    /// Which role codes give which power level.
    pub roles: Roles,
    /// What is told about a ghost in `custom.user_mappings`, beside its opaque reference.
    pub user_mappings: UserMappings,
    /// The directory.
    pub directory: Directory,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            room_version: RoomVersionId::V12,
            room_names: RoomNames::default(),
            membership_to_fhir: true,
            trust_user_mappings: true,
            moves: Moves::default(),
            deactivate_moved: true,
            roles: Roles::default(),
            user_mappings: UserMappings::default(),
            directory: Directory::default(),
        }
    }
}

/// What a conversation's room is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoomNames {
    /// `Conversation`, all of them.
    #[default]
    Neutral,
    /// By its subject line, at most 50 characters, unless that names the client.
    Subject,
}

/// What a professional's new Matrix account takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Moves {
    /// The directory entry has the same UZI number, URA number and role code as when the old account was
    /// noted. One that lacks any of them changes nothing.
    #[default]
    Verified,
    /// The directory's word.
    Directory,
}

/// Role codes, each as `system|code`, or a code alone for any system. Of several, the highest counts; without any,
/// the type of resource decides.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Roles {
    /// Power level 100.
    pub lead: Vec<String>,
    /// Power level 75, as practitioners and organisations have without a code.
    pub professional: Vec<String>,
    /// Power level 50, as related persons have without a code.
    pub related: Vec<String>,
    /// Power level 25, as the client has without a code.
    pub client: Vec<String>,
}

impl Default for Roles {
    fn default() -> Self {
        let snomed = |codes: &[&str]| {
            codes
                .iter()
                .map(|code| format!("http://snomed.info/sct|{code}"))
                .collect()
        };
        Self {
            // Care coordinator, care team coordinator.
            lead: snomed(&["768820003", "768821004"]),
            professional: Vec::new(),
            // Relative, caregiver.
            related: snomed(&["125677006", "133932002"]),
            // Patient.
            client: snomed(&["116154003"]),
        }
    }
}

/// What is told about a ghost in `custom.user_mappings`. Room state is federated and stays for ever: the
/// default tells nothing. A BSN is never told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration file"
)]
pub struct UserMappings {
    /// The UZI number. Default: no.
    pub uzi: bool,
    /// The URA number of the organisation. Default: no.
    pub ura: bool,
    /// The role code. Default: no.
    pub role_code: bool,
    /// The e-mail address. Default: no.
    pub email: bool,
    /// The same of clients, and their FHIR id. Default: no.
    pub clients: bool,
}

/// The directory: what the FHIR server knows about people.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Directory {
    /// Whether Matrix accounts are also looked for in `Endpoint`s. Default: yes.
    pub endpoints: bool,
    /// What the code of such an endpoint's connection type begins with. Default: `tim`, `matrix`.
    pub endpoint_types: Vec<String>,
    /// How long an entry may be used without looking again. Default: 60.
    pub cache_seconds: u64,
    /// How many entries are kept at the most. Default: 10000.
    pub cache_entries: usize,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            endpoints: true,
            endpoint_types: vec!["tim".to_owned(), "matrix".to_owned()],
            cache_seconds: 60,
            cache_entries: 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_shows_the_defaults() {
        let text = include_str!("../../../../bridge.yaml");
        let (_, section) = text.split_once("\n#network:\n").unwrap();
        let shown: String = section
            .lines()
            .take_while(|line| line.starts_with(' '))
            .map(|line| match line.trim_start().strip_prefix('#') {
                // A key that begins with `#` shows its default; `# ` begins words.
                Some(key) if !key.starts_with(' ') => {
                    format!("{}{key}\n", &line[..line.len() - key.len() - 1])
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let shown: Network = serde_yaml::from_str(&shown).unwrap();
        assert_eq!(format!("{shown:?}"), format!("{:?}", Network::default()));
        assert!(!shown.user_mappings.uzi && !shown.user_mappings.clients);
    }
}
