//! Who may ask what of the control API: the tokens that the operator has given out.
//!
//! Handed the text of the file, a line a token: its name, its role, and the SHA-256 of the token in hexadecimal digits. The
//! tokens themselves are nowhere on the host.
//! **Invariant:** a token is looked for in the same time wherever it stands in the file, and whether it is there.

use std::hint::black_box;

use sha2::{Digest as _, Sha256};

use crate::ids::TenantId;

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// To look at everything.
    Read,
    /// To look at the handlers of a tenant and to change them.
    Deploy(TenantId),
    /// Everything.
    Admin,
}

impl Role {
    /// Returns whether it may look at the handlers of a tenant; without one, whether it may look at all of them.
    pub fn may_read(&self, tenant: Option<&TenantId>) -> bool {
        match self {
            Self::Read | Self::Admin => true,
            Self::Deploy(own) => tenant == Some(own),
        }
    }

    /// Returns whether it may change the handlers of a tenant.
    pub fn may_change(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Read => false,
            Self::Deploy(own) => tenant == own,
            Self::Admin => true,
        }
    }
}

/// A token as the host knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whom the audit names.
    pub name: String,
    /// What it is good for.
    pub role: Role,
    digest: [u8; 32],
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Reads the file. The error holds everything that is wrong, with the number of the line; a digest is not in it.
    pub fn parse(text: &str) -> Result<Self, Vec<(usize, String)>> {
        let (mut tokens, mut problems) = (Vec::<Token>::new(), Vec::new());
        let lines = (1..).zip(text.lines().map(str::trim));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            match token(line) {
                Ok(token) if tokens.iter().any(|it| it.name == token.name) => {
                    problems.push((
                        number,
                        format!("there are two tokens of the name {}", token.name),
                    ));
                }
                Ok(token) => tokens.push(token),
                Err(why) => problems.push((number, why)),
            }
        }
        if tokens.is_empty() && problems.is_empty() {
            problems.push((1, format!("there is no token in it ({EXPECTED})")));
        }
        if problems.is_empty() {
            Ok(Self(tokens))
        } else {
            Err(problems)
        }
    }

    /// Finds the token that somebody shows.
    pub fn find(&self, shown: &[u8]) -> Option<&Token> {
        let digest: [u8; 32] = Sha256::digest(shown).into();
        let mut found = None;
        for token in &self.0 {
            if is_same_secret(&token.digest, &digest) {
                found = Some(token);
            }
        }
        found
    }
}

/// Compares what must not be guessed byte by byte: every byte is looked at, whatever the first ones are.
pub(crate) fn is_same_secret(known: &[u8; 32], shown: &[u8; 32]) -> bool {
    let pairs = known.iter().zip(shown);
    let differs = pairs.fold(0, |differs, (known, shown)| differs | (known ^ shown));
    black_box(differs) == 0
}

const EXPECTED: &str = "expected a line such as: ann deploy:acme <sha256 of the token>, with the role read, deploy:<tenant> or admin";

fn token(line: &str) -> Result<Token, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, role, digest] = words.as_slice() else {
        return Err(format!("this is no token ({EXPECTED})"));
    };
    let role = match (*role, role.strip_prefix("deploy:")) {
        ("read", _) => Role::Read,
        ("admin", _) => Role::Admin,
        (_, Some(tenant)) => {
            let tenant = tenant.parse();
            Role::Deploy(tenant.map_err(|error| format!("the tenant of {name}: {error}"))?)
        }
        _ => return Err(format!("{name} has no role that there is ({EXPECTED})")),
    };
    let digest = digest_of(digest).ok_or_else(|| {
        format!("what {name} has is no SHA-256 of 64 hexadecimal digits (printf %s \"$TOKEN\" | sha256sum)")
    })?;
    Ok(Token {
        name: (*name).to_owned(),
        role,
        digest,
    })
}

fn digest_of(text: &str) -> Option<[u8; 32]> {
    let nibble = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    if text.len() != 64 {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (nibble(*high)? << 4) | nibble(*low)?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(name: &str, role: &str, token: &str) -> String {
        use std::fmt::Write as _;
        let mut line = format!("{name} {role} ");
        for byte in Sha256::digest(token) {
            write!(line, "{byte:02x}").unwrap();
        }
        line + "\n"
    }

    #[test]
    fn a_token_is_good_for_what_its_role_says() {
        let text = format!(
            "# who may\n\n{}{}{}",
            line("eve", "read", "secret-1"),
            line("ann", "deploy:acme", "secret-2"),
            line("root", "admin", "secret-3")
        );
        let tokens = Tokens::parse(&text).unwrap();
        let (acme, other): (TenantId, TenantId) = ("acme".parse().unwrap(), "o".parse().unwrap());
        let rights = |token: &str| {
            let role = &tokens.find(token.as_bytes()).unwrap().role;
            let reads = [None, Some(&acme), Some(&other)].map(|it| role.may_read(it));
            (reads, [&acme, &other].map(|it| role.may_change(it)))
        };
        assert_eq!(rights("secret-1"), ([true; 3], [false; 2]));
        assert_eq!(rights("secret-2"), ([false, true, false], [true, false]));
        assert_eq!(rights("secret-3"), ([true; 3], [true; 2]));
        assert_eq!(tokens.find(b"secret-2").unwrap().name, "ann");
        for wrong in ["", "secret", "secret-4", "SECRET-1"] {
            assert_eq!(tokens.find(wrong.as_bytes()), None);
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_without_a_digest() {
        let good = line("ann", "admin", "secret");
        let digest = good.split(' ').nth(2).unwrap().trim();
        let text = format!(
            "{good}{good}eve\nbob write {digest}\ncy deploy:a/b {digest}\ndi read {}\n",
            &digest[1..]
        );
        let problems = Tokens::parse(&text).unwrap_err();
        let starts = [
            (2, "there are two tokens of the name ann"),
            (3, "this is no token (expected a line such as"),
            (4, "bob has no role that there is"),
            (5, "the tenant of cy: the character '/'"),
            (6, "what di has is no SHA-256"),
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:?}");
        for ((line, why), (number, start)) in problems.iter().zip(starts) {
            assert_eq!(*line, number);
            assert!(
                why.starts_with(start) && !why.contains(&digest[1..]),
                "{why}"
            );
        }
        assert!(Tokens::parse("# none\n").is_err());
    }

    proptest! {
        #[test]
        fn only_the_token_itself_is_found(all in prop::collection::btree_set("[a-z]{1,8}", 1..6), shown in "[a-z]{1,8}") {
            let text: String = all.iter().map(|it| line(it, "admin", it)).collect();
            let found = Tokens::parse(&text).unwrap().find(shown.as_bytes()).map(|it| it.name.clone());
            prop_assert_eq!(found, all.get(&shown).cloned());
        }
    }
}
