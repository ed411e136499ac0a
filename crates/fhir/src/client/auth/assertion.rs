//! The statement, signed with our private key, by which a token endpoint knows us.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html#authentication-jwt-header-values>

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::{SecureRandom, SystemRandom},
    rsa,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA384, RsaKeyPair},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::json;

/// How long a statement holds; the specification allows five minutes, and clocks differ.
const LIFETIME: Duration = Duration::from_mins(4);

/// A private key that can't be used. It names the file, and never what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file can't be read.
    #[error("{} can't be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, std::io::ErrorKind),
    /// There is no key in it.
    #[error("{} holds no private key in PEM", .0.display())]
    NoKey(PathBuf),
    /// It is not of a kind that SMART allows and that we know.
    #[error(
        "{} must hold an RSA key of 2048 to 8192 bits, or a P-384 key in PKCS#8 (`openssl pkcs8 -topk8 -nocrypt -in old.pem`)", .0.display()
    )]
    Kind(PathBuf),
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Random,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    P384(Box<EcdsaKeyPair>),
}

impl Key {
    fn load(file: &Path, random: &SystemRandom) -> Result<Self, KeyError> {
        let pem =
            fs::read(file).map_err(|error| KeyError::Unreadable(file.to_owned(), error.kind()))?;
        let key =
            PrivateKeyDer::from_pem_slice(&pem).map_err(|_| KeyError::NoKey(file.to_owned()))?;
        let kind = || KeyError::Kind(file.to_owned());
        match &key {
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
                    return Ok(Self::Rsa(Box::new(key)));
                }
                EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der, random)
                    .map(|key| Self::P384(Box::new(key)))
                    .map_err(|_| kind())
            }
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der())
                .map(|key| Self::Rsa(Box::new(key)))
                .map_err(|_| kind()),
            _ => Err(kind()),
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS384",
            Self::P384(_) => "ES384",
        }
    }

    fn sign(&self, message: &[u8], random: &SystemRandom) -> Result<Vec<u8>, KeyError> {
        match self {
            Self::Rsa(key) => {
                let public: &rsa::PublicKey = key.public();
                let mut signature = vec![0; public.modulus_len()];
                key.sign(&RSA_PKCS1_SHA384, random, message, &mut signature)
                    .map_err(|_| KeyError::Random)?;
                Ok(signature)
            }
            Self::P384(key) => key
                .sign(random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::Random),
        }
    }
}

/// Looks whether the key in a file can be used.
pub(super) fn check(file: &Path) -> Result<(), KeyError> {
    Key::load(file, &SystemRandom::new()).map(|_| ())
}

/// A signed statement that we are `client_id`, for this token endpoint, to be used once.
pub(super) fn signed(
    file: &Path,
    key_id: Option<&str>,
    client_id: &str,
    token_url: &str,
) -> Result<String, KeyError> {
    let random = SystemRandom::new();
    let key = Key::load(file, &random)?;
    let mut once = [0; 16];
    random.fill(&mut once).map_err(|_| KeyError::Random)?;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut header = json!({"alg": key.algorithm(), "typ": "JWT"});
    if let Some(key_id) = key_id {
        header["kid"] = key_id.into();
    }
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": token_url,
        "iat": now.as_secs(),
        "exp": (now + LIFETIME).as_secs(),
        "jti": URL_SAFE_NO_PAD.encode(once),
    });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes(), &random)?);
    Ok(format!("{message}.{signature}"))
}
