use axum::{body::Body, http::Request};
use tower::ServiceExt;

use super::*;

async fn hooks() -> (tempfile::TempDir, Links, Hooks) {
    hooks_with("").await
}

async fn hooks_with(settings: &str) -> (tempfile::TempDir, Links, Hooks) {
    let folder = tempfile::tempdir().unwrap();
    let links = Links::open(&folder.path().join("links.db")).await.unwrap();
    let settings =
        format!("url: http://127.0.0.1:9/fhir\nnotify_url: http://127.0.0.1:1234/\n{settings}");
    let settings: config::Fhir = serde_yaml::from_str(&settings).unwrap();
    let hooks = Hooks::load(&links, &settings).await.unwrap();
    (folder, links, hooks)
}

async fn notify(
    hooks: &Hooks,
    pullers: &Pullers,
    method: &str,
    path: &str,
    bearer: Option<&str>,
    body: impl Into<Body>,
) -> u16 {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(bearer) = bearer {
        request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
    }
    let request = request.body(body.into()).unwrap();
    let router = router(vec![(hooks.clone(), pullers.clone())]);
    router.oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn only_who_knows_both_secrets_wakes_the_reader_of_a_type() {
    let (_folder, _links, hooks) = hooks().await;
    let pullers = Pullers::new();
    let hook = |wanted: ResourceType| {
        hooks
            .all
            .iter()
            .find(|one| one.resource_type == wanted)
            .unwrap()
    };
    let message = hook(ResourceType::Communication);
    let path = format!("/fhir/hooks/{}", message.path_token.expose_secret());
    let bearer = message.bearer.expose_secret();
    let other = hook(ResourceType::CareTeam).bearer.expose_secret();

    for (path, bearer, status) in [
        ("/fhir/hooks/unknown", Some(bearer), 404),
        (path.as_str(), None, 401),
        (path.as_str(), Some("wrong"), 401),
        (path.as_str(), Some(other), 401),
    ] {
        assert_eq!(
            notify(&hooks, &pullers, "POST", path, bearer, "").await,
            status
        );
    }
    assert!(
        !pullers.was_woken(&message.resource_type),
        "nobody who may has called"
    );

    assert_eq!(
        notify(&hooks, &pullers, "POST", &path, Some(bearer), "").await,
        200
    );
    assert!(pullers.was_woken(&message.resource_type));
    assert!(
        !pullers.was_woken(&ResourceType::CareTeam),
        "the others sleep on"
    );

    // Servers that send the resource PUT it below the endpoint; what they say is not believed.
    let path = format!("{path}/Communication/7");
    let body = r#"{"resourceType": "Communication", "id": "7"}"#;
    for method in ["PUT", "DELETE"] {
        assert_eq!(
            notify(&hooks, &pullers, method, &path, Some(bearer), body).await,
            200
        );
        assert!(pullers.was_woken(&message.resource_type));
    }
}

#[tokio::test]
async fn whatever_somebody_with_the_secrets_sends_is_taken() {
    let (_folder, _links, hooks) = hooks().await;
    let pullers = Pullers::new();
    let message = &hooks.all[0];
    let path = format!("/fhir/hooks/{}", message.path_token.expose_secret());
    let bearer = message.bearer.expose_secret();
    let long = vec![b' '; 2 * MAX_BODY_BYTES];
    let deep = "[".repeat(100_000).into_bytes();
    for body in [&b"\xff\xfe"[..], b"{", b"null", &deep, &long] {
        let status = notify(&hooks, &pullers, "POST", &path, Some(bearer), body.to_vec()).await;
        assert_eq!(status, 200);
        assert!(pullers.was_woken(&message.resource_type));
    }
}

/// A notification in each version's form.
fn bundle(form: &str, kind: &str, status: &str, events: u64) -> String {
    match form {
        "R4" => format!(
            r#"{{"resourceType": "Bundle", "type": "history", "entry": [{{"resource": {{"resourceType": "Parameters",
            "parameter": [{{"name": "subscription", "valueReference": {{"reference": "Subscription/1"}}}},
            {{"name": "status", "valueCode": "{status}"}}, {{"name": "type", "valueCode": "{kind}"}},
            {{"name": "events-since-subscription-start", "valueString": "{events}"}}]}}}}]}}"#
        ),
        _ => format!(
            r#"{{"resourceType": "Bundle", "type": "subscription-notification", "entry": [{{"resource":
            {{"resourceType": "SubscriptionStatus", "status": "{status}", "type": "{kind}",
            "eventsSinceSubscriptionStart": "{events}"}}}}]}}"#
        ),
    }
}

#[tokio::test]
async fn notifications_to_topics_are_understood_in_each_form() {
    for form in ["R4", "R5"] {
        let (_folder, _links, hooks) = hooks().await;
        let pullers = Pullers::new();
        let message = &hooks.all[0];
        let path = format!("/fhir/hooks/{}", message.path_token.expose_secret());
        let bearer = message.bearer.expose_secret();
        for (kind, status, events, wakes) in [
            ("handshake", "requested", 0, true),
            ("heartbeat", "active", 0, false),
            ("event-notification", "active", 1, true),
            ("event-notification", "active", 1, true),
            ("heartbeat", "active", 3, true),
            ("heartbeat", "error", 3, true),
        ] {
            let body = bundle(form, kind, status, events);
            assert_eq!(
                notify(&hooks, &pullers, "POST", &path, Some(bearer), body).await,
                200
            );
            assert_eq!(
                pullers.was_woken(&message.resource_type),
                wakes,
                "{form} {kind} {events}"
            );
        }
        let broken = tokio::time::timeout(Duration::ZERO, hooks.broken.notified());
        assert!(broken.await.is_ok(), "the error was noted");
    }
}

#[tokio::test]
async fn the_secrets_are_the_same_after_a_restart_and_differ_from_each_other() {
    let (_folder, links, before) = hooks().await;
    let after = Hooks::load(&links, &before.settings).await.unwrap();
    let mut all = Vec::new();
    for (before, after) in before.all.iter().zip(after.all.iter()) {
        for (before, after) in [
            (&before.path_token, &after.path_token),
            (&before.bearer, &after.bearer),
        ] {
            assert_eq!(before.expose_secret(), after.expose_secret());
            all.push(before.expose_secret().to_owned());
        }
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 2 * puller::TYPES.len());
    assert!(all.iter().all(|secret| secret.len() == 64));
}

#[tokio::test]
async fn the_settings_say_what_is_subscribed_to() {
    let wanted = async |settings: &str| {
        let (_folder, _links, hooks) = hooks_with(settings).await;
        let wanted = |resource_type: ResourceType| {
            let hook = hooks
                .all
                .iter()
                .find(|one| one.resource_type == resource_type);
            hooks.wanted(hook.unwrap())
        };
        (
            wanted(ResourceType::CareTeam),
            wanted(ResourceType::Communication),
        )
    };
    let (team, message) = wanted("").await;
    assert_eq!(team.unwrap().criteria, "CareTeam?");
    assert!(
        message
            .unwrap()
            .endpoint
            .expose_secret()
            .starts_with("http://127.0.0.1:1234/fhir/hooks/")
    );

    let (team, message) = wanted(
        "subscription: {kind: topic, topics: {Communication: 'http://x/t'}, filters: {Communication: ['a=b']}}",
    )
    .await;
    assert!(team.is_none(), "there is no topic for it");
    let topic = message.unwrap().topic.unwrap();
    assert_eq!(topic.url, "http://x/t");
    assert_eq!(topic.filters, ["Communication?a=b"]);

    let (team, message) = wanted("subscription: {kind: none}").await;
    assert!(team.is_none() && message.is_none());
}
