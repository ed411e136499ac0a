//! `GET /actuator/health/liveness` says whether the process works, `GET /actuator/health/readiness` also whether all that
//! it needs does, component by component: 200 with `UP`, or 503 with `DOWN`.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{components::Status, desk::Desk};

pub(super) async fn liveness(State(desk): State<Desk>) -> Response {
    answer(desk.components.are_looked_at(), None)
}

pub(super) async fn readiness(State(desk): State<Desk>) -> Response {
    let all = desk.components.all().into_iter();
    let all = all.map(|(name, found)| (name.to_owned(), json!({"status": found.status.as_str()})));
    answer(desk.components.are_up(), Some(all.collect()))
}

fn answer(up: bool, components: Option<Map<String, Value>>) -> Response {
    let (code, status) = if up {
        (StatusCode::OK, Status::Up)
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Status::Down)
    };
    let mut body = json!({"status": status.as_str()});
    if let Some(components) = components {
        body["components"] = components.into();
    }
    (code, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Asked, World};

    #[tokio::test]
    async fn it_is_ready_when_all_are_up_and_alive_while_somebody_looks() {
        let world = World::new().await;
        let components = &world.desk.components;
        let ask = async |path: &str| {
            let Asked { status, body, .. } = world.get(path).await;
            let json: Value = serde_json::from_str(&body).unwrap_or_default();
            (status, json)
        };
        let [live, ready] = ["/actuator/health/liveness", "/actuator/health/readiness"];
        // Nobody has looked yet.
        assert_eq!(ask(ready).await.0, 503);
        components.set("database", None);
        components.set("fhirServer", Some("no answer within 10 s".to_owned()));
        components.looked();
        assert_eq!(ask(live).await, (200, json!({"status": "UP"})));
        let down = json!({"status": "DOWN", "components": {
            "database": {"status": "UP"}, "fhirServer": {"status": "DOWN"},
        }});
        assert_eq!(ask(ready).await, (503, down));
        components.set("fhirServer", None);
        assert_eq!(ask(ready).await.0, 200);
        components.stand_still();
        assert_eq!(ask(live).await.0, 503);
        assert_eq!(ask(ready).await.0, 503);
        assert_eq!(ask("/other").await.0, 404);
    }
}
