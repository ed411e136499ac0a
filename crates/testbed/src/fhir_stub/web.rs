//! A FHIR stub's requests.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::store::Version;
use super::{Fault, Seen, Shared, lock};

#[derive(Clone)]
struct Web {
    shared: Arc<Shared>,
    base: String,
}

/// An answer, before it is put on the wire.
struct Answer {
    status: u16,
    json: Option<Value>,
    headers: Vec<(HeaderName, String)>,
}

pub(super) fn router(shared: Arc<Shared>, base: String) -> Router {
    Router::new()
        .fallback(request)
        .with_state(Web { shared, base })
}

async fn request(
    State(web): State<Web>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let whole = uri.path_and_query().map_or("", |path| path.as_str());
    let Some(path) = whole.strip_prefix("/fhir/") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let header = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    lock(&web.shared.seen).push(Seen {
        method: method.to_string(),
        path: path.to_owned(),
        authorization: header(header::AUTHORIZATION),
        accept: header(header::ACCEPT),
        content_type: header(header::CONTENT_TYPE),
    });
    let token = lock(&web.shared.token).clone();
    if !path.starts_with(".well-known") && token.is_some() && token != header(header::AUTHORIZATION)
    {
        return outcome(401, "login").into_response();
    }
    let fault = web.shared.fault(method.as_str(), path);
    match &fault {
        Some(Fault::Refuse(status, after)) => {
            let mut answer = outcome(*status, "exception");
            answer
                .headers
                .extend(after.map(|after| (header::RETRY_AFTER, after.to_string())));
            return answer.into_response();
        }
        Some(Fault::Answer(json)) => return Answer::json(200, json.clone()).into_response(),
        _ => {}
    }
    let mut answer = web.answer(&method, path, &headers, &body);
    let date = lock(&web.shared.store).date();
    match fault {
        Some(Fault::LoseAnswer) => return StatusCode::GATEWAY_TIMEOUT.into_response(),
        Some(Fault::SayNothing) => {
            answer.headers.clear();
            answer.json = None;
        }
        Some(Fault::ChangedBehind) => {
            let mut store = lock(&web.shared.store);
            if let Some(json) = store.current(path) {
                let _ = store.put(json, None);
            }
        }
        _ => {}
    }
    if answer.status < 300 && matches!(method, Method::POST | Method::PUT) && !path.contains('_') {
        web.notify(path.split('/').next().unwrap_or_default());
    }
    answer.headers.push((header::DATE, date));
    answer.into_response()
}

impl Web {
    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let segments: Vec<&str> = path.split('/').collect();
        match (method.as_str(), segments.as_slice()) {
            ("GET", ["metadata"]) => Answer::json(
                200,
                json!({"resourceType": "CapabilityStatement",
                "fhirVersion": "4.0.1", "software": {"name": "stub"}}),
            ),
            ("GET", [resource_type, "_history"]) => self.history(resource_type, &fields(query)),
            ("GET", [resource_type, "_search"]) => self.search(resource_type, &fields(query)),
            ("POST", [resource_type, "_search"]) => {
                self.search(resource_type, &fields(&String::from_utf8_lossy(body)))
            }
            ("POST", [_]) => self.create(headers, body),
            ("GET", [_, _]) => self.read(path),
            ("PUT", [_, _]) => self.update(path, headers, body),
            ("DELETE", [_, _]) => {
                lock(&self.shared.store).delete(path);
                Answer {
                    status: 204,
                    json: None,
                    headers: Vec::new(),
                }
            }
            _ => outcome(404, "not-found"),
        }
    }

    fn read(&self, path: &str) -> Answer {
        match lock(&self.shared.store).last(path) {
            None => outcome(404, "not-found"),
            Some(Version { resource: None, .. }) => outcome(410, "deleted"),
            Some(version) => Answer::version(200, version),
        }
    }

    fn create(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let Ok(json) = serde_json::from_slice::<Value>(body) else {
            return outcome(400, "structure");
        };
        let mut store = lock(&self.shared.store);
        if let Some(condition) = headers
            .get("if-none-exist")
            .and_then(|value| value.to_str().ok())
        {
            let fields = fields(condition);
            let resource_type = json["resourceType"].as_str().unwrap_or_default();
            let found: Vec<Value> = store
                .all(resource_type)
                .into_iter()
                .filter(|one| matches(one, &fields))
                .collect();
            match found.as_slice() {
                [] => {}
                [one] => {
                    let reference =
                        format!("{resource_type}/{}", one["id"].as_str().unwrap_or_default());
                    return store.last(&reference).map_or_else(
                        || outcome(500, "exception"),
                        |version| Answer::version(200, version),
                    );
                }
                _ => return outcome(412, "multiple-matches"),
            }
        }
        let reference = store.put(json, None);
        store.last(&reference).map_or_else(
            || outcome(500, "exception"),
            |version| Answer::version(201, version),
        )
    }

    fn update(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
        let Ok(json) = serde_json::from_slice::<Value>(body) else {
            return outcome(400, "structure");
        };
        let mut store = lock(&self.shared.store);
        let version = store.last(path).map(|one| format!("W/\"{}\"", one.number));
        let wanted = headers
            .get(header::IF_MATCH)
            .and_then(|value| value.to_str().ok());
        if wanted.is_some() && wanted != version.as_deref() {
            return outcome(412, "conflict");
        }
        let reference = store.put(json, None);
        store.last(&reference).map_or_else(
            || outcome(500, "exception"),
            |version| Answer::version(200, version),
        )
    }

    fn history(&self, resource_type: &str, fields: &HashMap<String, String>) -> Answer {
        let without_history = lock(&self.shared.store).without_history;
        if let Some(status) = without_history {
            return outcome(status, "not-supported");
        }
        let since = fields.get("_since").map_or("", String::as_str);
        let history = lock(&self.shared.store).history(resource_type, since);
        let entries = history.into_iter().map(|version| match version.resource {
            Some(resource) => json!({
                "resource": resource,
                "request": {"method": if version.number == 1 { "POST" } else { "PUT" }, "url": version.reference},
                "response": {"status": "200", "etag": format!("W/\"{}\"", version.number), "lastModified": version.time},
            }),
            None => json!({
                "request": {"method": "DELETE", "url": format!("{}/_history/{}", version.reference, version.number)},
                "response": {"status": "204", "etag": format!("W/\"{}\"", version.number), "lastModified": version.time},
            }),
        });
        self.page(
            &format!("{resource_type}/_history"),
            "history",
            entries.collect(),
            fields,
        )
    }

    fn search(&self, resource_type: &str, fields: &HashMap<String, String>) -> Answer {
        let all = lock(&self.shared.store).all(resource_type);
        let entries = all
            .into_iter()
            .filter(|one| matches(one, fields))
            .map(|one| json!({"resource": one, "search": {"mode": "match"}}));
        self.page(
            &format!("{resource_type}/_search"),
            "searchset",
            entries.collect(),
            fields,
        )
    }

    fn page(
        &self,
        path: &str,
        kind: &str,
        entries: Vec<Value>,
        fields: &HashMap<String, String>,
    ) -> Answer {
        let number = |name: &str, default: usize| {
            fields
                .get(name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(default)
        };
        let (offset, count) = (number("_offset", 0), number("_count", 20).max(1));
        let more = entries.len() > offset + count;
        let total = entries.len();
        let page: Vec<Value> = entries.into_iter().skip(offset).take(count).collect();
        let now = lock(&self.shared.store).now();
        let mut bundle = json!({"resourceType": "Bundle", "type": kind, "entry": page, "link": [],
            "total": total, "meta": {"lastUpdated": now}});
        if fields
            .get("_summary")
            .is_some_and(|summary| summary == "count")
        {
            bundle["entry"] = json!([]);
            return Answer::json(200, bundle);
        }
        if more {
            let mut next = url::form_urlencoded::Serializer::new(String::new());
            let mut rest: Vec<_> = fields
                .iter()
                .filter(|(name, _)| *name != "_offset")
                .collect();
            rest.sort();
            for (name, value) in rest {
                next.append_pair(name, value);
            }
            next.append_pair("_offset", &(offset + count).to_string());
            let url = format!("{}/{path}?{}", self.base, next.finish());
            bundle["link"] = json!([{"relation": "next", "url": url}]);
        }
        Answer::json(200, bundle)
    }

    /// Tells all who have subscribed to this type.
    fn notify(&self, resource_type: &str) {
        for subscription in lock(&self.shared.store).all("Subscription") {
            let criteria = subscription["criteria"].as_str().unwrap_or_default();
            let endpoint = subscription["channel"]["endpoint"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if subscription["status"] != "active"
                || criteria.split('?').next() != Some(resource_type)
            {
                continue;
            }
            let header = subscription["channel"]["header"][0]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            tokio::spawn(async move {
                let Ok(client) = crate::http::client(std::time::Duration::from_secs(5)) else {
                    return;
                };
                let mut request = client.post(endpoint);
                if let Some((name, value)) = header.split_once(": ") {
                    request = request.header(name, value);
                }
                let _ = request.send().await;
            });
        }
    }
}

fn fields(query: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// Whether a resource is what is searched for. Parameters that begin with `_` say how.
fn matches(json: &Value, fields: &HashMap<String, String>) -> bool {
    fields.iter().all(|(name, value)| {
        let token = value.replace('\\', "");
        match name.as_str() {
            "identifier" => list(&json["identifier"]).any(|one| {
                format!(
                    "{}|{}",
                    one["system"].as_str().unwrap_or_default(),
                    one["value"].as_str().unwrap_or_default()
                ) == token
            }),
            "telecom" => list(&json["telecom"]).any(|one| one["value"] == token.as_str()),
            "url" => {
                json["channel"]["endpoint"] == token.as_str() || json["endpoint"] == token.as_str()
            }
            "part-of" => list(&json["partOf"]).any(|one| one["reference"] == token.as_str()),
            "recipient" => list(&json["recipient"]).any(|one| one["reference"] == token.as_str()),
            "_lastUpdated" => {
                let since = value.trim_start_matches("ge").trim_end_matches('Z');
                json["meta"]["lastUpdated"]
                    .as_str()
                    .is_some_and(|time| time.trim_end_matches('Z') >= since)
            }
            other => other.starts_with('_'),
        }
    })
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}

fn outcome(status: u16, code: &str) -> Answer {
    let json =
        json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]});
    Answer::json(status, json)
}

impl Answer {
    fn json(status: u16, json: Value) -> Self {
        Self {
            status,
            json: Some(json),
            headers: Vec::new(),
        }
    }

    fn version(status: u16, version: &Version) -> Self {
        let location = format!("{}/_history/{}", version.reference, version.number);
        Self {
            status,
            json: version.resource.clone(),
            headers: vec![
                (header::LOCATION, location),
                (header::ETAG, format!("W/\"{}\"", version.number)),
            ],
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = self.json.map(|json| json.to_string()).unwrap_or_default();
        let mut response = (
            status,
            [(header::CONTENT_TYPE, "application/fhir+json")],
            body,
        )
            .into_response();
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
