//! How the host recognizes what it wrote: a digest with a key, HMAC-SHA256 as in RFC 2104.
//!
//! **Invariant:** who does not know the key cannot make a seal, and how long a comparison takes says nothing.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::tokens::is_same_secret;

/// The block of SHA-256.
const BLOCK: usize = 64;

/// What seals are made with.
#[derive(Clone)]
pub(super) struct SealKey([u8; Self::LEN]);

impl SealKey {
    pub(super) const LEN: usize = 32;

    /// Makes one that nobody knows.
    pub(super) fn random() -> io::Result<Self> {
        let mut key = [0; Self::LEN];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        Ok(Self(key))
    }

    /// Takes one that was kept; none where it has another length.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().map(Self).ok()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Seals a name, and what is read under it.
    pub(super) fn seal(&self, name: &[u8], content: &mut impl Read) -> io::Result<Seal> {
        let mut inner = self.begun(0x36);
        // Its length, so that no name and content look like others.
        inner.update(name.len().to_le_bytes());
        inner.update(name);
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = content.read(&mut bytes)?;
            match bytes.get(..read) {
                Some(read) if !read.is_empty() => inner.update(read),
                _ => break,
            }
        }
        Ok(self.ended(inner))
    }

    fn begun(&self, pad: u8) -> Sha256 {
        let mut digest = Sha256::new();
        digest.update(self.0.map(|byte| byte ^ pad));
        digest.update([pad; BLOCK - Self::LEN]);
        digest
    }

    fn ended(&self, inner: Sha256) -> Seal {
        let mut outer = self.begun(0x5c);
        outer.update(inner.finalize());
        Seal(outer.finalize().into())
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(***)")
    }
}

/// What was recognized.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal([u8; Self::LEN]);

impl Seal {
    pub(super) const LEN: usize = 32;

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; Self::LEN]> for Seal {
    fn from(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Seal {
    fn eq(&self, other: &Self) -> bool {
        is_same_secret(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealKey {
        SealKey([byte; SealKey::LEN])
    }

    /// A key of 32 bytes, from another implementation of HMAC-SHA256.
    #[test]
    fn it_is_hmac() {
        let mut inner = key(0x0b).begun(0x36);
        inner.update(b"Hi There");
        let seal = key(0x0b).ended(inner);
        let text = seal.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        let text: Vec<String> = text.collect();
        assert_eq!(
            text.concat(),
            "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7"
        );
    }

    #[test]
    fn key_name_and_content_count() {
        let seal =
            |byte, name: &[u8], mut content: &[u8]| key(byte).seal(name, &mut content).unwrap();
        assert!(seal(1, b"ab", b"c") == seal(1, b"ab", b"c"));
        assert!(seal(1, b"ab", b"c") != seal(2, b"ab", b"c"));
        assert!(seal(1, b"ab", b"c") != seal(1, b"a", b"bc"));
        assert!(seal(1, b"ab", b"c") != seal(1, b"ab", b"d"));
        assert_ne!(
            SealKey::random().unwrap().as_bytes(),
            SealKey::random().unwrap().as_bytes()
        );
        assert!(!format!("{:?}", key(7)).contains('7'));
    }
}
