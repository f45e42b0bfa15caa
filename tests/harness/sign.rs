//! Signatures as minisign makes them, by keys of a test's own.
//!
//! **Invariant:** what is signed here is what minisign 0.11 would have signed; the host's own tests hold one of its signatures.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use openssl::base64::encode_block;
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{PKey, Private};
use openssl::rand::rand_bytes;
use openssl::sign::Signer as Signing;

use crate::host::command;

const TRUSTED: &str = "by a claim";

/// A key pair.
#[derive(Debug)]
pub struct Signer {
    key: PKey<Private>,
    id: [u8; 8],
}

impl Signer {
    /// One that nobody else has.
    pub fn new() -> Result<Self> {
        let mut id = [0; 8];
        rand_bytes(&mut id)?;
        let key = PKey::generate_ed25519()?;
        Ok(Self { key, id })
    }

    /// The public key, as host.toml has it.
    pub fn public_key(&self) -> Result<String> {
        let key = self.key.raw_public_key()?;
        Ok(encode_block(&[b"Ed", &self.id[..], &key].concat()))
    }

    /// Signs the digest of a text; returns the file of the signature.
    pub fn sign(&self, text: &[u8]) -> Result<String> {
        let digest = MessageDigest::from_name("blake2b512").context("OpenSSL has no BLAKE2")?;
        self.signature(b"ED", &hash(digest, text)?)
    }

    /// Signs the text itself, as old minisigns did.
    pub fn sign_legacy(&self, text: &[u8]) -> Result<String> {
        self.signature(b"Ed", text)
    }

    fn signature(&self, algorithm: &[u8], signed: &[u8]) -> Result<String> {
        let signature = self.ed25519(signed)?;
        let global = self.ed25519(&[&signature, TRUSTED.as_bytes()].concat())?;
        let signature = encode_block(&[algorithm, &self.id, &signature].concat());
        let global = encode_block(&global);
        Ok(format!(
            "untrusted comment: of a claim\n{signature}\ntrusted comment: {TRUSTED}\n{global}\n"
        ))
    }

    fn ed25519(&self, text: &[u8]) -> Result<Vec<u8>> {
        Ok(Signing::new_without_digest(&self.key)?.sign_oneshot_to_vec(text)?)
    }

    /// Signs the files of a handler in a handlers folder, as its user does.
    pub fn release(&self, folder: &Path, handler: &str) -> Result<()> {
        let text = release_text(folder, &[handler])?;
        self.put(&folder.join(handler).join("handler.release"), &text)
    }

    /// Signs the file of a tenant, and the middleware beside it.
    pub fn release_tenant(&self, folder: &Path, tenant: &str) -> Result<()> {
        let text = release_text(folder, &["--tenant", tenant])?;
        self.put(&folder.join(tenant).join("tenant.release"), &text)
    }

    /// Writes a text, and its signature beside it.
    pub fn put(&self, file: &Path, text: &str) -> Result<()> {
        fs::write(file, text)?;
        let signature = self.sign(text.as_bytes())?;
        fs::write(file.with_added_extension("minisig"), signature)?;
        Ok(())
    }
}

/// What is to be signed, as the host's command prints it.
pub fn release_text(folder: &Path, args: &[&str]) -> Result<String> {
    let mut release: Command = command("release")?;
    let output = release.arg(folder).args(args).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
