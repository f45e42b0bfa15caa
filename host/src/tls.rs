//! TLS of the HTTP address, by OpenSSL as librdkafka has it.
//!
//! Handed the files of a certificate and its key; makes what connections begin with, and what a client trusts.
//! **Invariant:** what exists can be served with: the files were read and go together. TLS 1.2 is the oldest. A certificate that
//! is renewed is that of all clones.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use native_tls::{Certificate, Identity, Protocol, TlsAcceptor, TlsConnector};
use parking_lot::RwLock;

/// See the module.
#[derive(Clone)]
pub struct Tls {
    /// The certificate and its key.
    files: [PathBuf; 2],
    acceptor: Arc<RwLock<tokio_native_tls::TlsAcceptor>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads a certificate, with those that lead to a root behind it, and its key, both in PEM. The error names the file.
    pub(crate) fn read(cert: &Path, key: &Path) -> Result<Self, String> {
        let (cert_pem, key_pem) = (read(cert)?, read(key)?);
        let unfit = |error: native_tls::Error| {
            format!(
                "{} and {}: these are no certificate and its key: {error} (expected PEM, the key in PKCS #8: openssl pkcs8 -topk8 \
                 -nocrypt)",
                cert.display(),
                key.display()
            )
        };
        let identity = Identity::from_pkcs8(&cert_pem, &key_pem).map_err(unfit)?;
        let acceptor = TlsAcceptor::builder(identity)
            .min_protocol_version(Some(Protocol::Tlsv12))
            .build()
            .map_err(unfit)?;
        Ok(Self {
            files: [cert, key].map(Path::to_owned),
            acceptor: Arc::new(RwLock::new(acceptor.into())),
        })
    }

    /// Returns what begins connections.
    pub(crate) fn acceptor(&self) -> tokio_native_tls::TlsAcceptor {
        self.acceptor.read().clone()
    }

    /// Takes up what the same files hold by now; connections that have begun go on as they are.
    pub(crate) fn renew(&self, new: &Self) {
        if self.files == new.files {
            *self.acceptor.write() = new.acceptor();
        }
    }
}

/// Returns what a client trusts: the roots of the system, and those of a file.
pub(crate) fn connector(roots: Option<&Path>) -> Result<TlsConnector, String> {
    let mut builder = TlsConnector::builder();
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    if let Some(path) = roots {
        let wrong = |error: &dyn fmt::Display| {
            format!(
                "{}: these are no certificates in PEM: {error}",
                path.display()
            )
        };
        let found = Certificate::stack_from_pem(&read(path)?).map_err(|error| wrong(&error))?;
        if found.is_empty() {
            return Err(wrong(&"there is none in it"));
        }
        for root in found {
            builder.add_root_certificate(root);
        }
    }
    builder.build().map_err(|error| error.to_string())
}

/// Returns a client that talks to whoever answers: only what nobody need be kept from knowing may be asked so.
pub(crate) fn credulous_connector() -> Result<TlsConnector, String> {
    TlsConnector::builder()
        .danger_accept_invalid_certs(true)
        .danger_accept_invalid_hostnames(true)
        .build()
        .map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_certificate_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let told = Tls::read(&cert, &key).unwrap_err();
        assert!(told.contains("cert.pem: cannot be read"), "{told}");
        fs::write(&cert, "no").unwrap();
        fs::write(&key, "no").unwrap();
        let told = Tls::read(&cert, &key).unwrap_err();
        assert!(
            told.contains("cert.pem and ") && told.contains("key.pem"),
            "{told}"
        );
        assert!(connector(Some(&cert)).unwrap_err().contains("cert.pem"));
        assert!(connector(None).is_ok());
    }
}
