//! The section `messages`.

use fhir::ResourceType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is carried over of messages, and how.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Messages {
    /// The largest file that is carried over, in bytes. Default: 26214400 (25 MiB).
    pub max_attachment_bytes: u64,
    /// Files up to this size stand in the `Communication` itself, larger ones in a `Binary`, in bytes.
    /// Default: 65536 (64 KiB).
    pub inline_attachment_bytes: u64,
    /// The MIME types of files that are carried over; `image/*` means all of a kind. Types that can hold
    /// programs for a browser (`text/html`, `image/svg+xml`, …) have to be named in full.
    pub attachment_types: Vec<String>,
    /// The types of resources that are carried over as FHIR resource events (`de.gematik.fhir`, MSC4302), both
    /// ways, such as `Questionnaire` and `QuestionnaireResponse`. Default: none.
    pub resource_types: Vec<String>,
    /// The largest resource that is carried over as an event, in bytes of JSON; at most 16777216.
    /// Default: 1048576 (1 MiB).
    pub max_resource_bytes: usize,
    /// What becomes of a message in the record when it is redacted in Matrix. Default: `strip`.
    pub on_redaction: OnRedaction,
    /// Whether each reader of a message gets a `Task`, which is completed when it is read, and completing it
    /// in the record counts as having read it. Default: true.
    pub tasks: bool,
    /// Whether a sender whose message asks for it (`request.status`, MSC4300) is told in the room when the
    /// record has it. Default: false.
    pub proof: bool,
}

/// What becomes of a message in the record when it is redacted in Matrix. Its status is
/// `entered-in-error` in any case, and the record's history keeps what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnRedaction {
    /// What it said is removed, its files too.
    Strip,
    /// What it said stays.
    Keep,
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            max_attachment_bytes: 25 * 1024 * 1024,
            inline_attachment_bytes: 64 * 1024,
            attachment_types: DEFAULT_TYPES.map(str::to_owned).to_vec(),
            resource_types: Vec::new(),
            max_resource_bytes: 1024 * 1024,
            on_redaction: OnRedaction::Strip,
            tasks: true,
            proof: false,
        }
    }
}

const DEFAULT_TYPES: [&str; 15] = [
    "image/*",
    "audio/*",
    "video/*",
    "text/plain",
    "text/csv",
    "application/pdf",
    "application/rtf",
    "application/dicom",
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/ogg",
];

/// Types that decide who takes part, what is said and what the bridge does, or that may hold anything: nobody
/// may write them from a room.
const NEVER: [&str; 19] = [
    "AuditEvent",
    "Binary",
    "Bundle",
    "CareTeam",
    "Communication",
    "CommunicationRequest",
    "Endpoint",
    "Organization",
    "Parameters",
    "Patient",
    "Person",
    "Practitioner",
    "PractitionerRole",
    "Provenance",
    "RelatedPerson",
    "SearchParameter",
    "StructureDefinition",
    "Subscription",
    "Task",
];

/// The largest resource that the FHIR client reads.
const MOST_RESOURCE_BYTES: usize = 16 * 1024 * 1024;

impl Messages {
    /// The first fault, as the key and what is wrong.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let key = "messages.resource_types";
        for name in &self.resource_types {
            if ResourceType::parse(name).is_none() {
                return Some((
                    key,
                    "has to hold names of FHIR resource types, such as Questionnaire",
                ));
            }
            if NEVER.contains(&name.as_str()) {
                return Some((
                    key,
                    "must not hold types that nobody may write from a room, such as people, care teams and messages",
                ));
            }
        }
        if !(1..=MOST_RESOURCE_BYTES).contains(&self.max_resource_bytes) {
            return Some((
                "messages.max_resource_bytes",
                "must be between 1 and 16777216",
            ));
        }
        None
    }

    /// Whether resources of this type are carried over as events.
    #[must_use]
    pub fn carries_resource(&self, kind: &ResourceType) -> bool {
        self.resource_types.iter().any(|name| name == kind.as_str())
    }

    /// Whether files of this type (in lower case, without parameters) are carried over.
    #[must_use]
    pub fn carries(&self, content_type: &str) -> bool {
        self.attachment_types.iter().any(|allowed| {
            let allowed = allowed.to_ascii_lowercase();
            match allowed.strip_suffix("/*") {
                Some(kind) => content_type
                    .split_once('/')
                    .is_some_and(|(of, what)| of == kind && !is_active(what)),
                None => allowed == content_type,
            }
        })
    }
}

/// Whether a subtype can hold programs that a browser would run.
fn is_active(subtype: &str) -> bool {
    subtype.contains("html") || subtype.contains("xml") || subtype.contains("script")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_carried_as_listed_and_active_ones_only_by_name() {
        let mut messages = Messages::default();
        for (kind, carried) in [
            ("image/png", true),
            ("image/svg+xml", false),
            ("text/plain", true),
            ("text/html", false),
            ("application/pdf", true),
            ("application/x-msdownload", false),
            ("", false),
        ] {
            assert_eq!(messages.carries(kind), carried, "{kind}");
        }
        messages.attachment_types = vec!["Image/SVG+xml".into()];
        assert!(messages.carries("image/svg+xml") && !messages.carries("image/png"));
    }

    #[test]
    fn resources_are_carried_as_listed_and_never_what_decides_who_takes_part() {
        let mut messages = Messages::default();
        let questionnaire = ResourceType::parse("Questionnaire").unwrap();
        assert!(!messages.carries_resource(&questionnaire) && messages.fault().is_none());
        messages.resource_types = vec!["Questionnaire".into()];
        assert!(messages.carries_resource(&questionnaire) && messages.fault().is_none());
        for name in ["questionnaire", "Communication", "Patient", "Bundle", ""] {
            messages.resource_types = vec![name.into()];
            let (key, _) = messages.fault().unwrap();
            assert_eq!(key, "messages.resource_types", "{name}");
        }
        messages.resource_types.clear();
        for bytes in [0, 16 * 1024 * 1024 + 1] {
            messages.max_resource_bytes = bytes;
            assert!(messages.fault().is_some());
        }
    }
}
