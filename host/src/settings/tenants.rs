//! The tables `[tenants.NAME]` of host.toml: what the operator says of a tenant.
//!
//! **Invariant:** nobody is trusted who is not named.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::TenantId;
use crate::manifest::{Key, Kind, Reader};

/// What a tenant weighs at most.
const WEIGHT_MAX: u64 = 1000;

pub(super) const TENANTS: Key = Key {
    path: "tenants",
    kind: Kind::Named {
        keys: &[&WEIGHT, &TRUSTED],
    },
    doc: "What holds for a tenant on this host, in a table of its own: `[tenants.NAME]`.",
};
const WEIGHT: Key = Key {
    path: "weight",
    kind: Kind::Whole {
        unit: "parts",
        min: 1,
        max: WEIGHT_MAX,
        default: Some(1),
    },
    doc: "Its share of the host's threads while others want them, too, see [Shares](#shares).",
};
const TRUSTED: Key = Key {
    path: "trusted",
    kind: Kind::Flag { default: false },
    doc: "Whether its components run without a way to interrupt them, see [Trusted tenants](#trusted-tenants).",
};

/// What the operator says of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantRules {
    /// Its share of the host's threads beside others.
    pub weight: u32,
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
            weight: u32::try_from(reader.whole(&WEIGHT)).unwrap_or(u32::MAX),
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
    fn nobody_is_trusted_or_heavy_who_is_not_named() {
        assert_eq!(Settings::parse("").unwrap().tenants, Rules::new());
        let text = "[tenants.acme]\nweight = 4\n[tenants.\"b-2\"]\ntrusted = true";
        let rules = Settings::parse(text).unwrap().tenants;
        let rule = |weight, is_trusted| TenantRules { weight, is_trusted };
        assert_eq!(rules[&"acme".parse().unwrap()], rule(4, false));
        assert_eq!(rules[&"b-2".parse().unwrap()], rule(1, true));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_tenant() {
        for (text, told) in [
            (
                "[tenants.acme]\nweight = 0",
                "2: tenants.acme.weight: expected a whole number of parts from 1 to 1000, found 0",
            ),
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
                "tenants.\"a/b\".weight = 4",
                "1: tenants.a/b: the character",
            ),
        ] {
            let problems = Settings::parse(text).unwrap_err();
            let found = problems[0].to_string();
            assert!(found.starts_with(told), "{text}: {found}");
        }
    }
}
