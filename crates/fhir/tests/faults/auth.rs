//! Showing who we are: tokens that end, are refused and are fetched, with secrets and with signed statements.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose};
use fhir::{
    Auth, ClientCredentials, Error, FhirClient, Proof, ResourceType, Retry, Secret, SetupError,
};
use rcgen::PublicKeyData as _;
use ring::signature::{
    ECDSA_P384_SHA384_FIXED, KeyPair as _, RSA_PKCS1_2048_8192_SHA384, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use testbed::{Fault, FhirStub};

const RSA: &str = include_str!("for-tests-only.pem");

/// A token endpoint that believes nobody without proof.
#[derive(Clone)]
struct TokenServer {
    url: String,
    state: Arc<Mutex<Issued>>,
    fhir: FhirStub,
}

#[derive(Default)]
struct Issued {
    /// The algorithm, and the key that statements have to be signed with.
    key: Option<(&'static str, Vec<u8>)>,
    used: Vec<String>,
    count: usize,
    lifetime: Option<u64>,
    refuse: Option<u16>,
    forms: Vec<HashMap<String, String>>,
    basic: Vec<String>,
}

impl TokenServer {
    async fn start(fhir: &FhirStub) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let server = Self {
            url,
            state: Arc::default(),
            fhir: fhir.clone(),
        };
        let router = Router::new()
            .route("/token", post(token))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    fn count(&self) -> usize {
        self.state.lock().unwrap().count
    }

    /// Lets the FHIR server name this endpoint.
    fn announce(&self) {
        let answer = json!({"token_endpoint": self.url});
        let path = ".well-known/smart-configuration";
        self.fhir
            .plan(usize::MAX, "GET", path, Fault::Answer(answer));
    }

    fn trust(&self, algorithm: &'static str, key: &[u8]) {
        self.state.lock().unwrap().key = Some((algorithm, key.to_vec()));
    }
}

async fn token(State(server): State<TokenServer>, headers: HeaderMap, body: String) -> Response {
    // So that others come while it takes.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut issued = server.state.lock().unwrap();
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    if let Some(status) = issued.refuse {
        let json = Json(json!({"error": "invalid_client", "error_description": "canary"}));
        let status = StatusCode::from_u16(status).unwrap();
        return (status, [("retry-after", "9")], json).into_response();
    }
    if let Some((algorithm, key)) = issued.key.clone() {
        let statement = form["client_assertion"].clone();
        if let Err(what) = verify(&statement, algorithm, &key, &server.url, &mut issued.used) {
            let json = Json(json!({"error": "invalid_client", "error_description": what}));
            return (StatusCode::BAD_REQUEST, json).into_response();
        }
    }
    if let Some(basic) = headers.get("authorization") {
        let basic = basic.to_str().unwrap().strip_prefix("Basic ").unwrap();
        let basic = general_purpose::STANDARD.decode(basic).unwrap();
        issued.basic.push(String::from_utf8(basic).unwrap());
    }
    issued.forms.push(form);
    issued.count += 1;
    let token = format!("token-{}", issued.count);
    server.fhir.require_token(Some(&token));
    let mut json = json!({"access_token": token, "token_type": "Bearer"});
    if let Some(lifetime) = issued.lifetime {
        json["expires_in"] = lifetime.into();
    }
    Json(json).into_response()
}

/// As <https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html> asks of a server.
fn verify(
    statement: &str,
    algorithm: &str,
    key: &[u8],
    audience: &str,
    used: &mut Vec<String>,
) -> Result<(), &'static str> {
    let (message, signature) = statement.rsplit_once('.').ok_or("no signature")?;
    let decode = |part: &str| general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    let verification: &dyn VerificationAlgorithm = match algorithm {
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        _ => &ECDSA_P384_SHA384_FIXED,
    };
    UnparsedPublicKey::new(verification, key)
        .verify(message.as_bytes(), &decode(signature))
        .map_err(|_| "wrong signature")?;
    let (header, claims) = message.split_once('.').unwrap();
    let [header, claims]: [Value; 2] =
        [header, claims].map(|part| serde_json::from_slice(&decode(part)).unwrap());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let ends = claims["exp"].as_u64().unwrap();
    let once = claims["jti"].as_str().unwrap().to_owned();
    let right = header["alg"] == algorithm
        && header["typ"] == "JWT"
        && header["kid"] == "key-1"
        && claims["iss"] == "the-bridge"
        && claims["sub"] == "the-bridge"
        && claims["aud"] == audience
        && ends > now
        && ends <= now + 300
        && once.len() >= 16
        && !used.contains(&once);
    used.push(once);
    if right { Ok(()) } else { Err("wrong claims") }
}

/// An elliptic key in a file; its public part.
fn p384(file: &Path) -> Vec<u8> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    fs::write(file, key.serialize_pem()).unwrap();
    key.der_bytes().to_vec()
}

fn smart(fhir: &FhirStub, key: PathBuf) -> FhirClient {
    let credentials = ClientCredentials {
        token_url: None,
        client_id: "the-bridge".into(),
        proof: Proof::SignedJwt {
            key,
            key_id: Some("key-1".into()),
        },
        scope: Some("system/*.cruds".into()),
    };
    client(fhir, Auth::Client(credentials)).unwrap()
}

fn client(fhir: &FhirStub, auth: Auth) -> Result<FhirClient, SetupError> {
    FhirClient::builder(fhir.url().as_str()).auth(auth).build()
}

async fn call(client: &FhirClient) -> Result<(), Error> {
    client.count(&ResourceType::Communication).await.map(|_| ())
}

#[tokio::test]
async fn a_signed_statement_gets_a_token_with_both_kinds_of_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let fhir = FhirStub::start().await.unwrap();
    let tokens = TokenServer::start(&fhir).await;
    tokens.announce();

    tokens.trust("ES384", &p384(&key));
    call(&smart(&fhir, key.clone())).await.unwrap();

    fs::write(&key, RSA).unwrap();
    let der = PrivatePkcs8KeyDer::from_pem_slice(RSA.as_bytes()).unwrap();
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    tokens.trust("RS384", pair.public_key().as_ref());
    call(&smart(&fhir, key)).await.unwrap();

    let state = tokens.state.lock().unwrap();
    assert_eq!(state.forms.len(), 2);
    for form in &state.forms {
        assert_eq!(form["grant_type"], "client_credentials");
        assert_eq!(form["scope"], "system/*.cruds");
        assert_eq!(
            form["client_assertion_type"],
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
    }
}

#[tokio::test]
async fn one_token_is_fetched_for_all_and_a_refused_one_is_replaced_once() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let fhir = FhirStub::start().await.unwrap();
    let tokens = TokenServer::start(&fhir).await;
    tokens.announce();
    tokens.trust("ES384", &p384(&key));
    let client = smart(&fhir, key.clone());
    let at_once = async || {
        let calls = (0..10).map(|_| {
            let client = client.clone();
            tokio::spawn(async move { call(&client).await })
        });
        let calls: Vec<_> = calls.collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
    };
    at_once().await;
    assert_eq!(tokens.count(), 1, "the others waited for it");

    // The server forgets the token, and meanwhile trusts another key alone.
    tokens.trust("ES384", &p384(&key));
    fhir.require_token(Some("another"));
    at_once().await;
    assert_eq!(tokens.count(), 2, "all were refused with the same one");

    // It refuses whatever we show: told after one repetition.
    let _ = fhir.take_seen();
    fhir.plan(2, "POST", "Communication/_search", Fault::Refuse(401, None));
    let error = call(&client).await.unwrap_err();
    assert!(
        matches!(error, Error::Unauthorized { status: 401, .. }),
        "{error}"
    );
    assert_eq!(fhir.take_seen().len(), 2);
    assert_eq!(tokens.count(), 3);
    assert_eq!(error.retry(), Retry::Later(None));

    // What somebody isn't allowed to do, another token doesn't change.
    fhir.plan(1, "POST", "Communication/_search", Fault::Refuse(403, None));
    assert!(call(&client).await.is_err());
    assert_eq!(tokens.count(), 3);
}

#[tokio::test]
async fn a_token_is_replaced_before_it_ends() {
    let fhir = FhirStub::start().await.unwrap();
    let tokens = TokenServer::start(&fhir).await;
    tokens.state.lock().unwrap().lifetime = Some(2);
    let client = client(&fhir, with_secret(&tokens, Proof::Post(given("x")))).unwrap();
    call(&client).await.unwrap();
    call(&client).await.unwrap();
    assert_eq!(tokens.count(), 1);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    // The token endpoint is away, and the old token still holds.
    tokens.state.lock().unwrap().refuse = Some(503);
    call(&client).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let error = call(&client).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later(Some(Duration::from_secs(9))));
    tokens.state.lock().unwrap().refuse = None;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    call(&client).await.unwrap();
    assert_eq!(tokens.count(), 2);
    assert_eq!(fhir.take_seen().len(), 4, "nobody was refused");
}

fn given(secret: &str) -> Secret {
    Secret::Given(secret.to_owned().into())
}

fn with_secret(tokens: &TokenServer, proof: Proof) -> Auth {
    Auth::Client(ClientCredentials {
        token_url: Some(tokens.url.clone()),
        client_id: "a bridge".into(),
        proof,
        scope: None,
    })
}

#[tokio::test]
async fn a_secret_is_sent_in_the_header_or_in_the_body_and_never_told() {
    let fhir = FhirStub::start().await.unwrap();
    let tokens = TokenServer::start(&fhir).await;
    let secret = "kanari: é+%";
    for proof in [Proof::Basic(given(secret)), Proof::Post(given(secret))] {
        let auth = with_secret(&tokens, proof);
        assert!(!format!("{auth:?}").contains("kanari"));
        call(&client(&fhir, auth).unwrap()).await.unwrap();
    }
    {
        let state = tokens.state.lock().unwrap();
        assert_eq!(state.basic, ["a+bridge:kanari%3A+%C3%A9%2B%25"]);
        assert!(!state.forms[0].contains_key("client_secret"));
        assert_eq!(state.forms[1]["client_secret"], secret);
        assert_eq!(state.forms[1]["client_id"], "a bridge");
    }
    tokens.state.lock().unwrap().refuse = Some(401);
    let client = client(&fhir, with_secret(&tokens, Proof::Post(given(secret)))).unwrap();
    let error = call(&client).await.unwrap_err();
    assert!(
        matches!(error, Error::Unauthorized { status: 401, .. }),
        "{error}"
    );
    let told = format!("{error} {error:?}");
    assert!(
        !told.contains("kanari") && !told.contains("canary"),
        "{told}"
    );
}

#[tokio::test]
async fn a_token_in_a_file_is_read_again_when_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "first\n").unwrap();
    let fhir = FhirStub::start().await.unwrap();
    fhir.require_token(Some("first"));
    let client = client(&fhir, Auth::Bearer(Secret::File(file.clone()))).unwrap();
    call(&client).await.unwrap();
    fs::write(&file, "second").unwrap();
    fhir.require_token(Some("second"));
    call(&client).await.unwrap();
    let seen: Vec<_> = fhir
        .take_seen()
        .into_iter()
        .map(|seen| seen.authorization.unwrap())
        .collect();
    assert_eq!(seen, ["Bearer first", "Bearer first", "Bearer second"]);
}

#[tokio::test]
async fn what_cannot_work_is_told_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let fhir = FhirStub::start().await.unwrap();
    let setup = |auth| client(&fhir, auth).unwrap_err().to_string();
    let with_key = |token_url: Option<&str>| {
        Auth::Client(ClientCredentials {
            token_url: token_url.map(str::to_owned),
            client_id: "a".into(),
            proof: Proof::SignedJwt {
                key: file.clone(),
                key_id: None,
            },
            scope: None,
        })
    };
    let path = file.display().to_string();
    for (content, words) in [
        (None, "can't be read"),
        (Some("kanari"), "holds no private key"),
        (
            Some("-----BEGIN PRIVATE KEY-----\nMAUCAQAwAA==\n-----END PRIVATE KEY-----\n"),
            "RSA key of 2048",
        ),
    ] {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let error = setup(with_key(None));
        assert!(error.contains(words) && error.contains(&path), "{error}");
        assert!(!error.contains("kanari"));
    }
    fs::write(&file, RSA).unwrap();
    let error = setup(with_key(Some("http://elsewhere.example/token")));
    assert!(error.contains("https://"), "{error}");
    fs::write(&file, " \n").unwrap();
    assert!(setup(Auth::Bearer(Secret::File(file.clone()))).contains("is empty"));
    let variable = Secret::Env("A_VARIABLE_THAT_NOBODY_HAS".into());
    assert!(setup(Auth::Bearer(variable)).contains("A_VARIABLE_THAT_NOBODY_HAS"));
    assert!(fhir.take_seen().is_empty());
}

#[tokio::test]
async fn a_server_that_names_no_token_endpoint_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    fs::write(&key, RSA).unwrap();
    let fhir = FhirStub::start().await.unwrap();
    let error = call(&smart(&fhir, key.clone()))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(".well-known/smart-configuration"), "{error}");
    let path = ".well-known/smart-configuration";
    let evil = json!({"token_endpoint": "http://elsewhere.example/token"});
    fhir.plan(1, "GET", path, Fault::Answer(evil));
    let error = call(&smart(&fhir, key)).await.unwrap_err().to_string();
    assert!(error.contains("https"), "{error}");
}

#[tokio::test]
async fn a_strict_server_gets_the_media_type_that_it_wants() {
    let fhir = FhirStub::start().await.unwrap();
    let strict = "application/fhir+json; fhirVersion=4.0";
    let client = FhirClient::builder(fhir.url().as_str())
        .media_type(strict)
        .build()
        .unwrap();
    call(&client).await.unwrap();
    let missing = fhir::ResourceRef::parse("Patient/1").unwrap();
    client
        .update(&json!({"resourceType": "Patient", "id": "1"}), None)
        .await
        .unwrap();
    let _ = client.read(&missing).await.unwrap();
    let seen = fhir.take_seen();
    assert!(
        seen.iter()
            .all(|seen| seen.accept.as_deref() == Some(strict))
    );
    assert_eq!(
        seen[0].content_type.as_deref(),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(seen[1].content_type.as_deref(), Some(strict));
}
