//! A FHIR resource as an event of its own: `de.gematik.fhir`, as gematik's schema has it, and MSC4302.
//!
//! <https://github.com/gematik/api-ti-messenger/blob/main/src/schema/fhir.json>,
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4302>

mod judged;
mod offered;
mod shown;

use fhir::{ResourceType, Text};
use serde_json::Value;

use super::content::Sent;

pub use self::{
    judged::{judged, people_named},
    offered::offered,
    shown::{beside, definition_of, file_name, inline, line},
};

/// What an event and the fields of its content are called.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// The event's type.
    pub kind: &'static str,
    definition: &'static str,
    resource: &'static str,
    file: &'static str,
}

/// As gematik has it: what the bridge sends.
pub const GEMATIK: Names = Names {
    kind: "de.gematik.fhir",
    definition: "de.gematik.fhir.structure_definition",
    resource: "de.gematik.fhir.resource",
    file: "de.gematik.fhir.file",
};

/// All that are read: gematik's, the proposal's while it is one, and those that it shall have.
static ALL_NAMES: [Names; 3] = [
    GEMATIK,
    Names {
        kind: "de.gematik.msc4302.fhir",
        definition: "de.gematik.msc4302.fhir.structure_definition",
        resource: "de.gematik.msc4302.fhir.resource",
        file: "de.gematik.msc4302.fhir.file",
    },
    Names {
        kind: "m.fhir",
        definition: "m.fhir.structure_definition",
        resource: "m.fhir.resource",
        file: "m.fhir.file",
    },
];

/// Where the text stands that everybody can read: gematik's name, the specification's, and that of MSC1767.
const TEXTS: [&str; 3] = ["de.gematik.text", "m.text", "org.matrix.msc1767.text"];

/// The MIME type of a resource in a file.
pub const FHIR_JSON: &str = "application/fhir+json";

/// The release that the bridge speaks; on the way in, any version of it.
const FHIR_VERSION: &str = "4.0.1";
const BASE_DEFINITIONS: &str = "http://hl7.org/fhir/StructureDefinition/";
/// The most characters of a canonical URL or its version.
const LONGEST: usize = 500;

/// Why a resource is not taken, for people: it says nothing of the resource.
pub type Refusal = &'static str;

/// The structure definition that a resource follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its canonical URL.
    pub url: String,
    /// Its version.
    pub version: String,
    /// The type of resource.
    pub kind: ResourceType,
}

/// Where a resource is.
#[derive(Clone, PartialEq)]
pub enum Body {
    /// In the event, with its decimals as strings.
    Inline(Value),
    /// In a file.
    File(Sent),
}

/// A resource that somebody sends, as far as the event says: each word of it is a stranger's.
#[derive(Clone, PartialEq)]
pub struct Offered {
    /// What it follows.
    pub definition: Definition,
    /// Where it is.
    pub body: Body,
    /// What people can read of it.
    pub text: Text,
}

/// The names of an event that holds a resource; `None` when it is another event.
#[must_use]
pub fn names_of(kind: &str) -> Option<&'static Names> {
    ALL_NAMES.iter().find(|names| names.kind == kind)
}

/// Whether this can be a canonical URL or a version, of which `|` makes one.
fn is_word(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !text.contains(['|', '"', '<', '>', '\\'])
}
