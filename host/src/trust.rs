//! Whose signatures the host believes, and for which tenants.
//!
//! Handed what is signed and a signature of minisign, says whether somebody vouches for it who may. The comments of a
//! signature say nothing here, also the trusted one.
//! **Invariant:** where signatures are asked for, nothing passes without one by a key that was named for it.

use std::fmt;
use std::str::FromStr;

use minisign_verify::{Error as Minisign, PublicKey, Signature};

use crate::release::Subject;
use crate::route::Matcher;

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// The manifests and components of handlers.
    Handlers,
    /// `tenant.toml` and the middleware beside it.
    Tenant,
}

impl Signs {
    const ALL: [Self; 2] = [Self::Handlers, Self::Tenant];
    const EXPECTED: &str = "expected \"handlers\" or \"tenant\"";

    fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Handler(_) => Self::Handlers,
            Subject::Tenant(_) => Self::Tenant,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Handlers => "handlers",
            Self::Tenant => "tenant",
        }
    }
}

impl fmt::Display for Signs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Signs {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == text);
        found.ok_or(Self::EXPECTED)
    }
}

/// A public key of minisign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(PublicKey);

impl FromStr for Key {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let key = PublicKey::from_base64(text.trim());
        key.map(Self).map_err(|_| {
            "expected a public key of minisign: the 56 characters of the second line of its file .pub"
        })
    }
}

/// A key, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: Key,
    /// For which tenants it signs.
    pub tenants: Vec<Matcher>,
    /// What it signs of theirs.
    pub signs: Vec<Signs>,
}

impl TrustedKey {
    fn is_for(&self, subject: &Subject) -> bool {
        let tenant = subject.tenant().as_str();
        self.signs.contains(&Signs::of(subject)) && self.tenants.iter().any(|it| it.matches(tenant))
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// Who may sign; none where nothing needs to be signed.
    pub keys: Option<Vec<TrustedKey>>,
}

/// Why a signature is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Nobody may sign it.
    #[error(
        "no key of host.toml may sign it (add a [[trust]] there with the tenant's name and its public key, and \"{0}\" in signs)"
    )]
    Nobody(Signs),
    /// It cannot be read.
    #[error("it is no signature of minisign (write it with minisign -Sm)")]
    NoSignature,
    /// It is of the kind that is made of the whole file, not of its digest.
    #[error("it is one of minisign's old kind (sign with minisign -SHm, or with minisign 0.11)")]
    Legacy,
    /// Somebody else made it.
    #[error("it was made with a key that host.toml does not name for it")]
    Stranger,
    /// It was made for something else.
    #[error("it is not for what lies there: that was changed since it was signed")]
    Altered,
}

impl Trust {
    /// Returns whether somebody may sign this.
    pub fn has_key_for(&self, subject: &Subject) -> bool {
        self.keys.iter().flatten().any(|it| it.is_for(subject))
    }

    /// Returns whether anything has to be signed.
    pub fn is_required(&self) -> bool {
        self.keys.is_some()
    }

    /// Says whether a signature is one of somebody who may sign this.
    pub fn check(&self, subject: &Subject, signed: &[u8], signature: &str) -> Result<(), Distrust> {
        let keys = self.keys.iter().flatten();
        let keys: Vec<&TrustedKey> = keys.filter(|it| it.is_for(subject)).collect();
        if keys.is_empty() {
            return Err(Distrust::Nobody(Signs::of(subject)));
        }
        let signature = Signature::decode(signature).map_err(|_| Distrust::NoSignature)?;
        let mut why = Distrust::Stranger;
        for trusted in keys {
            match trusted.key.0.verify(signed, &signature, false) {
                Ok(()) => return Ok(()),
                Err(Minisign::UnexpectedKeyId) => {}
                Err(Minisign::UnexpectedAlgorithm) => why = Distrust::Legacy,
                Err(_) => why = Distrust::Altered,
            }
        }
        Err(why)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Made with minisign 0.11.
    const KEY: &str = "RWTjj36ejDxG+nfLAENzAyyTmGH3rzfBL5YSeVW5rPowz9G9nfn32hrH";
    const SIGNED: &[u8] = b"kafka-wasm-host release 1\ntenant acme\nhandler orders\n";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUTjj36ejDxG+k8UW6VxANYQlBJXwhehfjDgnzs2CCtujCbz7Yb8Bckp0zvw13nos9JPj7OTcSQok5GmE9r7QTLmJwafpSBa9gc=
trusted comment: by the tests
HAgMS7UQPhSsMkEPc86+dwcU3ys8hMCM42RhRxUG1KqlK2yJ1E4tbKzomXxZpku2I5vVFiUFjCoheIVCEA3YAQ==
";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWTjj36ejDxG+mD81LGNhiPTRqCVFXAMYA4UbiYVWcfS6T16pn+wrm63N9Qi7sFirWDE9sltfy7/V+G6LIkag+dPZivyCAMVIgo=
trusted comment: by the tests
b+9+KARLSSOE4qb9Vm3YTvylf1dyIXSfGaOHT2y03f7zZIn39Ih8gva/BslN0udg9BymCmeFNAhJghEDmnO0Bw==
";
    /// Another one.
    const STRANGER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn trusted(key: &str, tenants: &str, signs: Signs) -> TrustedKey {
        TrustedKey {
            key: key.parse().unwrap(),
            tenants: vec![tenants.parse().unwrap()],
            signs: vec![signs],
        }
    }

    fn subject() -> Subject {
        Subject::Handler("acme/orders".parse().unwrap())
    }

    fn check(keys: Vec<TrustedKey>, signed: &[u8], signature: &str) -> Result<(), Distrust> {
        let trust = Trust { keys: Some(keys) };
        trust.check(&subject(), signed, signature)
    }

    #[test]
    fn who_may_sign_is_believed_and_nobody_else() {
        let own = || trusted(KEY, "ac*", Signs::Handlers);
        let stranger = || trusted(STRANGER, "*", Signs::Handlers);
        assert_eq!(check(vec![own()], SIGNED, SIGNATURE), Ok(()));
        assert_eq!(check(vec![stranger(), own()], SIGNED, SIGNATURE), Ok(()));
        assert_eq!(
            check(vec![stranger()], SIGNED, SIGNATURE),
            Err(Distrust::Stranger)
        );
        for nobody in [
            vec![],
            vec![trusted(KEY, "other", Signs::Handlers)],
            vec![trusted(KEY, "acme", Signs::Tenant)],
        ] {
            assert_eq!(
                check(nobody, SIGNED, SIGNATURE),
                Err(Distrust::Nobody(Signs::Handlers))
            );
        }
    }

    #[test]
    fn what_is_not_what_was_signed_is_refused() {
        let check = |signed: &[u8], signature: &str| {
            check(vec![trusted(KEY, "*", Signs::Handlers)], signed, signature)
        };
        let mut altered = SIGNED.to_vec();
        altered.push(b'\n');
        assert_eq!(check(&altered, SIGNATURE), Err(Distrust::Altered));
        assert_eq!(check(SIGNED, LEGACY), Err(Distrust::Legacy));
        // The trusted comment is signed as well.
        let comment = SIGNATURE.replace("by the tests", "by others");
        assert_eq!(check(SIGNED, &comment), Err(Distrust::Altered));
        for bad in ["", "x", &SIGNATURE[..100], &SIGNATURE.replace("RUT", "RUS")] {
            assert!(check(SIGNED, bad).is_err(), "{bad}");
        }
        assert_eq!(check(SIGNED, "\n\n\n\n"), Err(Distrust::NoSignature));
    }

    #[test]
    fn nothing_is_asked_for_unless_it_is_said() {
        let tenant = Subject::Tenant("acme".parse().unwrap());
        assert!(!Trust::default().is_required());
        let keys = |keys| Trust { keys: Some(keys) };
        assert!(keys(vec![]).is_required());
        assert!(!keys(vec![trusted(KEY, "*", Signs::Handlers)]).has_key_for(&tenant));
        assert!(keys(vec![trusted(KEY, "*", Signs::Tenant)]).has_key_for(&tenant));
        assert!(!keys(vec![trusted(KEY, "b", Signs::Tenant)]).has_key_for(&tenant));
    }

    #[test]
    fn a_key_is_one_of_minisign() {
        assert!(KEY.parse::<Key>().is_ok());
        for bad in ["", "RWT", "untrusted comment: x", &KEY[..55], "é"] {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_other_signature_is_believed(at in 0usize..300, byte in any::<u8>(), text in any::<String>()) {
            let keys = || vec![trusted(KEY, "*", Signs::Handlers)];
            prop_assert!(check(keys(), SIGNED, &text).is_err());
            let mut bytes = SIGNATURE.as_bytes().to_vec();
            let start = SIGNATURE.find('\n').unwrap() + 1;
            let at = start + at % (bytes.len() - start - 1);
            let before = bytes[at];
            bytes[at] = byte;
            let changed = String::from_utf8_lossy(&bytes);
            if before != byte && !byte.is_ascii_whitespace() {
                prop_assert!(check(keys(), SIGNED, &changed).is_err(), "{}", changed);
            }
        }
    }
}
