//! Who gets in, what is refused, and what the page says.

use super::*;
use crate::ops::testing::{Asked, ORIGIN, TOKEN, World};

impl World {
    /// Logs in as a browser does; returns the cookie.
    async fn log_in(&self) -> String {
        let answer = self.post("/login", "", &format!("token={TOKEN}")).await;
        assert_eq!((answer.status, answer.header(header::LOCATION)), (303, "/"));
        let cookie = answer.header(header::SET_COOKIE);
        for property in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(property), "{cookie}");
        }
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Sends a form as our own page does.
    async fn post(&self, path: &str, cookie: &str, form: &str) -> Asked {
        let headers = [("origin", ORIGIN), ("cookie", cookie)];
        self.ask("POST", path, &headers, form).await
    }

    async fn see(&self, path: &str, cookie: &str) -> Asked {
        self.ask("GET", path, &[("cookie", cookie)], "").await
    }
}

/// The secret that stands in a page's forms.
fn secret(page: &Asked) -> String {
    let (_, rest) = page.body.split_once(r#"name="secret" value=""#).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn nobody_gets_in_without_the_token() {
    let world = World::new().await;
    for cookie in ["", "fhir_bridge_session=", "fhir_bridge_session=guess"] {
        let answer = world.see("/", cookie).await;
        assert_eq!(
            (answer.status, answer.header(header::LOCATION)),
            (303, "/login")
        );
        assert_eq!(world.see("/fragment", cookie).await.status, 401);
    }
    for wrong in ["token=", "token=wrong", "other=1"] {
        let answer = world.post("/login", "", wrong).await;
        assert_eq!(answer.status, 401, "{wrong}");
        assert_eq!(answer.header(header::SET_COOKIE), "");
        assert!(answer.body.contains("role=\"alert\""), "it says so");
    }
    let cookie = world.log_in().await;
    assert_eq!(world.see("/", &cookie).await.status, 200);
    assert_eq!(world.see("/fragment", &cookie).await.status, 200);

    let secret = secret(&world.see("/", &cookie).await);
    let out = world
        .post("/logout", &cookie, &format!("secret={secret}"))
        .await;
    assert_eq!(out.header(header::LOCATION), "/login");
    assert_eq!(world.see("/", &cookie).await.status, 303);
}

#[tokio::test]
async fn whoever_guesses_at_the_login_has_to_wait() {
    let world = World::new().await;
    for _ in 0..5 {
        assert_eq!(world.post("/login", "", "token=guess").await.status, 401);
    }
    let right = format!("token={TOKEN}");
    assert_eq!(world.post("/login", "", &right).await.status, 429);
}

#[tokio::test]
async fn over_tls_the_cookie_stays_there() {
    let world = World::new().await;
    let headers = [
        ("host", "ops.vvt.example"),
        ("origin", "https://ops.vvt.example"),
    ];
    let form = format!("token={TOKEN}");
    let answer = world.ask("POST", "/login", &headers, &form).await;
    assert!(answer.header(header::SET_COOKIE).ends_with("; Secure"));
}

#[tokio::test]
async fn dead_letters_are_retried_and_skipped_by_our_own_page_only() {
    let world = World::new().await;
    let [one, two] = [
        world.dead_letter("Communication/1/1", "{}").await,
        world.dead_letter("Communication/2/1", "{}").await,
    ];
    let cookie = world.log_in().await;
    let page = world.see("/", &cookie).await;
    assert!(page.body.contains("Communication/1/1"));
    let form = format!("secret={}", secret(&page));
    let retry = format!("/dead-letters/{one}/retry");
    let skip = format!("/dead-letters/{two}/skip");

    // Without the secret, with another one, from another page, from nowhere, without a login.
    for wrong in ["", "secret=", "secret=guess"] {
        assert_eq!(
            world.post(&retry, &cookie, wrong).await.status,
            403,
            "{wrong}"
        );
    }
    for origin in ["https://bad.example", "null", "http://127.0.0.1:9999"] {
        let headers = [("origin", origin), ("cookie", cookie.as_str())];
        let answer = world.ask("POST", &skip, &headers, &form).await;
        assert_eq!(answer.status, 403, "{origin}");
    }
    let no_origin = [("cookie", cookie.as_str())];
    assert_eq!(
        world.ask("POST", &skip, &no_origin, &form).await.status,
        403
    );
    assert_eq!(world.post(&skip, "", &form).await.status, 401);
    assert_eq!(world.see(&retry, &cookie).await.status, 405);
    let other = world.log_in().await;
    assert_eq!(
        world.post(&retry, &other, &form).await.status,
        403,
        "of another login"
    );
    let stats = async || world.desk.journal.stats().await.unwrap();
    assert_eq!((stats().await.dead, stats().await.waiting), (2, 0));

    let answer = world.post(&retry, &cookie, &form).await;
    assert_eq!(
        answer.header(header::LOCATION),
        "/?done=retried#dead-letters"
    );
    assert_eq!((stats().await.dead, stats().await.waiting), (1, 1));
    let answer = world.post(&skip, &cookie, &form).await;
    assert_eq!(
        answer.header(header::LOCATION),
        "/?done=skipped#dead-letters"
    );
    assert_eq!((stats().await.dead, stats().await.done), (0, 1));
    let answer = world.post(&skip, &cookie, &form).await;
    assert_eq!(answer.header(header::LOCATION), "/?done=gone#dead-letters");
    let said = world.see("/?done=gone", &cookie).await.body;
    assert!(said.contains("was not there any more"));
}

#[tokio::test]
async fn a_session_ends() {
    let world = World::new().await;
    let cookie = world.log_in().await;
    world.desk.sessions.end_all();
    assert_eq!(world.see("/", &cookie).await.status, 303);
}

#[tokio::test]
async fn the_browser_is_told_to_do_nothing_that_does_not_come_from_here() {
    let world = World::new().await;
    let cookie = world.log_in().await;
    for path in ["/", "/login", "/fragment", "/page.js"] {
        let answer = world.see(path, &cookie).await;
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    }
    let page = world.see("/", &cookie).await.body;
    for inline in ["<script>", " style=", "<style", " onclick=", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
}

#[tokio::test]
async fn hostile_values_are_shown_and_do_nothing() {
    let world = World::new().await;
    let hostile = r#""><script>alert(1)</script>'&"#;
    world.dead_letter(hostile, "content of a message").await;
    world
        .desk
        .components
        .set("fhirServer", Some(hostile.to_owned()));
    let cookie = world.log_in().await;
    let encoded: String = url::form_urlencoded::byte_serialize(hostile.as_bytes()).collect();
    let page = world
        .see(&format!("/?find={encoded}&done={encoded}"), &cookie)
        .await
        .body;
    assert!(!page.contains("<script>"), "{page}");
    assert_eq!(page.matches("&lt;script&gt;alert(1)").count(), 6, "{page}");
    assert!(
        !page.contains("content of a message"),
        "what it holds stays where it is"
    );
}

#[tokio::test]
async fn the_page_finds_the_room_of_a_resource_and_the_resource_of_a_room() {
    let world = World::new().await;
    world.link(None, "CareTeam/1", "!team:vvt").await;
    world.link(Some("north"), "CareTeam/2", "!north:vvt").await;
    let cookie = world.log_in().await;
    let all = world.see("/", &cookie).await.body;
    assert!(all.contains("!team:vvt") && all.contains("!north:vvt"));
    for find in ["CareTeam%2F2", "%21north:vvt"] {
        let found = world.see(&format!("/?find={find}"), &cookie).await.body;
        assert!(
            found.contains("!north:vvt") && found.contains("CareTeam/2"),
            "{find}"
        );
        assert!(!found.contains("!team:vvt"), "{find}");
    }
}

#[tokio::test]
async fn on_this_machine_no_token_is_asked_for_and_pages_of_others_are_kept_out() {
    let world = World::with(Access::ThisMachine).await;
    let id = world.dead_letter("Communication/1/1", "{}").await;
    let page = world.get("/").await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("Log out"));
    assert_eq!(world.get("/login").await.status, 303);
    let skip = format!("/dead-letters/{id}/skip");
    assert_eq!(world.post(&skip, "", "secret=guess").await.status, 403);
    // A name of somebody else's that leads to this machine.
    let rebound = [("host", "rebound.example:1233")];
    for path in ["/", "/api/v1/status"] {
        assert_eq!(
            world.ask("GET", path, &rebound, "").await.status,
            403,
            "{path}"
        );
    }
    let from_elsewhere = [("origin", "https://bad.example")];
    let api = format!("/api/v1/dead-letters/{id}/skip");
    assert_eq!(
        world.ask("POST", &api, &from_elsewhere, "").await.status,
        403
    );
    assert_eq!(world.desk.journal.stats().await.unwrap().dead, 1);
    let form = format!("secret={}", secret(&page));
    assert_eq!(world.post(&skip, "", &form).await.status, 303);
    assert_eq!(world.desk.journal.stats().await.unwrap().dead, 0);
}

#[tokio::test]
async fn without_a_token_nothing_but_health_and_metrics_is_told_to_others() {
    let world = World::with(Access::Nobody).await;
    for path in ["/", "/login", "/fragment", "/api/v1/status", "/page.js"] {
        assert_eq!(world.api("GET", path).await.status, 404, "{path}");
    }
    assert_eq!(world.get("/metrics").await.status, 200);
    assert_eq!(world.get("/actuator/health/liveness").await.status, 503);
}
