//! Whatever a server sends, reading it never panics.

use fhir::{
    CareTeam, Communication, CommunicationRequest, Instant, Person, Ref, matrix_user_id,
    with_event_identifier,
};
use serde_json::{Map, Value, json};

use crate::codecs::base;

/// Small, seeded and the same on each run (xorshift), so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn text(&mut self) -> String {
        let whole = [
            "",
            " ",
            "@a:b",
            "matrix:u/",
            "matrix:u/a:b",
            "é:é",
            "#x",
            "CareTeam/1",
            "/",
            "//",
            "Patient/1/_history/",
            "2026-11-21",
            "2026-02-31",
            "2026-11-21T10:00:00Z",
            "-",
            "----",
            "9999-12-31T23:59:59-14:00",
            "active",
            "completed",
            "other",
            "url",
            "\u{0}",
            "\u{1F600}",
            "W/\"1\"",
            "@a:[",
            "@a:[::1]:",
            "%",
            "%FF",
            "https://matrix.to/#/",
            "https://fhir.example.org/r4",
            "https://fhir.example.org/r4/",
        ];
        match self.roll(3) {
            0 => {
                let length = self.roll(12);
                (0..length)
                    .map(|_| char::from_u32(u32::try_from(self.roll(0x3000)).unwrap()).unwrap())
                    .collect()
            }
            1 => format!("{}{}", self.pick(&whole), self.pick(&whole)),
            _ => self.pick(&whole).to_owned(),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        let names = [
            "resourceType",
            "id",
            "meta",
            "versionId",
            "lastUpdated",
            "status",
            "subject",
            "participant",
            "member",
            "role",
            "coding",
            "code",
            "text",
            "period",
            "start",
            "end",
            "managingOrganization",
            "recipient",
            "basedOn",
            "about",
            "extension",
            "url",
            "valueReference",
            "valueString",
            "reference",
            "identifier",
            "system",
            "value",
            "display",
            "payload",
            "contentString",
            "contentAttachment",
            "contentReference",
            "telecom",
            "rank",
            "use",
            "name",
            "given",
            "family",
            "prefix",
            "partOf",
            "sender",
            "sent",
            "practitioner",
            "organization",
            "alias",
            "size",
        ];
        match self.roll(if depth == 0 { 5 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => json!(-1.5e300),
            3 => json!(u64::MAX),
            4 => Value::String(self.text()),
            5 | 6 => (0..self.roll(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let count = self.roll(8);
                let object: Map<String, Value> = (0..count)
                    .map(|_| (self.pick(&names).to_owned(), self.value(depth - 1)))
                    .collect();
                object.into()
            }
        }
    }
}

#[test]
fn no_json_makes_a_codec_panic() {
    let mut dice = Dice(0x5EED_0FF4);
    let mut read = 0;
    for _ in 0..10_000 {
        let mut json = dice.value(5);
        if let Some(object) = json.as_object_mut() {
            object.insert("id".into(), "1".into());
            let types = [
                "CareTeam",
                "CommunicationRequest",
                "Communication",
                "Practitioner",
                "PractitionerRole",
                "Organization",
            ];
            object.insert("resourceType".into(), dice.pick(&types).into());
        }
        let base = base();
        let results = [
            CareTeam::from_json(&json, &base).map(|r| format!("{r:?}{:?}", r.participants)),
            CommunicationRequest::from_json(&json, &base)
                .map(|r| format!("{r:?}{:?}", r.care_teams)),
            Communication::from_json(&json, &base)
                .map(|r| format!("{r:?}{:?}", Communication::is_header(&json))),
            Person::from_json(&json, &base).map(|r| format!("{r:?}{:?}", r.matrix_accounts)),
        ];
        read += results.iter().filter(|r| r.is_ok()).count();
        let _ = Ref::from_json(&json, &base);
        let _ = with_event_identifier(&mut json, "$a");
    }
    assert!(read > 2_000, "{read}: the test must reach the codecs");
}

#[test]
fn no_text_makes_a_parser_panic() {
    let mut dice = Dice(0xD1CE);
    for _ in 0..100_000 {
        let text = dice.text();
        let _ = matrix_user_id(&text);
        let _ = base().resolve(&text);
        let _ = fhir::BaseUrl::parse(&text);
        if let Some(time) = Instant::parse_period_start(&text) {
            let _ = (
                time.unix_millis(),
                time.earlier_by(std::time::Duration::from_secs(u64::MAX)),
            );
        }
        let _ = Instant::parse_period_end(&text);
    }
}
