//! Texts that a file names instead of holding them: variables of the host's environment, files of its folder of secrets.
//!
//! Handed such a name, and what a tenant may use, says whether it may use that.
//! **Invariant:** a name of a file is no path, and no value is ever part of these types.

use std::collections::BTreeMap;
use std::fmt;

use crate::grants::listed;
use crate::route::Matcher;

/// What is printed in the place of a value.
pub const HIDDEN: &str = "***";

/// Where a text comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Secret {
    /// A variable of the host's environment.
    Env(Box<str>),
    /// A file in the host's folder of secrets.
    File(Box<str>),
}

/// Texts of a table that are said by name, by the names that they have there.
pub type Secrets = BTreeMap<String, Secret>;

/// Why a text is not the name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No environment has such a variable.
    #[error("{0:?} is no name of a variable (write one such as ACME_PASSWORD)")]
    Env(String),
    /// It is empty, hidden or a path.
    #[error(
        "{0:?} is no name of a file (name one that lies in the host's folder of secrets, without a path and not hidden)"
    )]
    File(String),
}

impl Secret {
    /// Reads the name of a variable.
    ///
    /// # Errors
    /// [`SecretError::Env`].
    pub fn env(name: &str) -> Result<Self, SecretError> {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(SecretError::Env(name.to_owned()));
        }
        Ok(Self::Env(name.into()))
    }

    /// Reads the name of a file.
    ///
    /// # Errors
    /// [`SecretError::File`].
    pub fn file(name: &str) -> Result<Self, SecretError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(SecretError::File(name.to_owned()));
        }
        Ok(Self::File(name.into()))
    }
}

impl fmt::Display for Secret {
    /// Writes it as files have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "{{ env = {name:?} }}"),
            Self::File(name) => write!(f, "{{ file = {name:?} }}"),
        }
    }
}

/// What a tenant may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MayUse {
    /// Variables of the environment.
    pub env: Vec<Matcher>,
    /// Files of the folder of secrets.
    pub files: Vec<Matcher>,
}

impl MayUse {
    /// Returns why a tenant may not use a secret, if it may not.
    pub fn refusal(&self, secret: &Secret) -> Option<String> {
        let (list, granted, name) = match secret {
            Secret::Env(name) => ("secrets.env", &self.env, name),
            Secret::File(name) => ("secrets.files", &self.files, name),
        };
        let is_granted = granted.iter().any(|it| it.matches(name));
        (!is_granted).then(|| {
            let granted = listed(granted);
            format!("is not granted: {list} has {granted} (add {name:?} there, or name another)")
        })
    }

    /// Lists what is granted, each as the name of its list and what stands there.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let lists = [("secrets.env", &self.env), ("secrets.files", &self.files)];
        let lines = lists.into_iter();
        lines.flat_map(|(list, granted)| granted.iter().map(move |it| format!("{list} {it}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_of_a_file_is_no_path() {
        for bad in ["", ".", "..", "..data", ".x", "a/b", "/a", "a\\b", "a\0"] {
            assert!(Secret::file(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            Secret::file("a.b-c").unwrap().to_string(),
            "{ file = \"a.b-c\" }"
        );
        for bad in ["", "A=B", "A\0"] {
            assert!(Secret::env(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Secret::env("A_B").unwrap().to_string(), "{ env = \"A_B\" }");
    }

    #[test]
    fn what_is_not_granted_is_told_with_its_list() {
        let may = MayUse {
            env: vec!["ACME_*".parse().unwrap()],
            files: Vec::new(),
        };
        assert_eq!(may.refusal(&Secret::env("ACME_KEY").unwrap()), None);
        assert_eq!(
            may.refusal(&Secret::env("HOME").unwrap()).unwrap(),
            "is not granted: secrets.env has \"ACME_*\" (add \"HOME\" there, or name another)"
        );
        assert_eq!(
            may.refusal(&Secret::file("ACME_KEY").unwrap()).unwrap(),
            "is not granted: secrets.files has nothing (add \"ACME_KEY\" there, or name another)"
        );
        assert_eq!(may.lines().collect::<Vec<_>>(), ["secrets.env ACME_*"]);
    }

    proptest! {
        /// However names are written, none leaves the folder that it is looked for in.
        #[test]
        fn no_name_leaves_the_folder(name in "[a./\\\\]{0,6}") {
            if Secret::file(&name).is_ok() {
                let path = std::path::Path::new("folder").join(&name);
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("folder")));
                prop_assert_eq!(path.components().count(), 2);
            }
        }
    }
}
