//! The keys of `host.toml` for what has to be signed.
//!
//! **Invariant:** only the operator says whether signatures are asked for, and by whom.

use crate::manifest::{Key, Kind, Reader};
use crate::trust::{Signs, Trust, TrustedKey};

pub(super) const REQUIRE_SIGNATURE: Key = Key {
    path: "deploy.require-signature",
    kind: Kind::Flag { default: false },
    doc: "Whether a handler is deployed only if it is signed, see [Signed releases](#signed-releases).",
};
pub(super) const TRUST: Key = Key {
    path: "trust",
    kind: Kind::Rows {
        keys: &[&PUBLIC_KEY, &TENANTS, &SIGNS],
    },
    doc: "Whose signatures are believed.",
};
const PUBLIC_KEY: Key = Key {
    path: "public-key",
    kind: Kind::Text {
        what: "a public key of minisign",
        default: "",
    },
    doc: "A public key of minisign: the second line of its file `.pub`.",
};
const TENANTS: Key = Key {
    path: "tenants",
    kind: Kind::Texts {
        what: "tenants",
        example: "[\"acme\", \"shop-*\"]",
    },
    doc: "For which tenants it signs; `*` is any run of characters.",
};
const SIGNS: Key = Key {
    path: "signs",
    kind: Kind::Texts {
        what: "words",
        example: "[\"handlers\", \"tenant\"]",
    },
    doc: "What it signs: `\"handlers\"`, which is all where this is left out, or `\"tenant\"`, the file `tenant.toml` with the \
          middleware beside it.",
};

/// Reads all of them.
pub(super) fn read(reader: &mut Reader<'_>) -> Trust {
    let is_required = reader.flag(&REQUIRE_SIGNATURE).unwrap_or_default();
    let mut keys = Vec::new();
    let place = reader.offset(&TRUST);
    reader.each_row(&TRUST, |row, start| {
        for (key, what) in [
            (
                &PUBLIC_KEY,
                "missing (the second line of the key's file .pub)",
            ),
            (&TENANTS, "missing (name the tenants, or [\"*\"] for all)"),
        ] {
            if row.offset(key).is_none() {
                row.problem(key, Some(start), what);
            }
        }
        let (key, tenants) = (row.parsed(&PUBLIC_KEY), row.parsed_list(&TENANTS));
        let signs = row.parsed_list(&SIGNS);
        keys.extend(key.zip(tenants).map(|(key, tenants)| TrustedKey {
            key,
            tenants,
            signs: signs.unwrap_or_else(|| vec![Signs::Handlers]),
        }));
    });
    match (is_required, place) {
        (true, None) => {
            let offset = reader.offset(&REQUIRE_SIGNATURE);
            let what = "nobody may sign, so nothing could be deployed (add a [[trust]] with a public-key and tenants)";
            reader.problem(&REQUIRE_SIGNATURE, offset, what);
        }
        (false, Some(_)) => {
            let what = "does nothing without deploy.require-signature = true";
            reader.problem(&TRUST, place, what);
        }
        _ => {}
    }
    Trust {
        keys: is_required.then_some(keys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Subject;
    use crate::settings::Settings;

    const KEY: &str = "RWTjj36ejDxG+nfLAENzAyyTmGH3rzfBL5YSeVW5rPowz9G9nfn32hrH";

    #[test]
    fn keys_are_for_tenants_and_for_what_they_sign() {
        let text = format!(
            "[deploy]\nrequire-signature = true\n[[trust]]\ntenants = [\"acme\"]\npublic-key = \"{KEY}\"\n\
             [[trust]]\ntenants = [\"*\"]\npublic-key = \"{KEY}\"\nsigns = [\"tenant\", \"handlers\"]\n"
        );
        let trust = Settings::parse(&text).unwrap().trust;
        let keys = trust.keys.clone().unwrap();
        assert_eq!(keys[0].signs, [Signs::Handlers]);
        assert_eq!(keys[1].signs, [Signs::Tenant, Signs::Handlers]);
        assert!(trust.has_key_for(&Subject::Tenant("other".parse().unwrap())));
        assert_eq!(Settings::parse("").unwrap().trust, Trust::default());
    }

    #[test]
    fn what_would_protect_nothing_is_told() {
        let row = |rest: &str| format!("deploy.require-signature = true\n[[trust]]\n{rest}");
        let key = format!("public-key = \"{KEY}\"\n");
        for (text, start) in [
            (
                "deploy.require-signature = true".to_owned(),
                "1: deploy.require-signature: nobody may sign",
            ),
            (
                format!("[[trust]]\ntenants = [\"*\"]\n{key}"),
                "1: trust: does nothing without deploy.require-signature",
            ),
            (row(&key), "2: trust[0].tenants: missing"),
            (row("tenants = [\"*\"]"), "2: trust[0].public-key: missing"),
            (
                row("tenants = [\"*\"]\npublic-key = \"x\""),
                "4: trust[0].public-key: expected a public key of minisign",
            ),
            (
                row(&format!("{key}tenants = []")),
                "4: tenants: the list is empty",
            ),
            (
                row(&format!("{key}tenants = [\"a\"]\nsigns = [\"all\"]")),
                "5: signs[0]: expected \"handlers\" or \"tenant\"",
            ),
        ] {
            let problems = Settings::parse(&text).unwrap_err();
            let found = problems[0].to_string();
            assert!(found.starts_with(start), "{found}");
        }
    }
}
