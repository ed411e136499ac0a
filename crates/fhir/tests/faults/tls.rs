//! Certificates: whom we trust, and our own.

use std::{fs, path::Path, sync::Arc};

use fhir::{Error, FhirClient, Identity, SetupError, Tls};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// An authority, and what it has issued.
struct Authority {
    pem: String,
    der: rustls::pki_types::CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, purpose: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A certificate for a client in two files.
    fn client(&self, folder: &Path, name: &str) -> Identity {
        let (certificate, key) = self.issue(ExtendedKeyUsagePurpose::ClientAuth);
        let [certificate_file, key_file] =
            ["pem", "key"].map(|end| folder.join(format!("{name}.{end}")));
        fs::write(&certificate_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        Identity {
            certificate: certificate_file,
            key: key_file,
        }
    }

    /// Serves a `CapabilityStatement` to those who show a certificate of this authority; the base URL.
    async fn serve(&self) -> String {
        let _ = ring::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .unwrap();
        let (certificate, key) = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let body = r#"{"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}"#;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        format!("https://localhost:{port}/fhir")
    }
}

fn client(
    url: &str,
    authorities: &Path,
    identity: Option<Identity>,
) -> Result<FhirClient, SetupError> {
    let tls = Tls {
        authorities: Some(authorities.to_owned()),
        identity,
    };
    FhirClient::builder(url).tls(tls).build()
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_ours_and_lets_in_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (ours, other) = (Authority::new(), Authority::new());
    let [ca, other_ca] = ["ca.pem", "other.pem"].map(|name| folder.join(name));
    fs::write(&ca, &ours.pem).unwrap();
    fs::write(&other_ca, &other.pem).unwrap();
    let url = ours.serve().await;

    let own = ours.client(folder, "own");
    let right = client(&url, &ca, Some(own.clone())).unwrap();
    assert!(right.capability().await.unwrap().is_r4());

    for wrong in [
        client(&url, &ca, None),
        client(&url, &ca, Some(other.client(folder, "foreign"))),
        // A server that somebody else vouches for is not ours.
        client(&url, &other_ca, Some(own)),
    ] {
        let error = wrong.unwrap().capability().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn files_that_hold_no_certificate_or_key_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = Authority::new();
    let (ca, empty) = (folder.join("ca.pem"), folder.join("empty.pem"));
    fs::write(&ca, &authority.pem).unwrap();
    fs::write(&empty, "kanari").unwrap();
    let own = authority.client(folder, "own");
    let missing = folder.join("missing.pem");
    let url = "https://localhost:9/fhir";
    let with = |certificate: &Path, key: &Path| {
        let identity = Identity {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        client(url, &ca, Some(identity))
    };
    for (result, name) in [
        (client(url, &missing, None), "missing.pem can't be read"),
        (client(url, &empty, None), "empty.pem holds no certificate"),
        (with(&empty, &own.key), "empty.pem holds no certificate"),
        (
            with(&own.certificate, &empty),
            "empty.pem holds no private key",
        ),
        (
            with(&own.certificate, &missing),
            "missing.pem can't be read",
        ),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(name) && !error.contains("kanari"), "{error}");
    }
}
