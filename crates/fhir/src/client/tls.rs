use std::{fs, path::PathBuf};

use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

/// Which certificates to trust, and which one to show. The files are read when the client is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// A file with the certificates (PEM) of the authorities to trust, in place of the operating system's.
    pub authorities: Option<PathBuf>,
    /// Our own certificate, for servers that ask for one.
    pub identity: Option<Identity>,
}

/// A certificate of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// A file with the certificate and those between it and its authority, as PEM.
    pub certificate: PathBuf,
    /// A file with its private key, as PEM.
    pub key: PathBuf,
}

/// A certificate or key that can't be used. It names the file, and never what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file can't be read.
    #[error("{} can't be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, std::io::ErrorKind),
    /// There is no certificate in it.
    #[error("{} holds no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// There is no private key in it.
    #[error("{} holds no private key in PEM", .0.display())]
    NoKey(PathBuf),
    /// The two don't go together.
    #[error("the certificate in {} and the key in {} can't be used together", .0.display(), .1.display())]
    Identity(PathBuf, PathBuf),
}

fn read(file: &PathBuf) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|error| TlsError::Unreadable(file.clone(), error.kind()))
}

fn certificates(file: &PathBuf) -> Result<(Vec<u8>, Vec<reqwest::Certificate>), TlsError> {
    let pem = read(file)?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(file.clone()));
    }
    Ok((pem, certificates))
}

impl Tls {
    pub(super) fn apply(
        &self,
        mut http: reqwest::ClientBuilder,
    ) -> Result<reqwest::ClientBuilder, TlsError> {
        if let Some(file) = &self.authorities {
            http = http.tls_certs_only(certificates(file)?.1);
        }
        if let Some(Identity { certificate, key }) = &self.identity {
            let (mut pem, _) = certificates(certificate)?;
            let key_pem = read(key)?;
            if PrivateKeyDer::from_pem_slice(&key_pem).is_err() {
                return Err(TlsError::NoKey(key.clone()));
            }
            pem.push(b'\n');
            pem.extend(key_pem);
            let identity = reqwest::Identity::from_pem(&pem)
                .map_err(|_| TlsError::Identity(certificate.clone(), key.clone()))?;
            http = http.identity(identity);
        }
        Ok(http)
    }
}
