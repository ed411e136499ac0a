//! In which lane a change of a resource is worked: those of one conversation in one, in order.

use fhir::{BaseUrl, Communication, ResourceRef, ResourceType};
use serde_json::Value;

use crate::config::Threads;

/// The lane of a resource: a message's is its conversation's, any other's its own.
#[must_use]
pub fn of(
    reference: &ResourceRef,
    json: Option<&Value>,
    threads: Threads,
    base: &BaseUrl,
) -> String {
    let thread = json
        .filter(|_| *reference.resource_type() == ResourceType::Communication)
        .and_then(|json| Communication::from_json(json, base).ok())
        .and_then(|communication| threads.of_message(&communication));
    thread.as_ref().unwrap_or(reference).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_goes_in_its_conversations_lane() {
        let base = BaseUrl::parse("http://fhir.example/fhir").unwrap();
        let reference = ResourceRef::parse("Communication/5").unwrap();
        let mut message = json!({
            "resourceType": "Communication", "id": "5",
            "partOf": [{"reference": "CommunicationRequest/7"}],
        });
        let requests = Threads::CommunicationRequest;
        assert_eq!(
            of(&reference, Some(&message), requests, &base),
            "CommunicationRequest/7"
        );
        assert_eq!(of(&reference, None, requests, &base), "Communication/5");
        let thread = ResourceRef::parse("CommunicationRequest/7").unwrap();
        assert_eq!(
            of(&thread, Some(&json!({})), requests, &base),
            "CommunicationRequest/7"
        );
        let headers = Threads::CommunicationHeader;
        message["partOf"] = json!([{"reference": "Communication/7"}]);
        assert_eq!(
            of(&reference, Some(&message), headers, &base),
            "Communication/7"
        );
        let header = ResourceRef::parse("Communication/7").unwrap();
        let json = json!({"resourceType": "Communication", "id": "7"});
        assert_eq!(of(&header, Some(&json), headers, &base), "Communication/7");
    }
}
