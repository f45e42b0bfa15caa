//! The tables `[tenants.NAME]` of host.toml: what the operator says of a tenant.
//!
//! **Invariant:** nobody is trusted who is not named.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::TenantId;
use crate::manifest::{Key, Kind, Reader};

pub(super) const TENANTS: Key = Key {
    path: "tenants",
    kind: Kind::Named { keys: &[&TRUSTED] },
    doc: "What holds for a tenant on this host, in a table of its own: `[tenants.NAME]`.",
};
const TRUSTED: Key = Key {
    path: "trusted",
    kind: Kind::Flag { default: false },
    doc: "Whether its components run without a way to interrupt them, see [Trusted tenants](#trusted-tenants).",
};

/// What the operator says of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantRules {
    /// Whether its components cannot be interrupted.
    pub is_trusted: bool,
}

/// What the operator says of tenants; of all others it is what a table without keys says.
pub type Rules = BTreeMap<TenantId, TenantRules>;

/// Returns those whose components cannot be interrupted.
pub fn trusted(rules: &Rules) -> BTreeSet<TenantId> {
    let trusted = rules.iter().filter(|(_, rules)| rules.is_trusted);
    trusted.map(|(tenant, _)| tenant.clone()).collect()
}

/// Reads the tables.
pub(super) fn read(reader: &mut Reader<'_>) -> Rules {
    let mut rules = Rules::new();
    reader.each_named(&TENANTS, |reader, name, offset| {
        let read = TenantRules {
            is_trusted: reader.flag(&TRUSTED).unwrap_or(false),
        };
        match name.parse() {
            Ok(tenant) => {
                rules.insert(tenant, read);
            }
            Err(error) => reader.table_problem(offset, &format!("{error}")),
        }
    });
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn nobody_is_trusted_who_is_not_named() {
        assert_eq!(Settings::parse("").unwrap().tenants, Rules::new());
        let text = "[tenants.acme]\ntrusted = false\n[tenants.\"b-2\"]\ntrusted = true";
        let rules = Settings::parse(text).unwrap().tenants;
        let rule = |is_trusted| TenantRules { is_trusted };
        assert_eq!(rules[&"acme".parse().unwrap()], rule(false));
        assert_eq!(rules[&"b-2".parse().unwrap()], rule(true));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_tenant() {
        for (text, told) in [
            (
                "tenants.acme.trust = true",
                "1: unknown key \"tenants.acme.trust\" (",
            ),
            (
                "tenants.acme.trusted = \"yes\"",
                "1: tenants.acme.trusted: expected true or false",
            ),
            (
                "tenants.acme = 4",
                "1: tenants.acme: expected a table, found 4",
            ),
            ("tenants = 4", "1: tenants: expected a table"),
            (
                "tenants.\"a/b\".trusted = true",
                "1: tenants.a/b: the character",
            ),
        ] {
            let problems = Settings::parse(text).unwrap_err();
            let found = problems[0].to_string();
            assert!(found.starts_with(told), "{text}: {found}");
        }
    }
}
