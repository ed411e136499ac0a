//! What a message says, as a hash that tells whether it says something else now.
//!
//! Only what is carried over counts: a version that changes nothing of it (such as the one that bears the
//! event's id) has the same. The hash has a key, so that nobody can try short texts against it.

use fhir::{BaseUrl, Communication, ResourceRef};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::parts::{self, Part};

/// Makes the fingerprints of one bridge.
#[derive(Clone)]
pub struct Fingerprints {
    key: Vec<u8>,
    base: BaseUrl,
}

impl Fingerprints {
    /// `key` has to stay the same for as long as the links live.
    #[must_use]
    pub fn new(key: impl Into<Vec<u8>>, base: BaseUrl) -> Self {
        Self {
            key: key.into(),
            base,
        }
    }

    /// What one part says. It begins with `t` for text and `f` for a file.
    #[must_use]
    pub fn of_part(&self, part: &Part) -> String {
        match part {
            Part::Text { body, html } => {
                let html = html.as_deref().unwrap_or_default();
                format!("t{}", self.hash(&["text", body, html]))
            }
            Part::Notice(text)
            | Part::Reference {
                line: text,
                to: None,
            } => {
                format!("t{}", self.hash(&["notice", text]))
            }
            Part::Reference { line, to: Some(to) } => {
                format!("t{}", self.hash(&["reference", line, &to.to_string()]))
            }
            Part::File(file) => {
                let attachment = &file.attachment;
                let content = match (&attachment.hash, &attachment.data, &attachment.url) {
                    (Some(hash), ..) => format!("hash {hash}"),
                    (None, Some(data), _) => {
                        let data: String = data.split_whitespace().collect();
                        format!("data {data}")
                    }
                    // Servers may write an address of their own in full.
                    (None, None, Some(url)) => match self.base.resolve(url) {
                        Some(reference) => format!("url {reference}"),
                        None => format!("url {url}"),
                    },
                    (None, None, None) => String::new(),
                };
                let kind = &file.content_type;
                format!("f{}", self.hash(&["file", kind, &file.name, &content]))
            }
        }
    }

    /// The event that shows a resource. It begins with `r`.
    #[must_use]
    pub fn of_resource(&self, resource: &ResourceRef) -> String {
        format!("r{}", self.hash(&["resource", &resource.to_string()]))
    }

    /// What a whole message says.
    #[must_use]
    pub fn of_parts(&self, parts: &[Part]) -> String {
        let parts: Vec<String> = parts.iter().map(|part| self.of_part(part)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.hash(&parts)
    }

    /// What a `Communication` says.
    #[must_use]
    pub fn of(&self, communication: &Communication) -> String {
        self.of_parts(&parts::of_payload(&communication.payload))
    }

    fn hash(&self, pieces: &[&str]) -> String {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return String::new();
        };
        for piece in pieces {
            mac.update(&(piece.len() as u64).to_be_bytes());
            mac.update(piece.as_bytes());
        }
        format!("{:x}", mac.finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(payload: &Value) -> String {
        let base = BaseUrl::parse("http://fhir.example/fhir").unwrap();
        let json = json!({"resourceType": "Communication", "id": "5", "payload": payload});
        let communication = Communication::from_json(&json, &base).unwrap();
        Fingerprints::new(*b"key", base).of(&communication)
    }

    #[test]
    fn it_changes_with_what_is_said_and_with_nothing_else() {
        let text = json!([{"contentString": "a"}]);
        let same = [
            json!([{"contentString": "a", "id": "x"}]),
            json!([{"contentString": "a", "_contentString": {"extension": [{"url": "x", "valueString": "y"}]}}]),
        ];
        for payload in same {
            assert_eq!(of(&payload), of(&text));
        }
        let marked = json!({"extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/rendering-xhtml", "valueString": "<b>a</b>"
        }]});
        for payload in [
            json!([]),
            json!([{"contentString": "a "}]),
            json!([{"contentString": "a"}, {"contentString": "a"}]),
            json!([{"contentString": "a", "_contentString": marked}]),
            json!([{"contentAttachment": {"title": "a"}}]),
        ] {
            assert_ne!(of(&payload), of(&text));
        }
        let refers = |to: &str| of(&json!([{"contentReference": {"reference": to}}]));
        assert_ne!(refers("Questionnaire/1"), refers("Questionnaire/2"));
    }

    #[test]
    fn an_address_in_full_or_in_short_is_the_same_file() {
        let at = |url: &str| of(&json!([{"contentAttachment": {"url": url}}]));
        assert_eq!(at("Binary/7"), at("http://fhir.example/fhir/Binary/7"));
        assert_ne!(at("Binary/7"), at("http://other.example/fhir/Binary/7"));
    }
}
