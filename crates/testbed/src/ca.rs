//! The testbed's own certificate authority.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::files;
use crate::net::{HOMESERVERS, Net};

/// A CA and the one certificate it has issued, for all homeservers of a net.
///
/// The CA's key is never written and ends with this process: nothing else can be made to be trusted by it.
pub(crate) struct Ca {
    /// The CA's certificate, which a homeserver lists in `federation_custom_ca_list`.
    pub(crate) certificate: PathBuf,
    chain: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Ca {
    /// Makes a CA and a certificate for the three names and addresses; the CA's certificate becomes `ca.crt` in the folder.
    pub(crate) fn create(folder: &Path, net: Net) -> Result<Self> {
        let issuer = CertifiedIssuer::self_signed(ca_params(), KeyPair::generate()?)
            .context("cannot make the CA's certificate")?;
        let key = KeyPair::generate()?;
        let certificate = server_params(net)?
            .signed_by(&key, &issuer)
            .context("cannot make the homeservers' certificate")?;

        let path = folder.join("ca.crt");
        files::write_private(&path, &issuer.pem())?;
        Ok(Self {
            certificate: path,
            chain: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        })
    }

    /// How the proxy ends TLS.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.chain.clone()], self.key.clone_key())?;
        Ok(Arc::new(config))
    }
}

fn ca_params() -> CertificateParams {
    let mut params = valid_for_years();
    params
        .distinguished_name
        .push(DnType::CommonName, "testbed CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server_params(net: Net) -> Result<CertificateParams> {
    let mut params = valid_for_years();
    params
        .distinguished_name
        .push(DnType::CommonName, "testbed homeservers");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (name, host) in HOMESERVERS {
        let address = IpAddr::V4(net.address(host));
        params
            .subject_alt_names
            .push(SanType::DnsName(name.try_into()?));
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    Ok(params)
}

fn valid_for_years() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params
}

#[cfg(test)]
pub(crate) mod tests {
    use rustls::pki_types::ServerName;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;

    /// A client that trusts this CA and nobody else.
    pub(crate) fn client_config(ca: &Ca) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(&ca.certificate).unwrap();
        roots.add(root).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    fn handshake(server: &Ca, trusted: &Ca, name: &str) -> Result<(), rustls::Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(client_config(trusted), name)?;
        let mut server = ServerConnection::new(server.server_config().unwrap())?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn a_homeserver_is_believed_under_its_name_by_those_who_know_the_ca() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let net: Net = "127.7.8".parse().unwrap();
        let ca = Ca::create(folder.path(), net).unwrap();
        let stranger = Ca::create(other.path(), net).unwrap();

        for name in ["apotheek", "huisarts", "vvt", "127.7.8.13"] {
            handshake(&ca, &ca, name).unwrap();
        }
        handshake(&ca, &ca, "ziekenhuis").unwrap_err();
        handshake(&ca, &ca, "127.7.9.13").unwrap_err();
        handshake(&ca, &stranger, "huisarts").unwrap_err();
    }
}
