//! A federation list: which homeservers take part. Pure.
//!
//! Three forms are read: gematik's (`{"version": …, "domainList": [{"domain": …}]}`), a JSON list of names, and text
//! with a name in each line; each of them also signed, as a compact JWS.
//!
//! [gematik's form](https://github.com/gematik/api-vzd/blob/main/src/schema/FederationList.json),
//! [JWS](https://www.rfc-editor.org/rfc/rfc7515#section-3.1)

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use matrix_appservice::ruma::{OwnedServerName, ServerName};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A list that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FederationList {
    /// The number of its version, where it has one.
    pub(crate) version: Option<u64>,
    names: HashSet<OwnedServerName>,
    /// SHA-256 of names, in lower-case hexadecimal.
    hashes: HashSet<String>,
    /// Entries that are no names and were passed over.
    pub(crate) odd: usize,
}

/// Why a list can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadList {
    #[error(
        "it is neither JSON with `domainList`, nor a JSON list, nor text with a server name in each line"
    )]
    Form,
    #[error("it has no entry that is a server name")]
    Empty,
    #[error("its names are hashed in a way that is not known; SHA-256 is")]
    HashAlgorithm,
    #[error("it is not signed, and `policy.list.keys` asks for a signature")]
    Unsigned,
    #[error("it is signed, and there is no key to check that: name one in `policy.list.keys`")]
    NoKeys,
    #[error("its signature is of a kind that is not known; ES256 and EdDSA are")]
    Algorithm,
    #[error(
        "its signature was made by none of the keys in `policy.list.keys`, or it was changed since"
    )]
    Signature,
}

/// The public key of somebody who may sign lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// A point on P-256, uncompressed.
    Es256(Vec<u8>),
    /// A key of Ed25519.
    EdDsa(Vec<u8>),
}

impl Key {
    /// Reads a JWK; `None` when it is no public key of a kind that is known.
    ///
    /// [JWK](https://www.rfc-editor.org/rfc/rfc7518#section-6.2)
    pub(crate) fn parse(jwk: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Jwk {
            kty: String,
            crv: String,
            x: String,
            y: Option<String>,
        }
        let jwk: Jwk = serde_json::from_slice(jwk).ok()?;
        let number = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().filter(|x| x.len() == 32);
        let x = number(&jwk.x)?;
        match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("EC", "P-256") => {
                let y = number(jwk.y.as_deref()?)?;
                Some(Self::Es256([vec![4], x, y].concat()))
            }
            ("OKP", "Ed25519") => Some(Self::EdDsa(x)),
            _ => None,
        }
    }

    fn verifies(&self, algorithm: &str, signed: &[u8], signature: &[u8]) -> bool {
        let (own, how, key): (_, &'static dyn VerificationAlgorithm, _) = match self {
            Self::Es256(key) => ("ES256", &ECDSA_P256_SHA256_FIXED, key),
            Self::EdDsa(key) => ("EdDSA", &ED25519, key),
        };
        algorithm == own
            && UnparsedPublicKey::new(how, key)
                .verify(signed, signature)
                .is_ok()
    }
}

impl FederationList {
    /// Reads a list; with `keys`, only one that was signed with one of them.
    pub(crate) fn parse(bytes: &[u8], keys: &[Key]) -> Result<Self, BadList> {
        let text = str::from_utf8(bytes).map_err(|_| BadList::Form)?.trim();
        match Jws::split(text) {
            None if keys.is_empty() => Self::read(text),
            None => Err(BadList::Unsigned),
            Some(_) if keys.is_empty() => Err(BadList::NoKeys),
            Some(jws) => {
                let payload = jws.verified(keys)?;
                Self::read(str::from_utf8(&payload).map_err(|_| BadList::Form)?.trim())
            }
        }
    }

    /// Whether a homeserver is on it.
    pub(crate) fn has(&self, server: &ServerName) -> bool {
        self.names.contains(server)
            || (!self.hashes.is_empty()
                && self
                    .hashes
                    .contains(&format!("{:x}", Sha256::digest(server.as_str()))))
    }

    /// How many homeservers are on it.
    pub(crate) fn len(&self) -> usize {
        self.names.len() + self.hashes.len()
    }

    fn read(text: &str) -> Result<Self, BadList> {
        let mut list = Self::default();
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => {
                list.version = object.get("version").and_then(Value::as_u64);
                let hashed = match object.get("hashAlgorithm").and_then(Value::as_str) {
                    None => false,
                    Some(name) if is_sha256(name) => true,
                    Some(_) => return Err(BadList::HashAlgorithm),
                };
                let domains = object.get("domainList").and_then(Value::as_array);
                for domain in domains.ok_or(BadList::Form)? {
                    let name = domain.get("domain").unwrap_or(domain).as_str();
                    list.add(name.unwrap_or_default(), hashed);
                }
                // An empty list is one: nobody may any more.
                if list.len() == 0 && list.odd > 0 {
                    return Err(BadList::Empty);
                }
                return Ok(list);
            }
            Ok(Value::Array(names)) => {
                for name in names {
                    list.add(name.as_str().unwrap_or_default(), false);
                }
            }
            Ok(_) => return Err(BadList::Form),
            Err(_) => {
                for line in text.lines() {
                    let name = line.split('#').next().unwrap_or_default().trim();
                    if !name.is_empty() {
                        list.add(name, false);
                    }
                }
                // A page that says what went wrong has lines, too.
                if list.odd > list.len() {
                    return Err(BadList::Form);
                }
            }
        }
        if list.len() == 0 {
            return Err(BadList::Empty);
        }
        Ok(list)
    }

    fn add(&mut self, name: &str, hashed: bool) {
        let name = name.to_ascii_lowercase();
        if hashed {
            let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_hash {
                self.hashes.insert(name);
                return;
            }
        } else if let Ok(name) = ServerName::parse(name) {
            self.names.insert(name);
            return;
        }
        self.odd += 1;
    }
}

fn is_sha256(name: &str) -> bool {
    name.eq_ignore_ascii_case("SHA-256") || name.eq_ignore_ascii_case("SHA256")
}

/// A compact JWS, in its parts.
struct Jws<'a> {
    /// Header and payload, as they were signed.
    signed: &'a str,
    header: Vec<u8>,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Jws<'a> {
    /// `None` when it is none: its header has to be JSON that names an algorithm.
    fn split(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        serde_json::from_slice::<Header>(&header).ok()?;
        Some(Self {
            signed,
            header,
            payload,
            signature,
        })
    }

    fn verified(&self, keys: &[Key]) -> Result<Vec<u8>, BadList> {
        let header: Header = serde_json::from_slice(&self.header).map_err(|_| BadList::Form)?;
        // What it calls critical would have to be understood.
        if !["ES256", "EdDSA"].contains(&header.alg.as_str()) || header.crit.is_some() {
            return Err(BadList::Algorithm);
        }
        let signature = URL_SAFE_NO_PAD
            .decode(self.signature)
            .map_err(|_| BadList::Signature)?;
        keys.iter()
            .any(|key| key.verifies(&header.alg, self.signed.as_bytes(), &signature))
            .then_some(())
            .ok_or(BadList::Signature)?;
        URL_SAFE_NO_PAD
            .decode(self.payload)
            .map_err(|_| BadList::Form)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<Value>,
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
    };

    use super::*;

    fn has(list: &FederationList, server: &str) -> bool {
        list.has(&ServerName::parse(server).unwrap())
    }

    fn parse(text: &str) -> Result<FederationList, BadList> {
        FederationList::parse(text.as_bytes(), &[])
    }

    #[test]
    fn all_forms_are_read() {
        let hash = format!("{:x}", Sha256::digest("gp.example"));
        for text in [
            r#"{"version": 7, "domainList": [{"domain": "GP.example", "telematikID": "1-2", "isInsurance": false}, {"domain": "pharmacy.example:8448"}]}"#.to_owned(),
            r#"{"version": 7, "domainList": ["gp.example", "pharmacy.example:8448"]}"#.to_owned(),
            format!(r#"{{"version": 7, "hashAlgorithm": "SHA-256", "domainList": [{{"domain": "{hash}"}}, {{"domain": "{:x}"}}]}}"#, Sha256::digest("pharmacy.example:8448")),
            r#"["gp.example", "pharmacy.example:8448"]"#.to_owned(),
            "# those who take part\ngp.example\n\npharmacy.example:8448 # until May\n".to_owned(),
        ] {
            let list = parse(&text).unwrap();
            assert!(has(&list, "gp.example"), "{text}");
            assert!(has(&list, "pharmacy.example:8448"), "{text}");
            assert!(!has(&list, "pharmacy.example"), "{text}");
            assert_eq!((list.len(), list.odd), (2, 0));
            assert_eq!(list.version, text.contains("version").then_some(7));
        }
    }

    #[test]
    fn an_odd_entry_costs_only_itself_and_an_odd_list_is_none() {
        let list = parse(
            r#"{"domainList": [{"domain": "not a name"}, {"x": 1}, 7, {"domain": "gp.example"}]}"#,
        );
        let list = list.unwrap();
        assert_eq!((list.len(), list.odd), (1, 3));
        // Nobody may any more: that is a list.
        assert_eq!(
            parse(r#"{"version": 1, "domainList": []}"#).unwrap().len(),
            0
        );
        for (text, error) in [
            ("", BadList::Empty),
            ("[]", BadList::Empty),
            ("7", BadList::Form),
            ("{}", BadList::Form),
            (r#"{"domainList": 7}"#, BadList::Form),
            (r#"{"domainList": [7]}"#, BadList::Empty),
            (
                r#"{"domainList": [], "hashAlgorithm": "MD5"}"#,
                BadList::HashAlgorithm,
            ),
            ("<html>\n<body>Bad Gateway</body>\n</html>", BadList::Form),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        assert_eq!(FederationList::parse(b"\xff", &[]), Err(BadList::Form));
    }

    fn encoded(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// A list, signed; `sign` makes the signature.
    fn signed(header: &str, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(payload));
        let signature = encoded(sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    const LIST: &str = r#"{"version": 1, "domainList": [{"domain": "gp.example"}]}"#;

    #[test]
    fn a_signed_list_counts_only_with_the_right_signature() {
        let random = SystemRandom::new();
        let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, pair.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let jwk = format!(
            r#"{{"kty": "EC", "crv": "P-256", "x": "{}", "y": "{}"}}"#,
            encoded(&point[1..33]),
            encoded(&point[33..])
        );
        let own = Key::parse(jwk.as_bytes()).unwrap();
        let sign = |bytes: &[u8]| pair.sign(&random, bytes).unwrap().as_ref().to_vec();

        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ed = Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap();
        let jwk = format!(
            r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{}"}}"#,
            encoded(ed.public_key())
        );
        let other = Key::parse(jwk.as_bytes()).unwrap();
        let sign_other = |bytes: &[u8]| ed.sign(bytes).as_ref().to_vec();

        let good = signed(r#"{"alg": "ES256"}"#, LIST, sign);
        let read = |text: &str, keys: &[Key]| FederationList::parse(text.as_bytes(), keys);
        let list = read(&format!("{good}\n"), &[other.clone(), own.clone()]).unwrap();
        assert!(has(&list, "gp.example"));
        let by_other = signed(r#"{"alg": "EdDSA"}"#, LIST, sign_other);
        assert!(read(&by_other, std::slice::from_ref(&other)).is_ok());

        let own = [own];
        assert_eq!(read(&by_other, &own), Err(BadList::Signature));
        assert_eq!(read(LIST, &own), Err(BadList::Unsigned));
        assert_eq!(read(&good, &[]), Err(BadList::NoKeys));
        let parts: Vec<&str> = good.split('.').collect();
        let more = encoded(LIST.replace("gp.example", "any.example"));
        let forged = format!("{}.{more}.{}", parts[0], parts[2]);
        assert_eq!(read(&forged, &own), Err(BadList::Signature));
        let cut = format!("{}.{}.", parts[0], parts[1]);
        assert_eq!(read(&cut, &own), Err(BadList::Signature));
        for header in [
            r#"{"alg": "none"}"#,
            r#"{"alg": "BP256R1"}"#,
            r#"{"alg": "ES256", "crit": ["x"]}"#,
        ] {
            let odd = signed(header, LIST, sign);
            assert_eq!(read(&odd, &own), Err(BadList::Algorithm), "{header}");
        }
        // A key is used for its own algorithm only.
        let mixed = signed(r#"{"alg": "EdDSA"}"#, LIST, sign);
        assert_eq!(read(&mixed, &own), Err(BadList::Signature));
    }

    #[test]
    fn what_is_no_public_key_is_none() {
        for jwk in [
            "",
            "{}",
            r#"{"kty": "RSA", "n": "x", "e": "AQAB"}"#,
            r#"{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}"#,
            r#"{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}"#,
        ] {
            assert_eq!(Key::parse(jwk.as_bytes()), None, "{jwk}");
        }
    }
}
