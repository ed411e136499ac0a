//! Users: accounts and profiles.

use serde_json::{Value, json};

use super::{
    call::{Call, Reply},
    world::World,
};

/// `POST /_matrix/client/v1/appservice/{appserviceId}/ping`
pub(super) fn ping(world: &World, id: &str) -> Reply {
    if id == world.registration.id {
        Reply::ok(json!({"duration_ms": 1}))
    } else {
        Reply::error(403, "M_FORBIDDEN")
    }
}

/// `POST /register`
pub(super) fn register(world: &mut World, call: &Call) -> Reply {
    if call.body["type"] != "m.login.application_service" {
        return Reply::error(400, "M_UNKNOWN");
    }
    let Some(localpart) = call.body["username"].as_str() else {
        return Reply::error(400, "M_INVALID_USERNAME");
    };
    let user = world.full_user(localpart);
    if !world.is_ours(&user) {
        return Reply::error(400, "M_EXCLUSIVE");
    }
    if !world.add_user(&user) {
        return Reply::error(400, "M_USER_IN_USE");
    }
    if call.body["inhibit_login"] == true {
        return Reply::ok(json!({"user_id": user}));
    }
    if world.mas {
        // The user is there all the same.
        return Reply::error(400, "M_APPSERVICE_LOGIN_UNSUPPORTED");
    }
    Reply::ok(session(&user))
}

/// `POST /login`
pub(super) fn login(world: &World, call: &Call) -> Reply {
    if call.body["type"] != "m.login.application_service" {
        return Reply::error(400, "M_UNKNOWN");
    }
    if world.mas {
        return Reply::error(400, "M_APPSERVICE_LOGIN_UNSUPPORTED");
    }
    let name = call.body["identifier"]["user"].as_str().unwrap_or_default();
    let user = match name.strip_prefix('@') {
        Some(_) => name.to_owned(),
        None => world.full_user(name),
    };
    if !world.is_ours(&user) {
        return Reply::error(403, "M_FORBIDDEN");
    }
    if !world.users.contains_key(&user) {
        return Reply::error(404, "M_NOT_FOUND");
    }
    Reply::ok(session(&user))
}

fn session(user: &str) -> Value {
    json!({"user_id": user, "device_id": "DEVICE", "access_token": "canary-access-token"})
}

/// `PUT /profile/{userId}/{keyName}`
pub(super) fn set_profile(world: &mut World, call: &Call, user: &str, field: &str) -> Reply {
    if user != call.acting_as {
        return Reply::error(403, "M_FORBIDDEN");
    }
    let value = call.body[field].clone();
    let user = world.users.entry(user.to_owned()).or_default();
    user.profile.insert(field.to_owned(), value);
    Reply::ok(json!({}))
}

/// `GET /profile/{userId}` and `GET /profile/{userId}/{keyName}`
pub(super) fn profile(world: &World, user: &str, field: Option<&str>) -> Reply {
    let Some(user) = world.users.get(user) else {
        return Reply::error(404, "M_NOT_FOUND");
    };
    match field {
        None => Reply::ok(json!(user.profile)),
        Some(field) => match user.profile.get(field) {
            Some(value) => Reply::ok(json!({field: value})),
            None => Reply::error(404, "M_NOT_FOUND"),
        },
    }
}

/// `GET /_matrix/client/versions`
pub(super) fn versions() -> Reply {
    Reply::ok(json!({"versions": ["v1.1", "v1.11", "v1.15"], "unstable_features": {}}))
}
