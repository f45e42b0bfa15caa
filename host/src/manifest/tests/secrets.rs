//! Texts that a manifest names instead of holding them.

use std::collections::BTreeMap;

use super::{parse, problems_of, texts};
use crate::secrets::{Secret, Secrets};

#[test]
fn a_text_is_named_in_braces_and_all_else_is_what_it_was() {
    let manifest = parse(
        "topics = [\"a\"]\n[config]\nplain = \"x\"\nkey = { env = \"ACME_KEY\" }\ndb.password = { file = \"acme-db\" }\n\
         dotted.file = \"y\"\ndeep = { er = 1 }\n[config.table]\nenv = \"z\"\n",
    );
    let names = [
        ("key".to_owned(), Secret::env("ACME_KEY").unwrap()),
        ("db.password".to_owned(), Secret::file("acme-db").unwrap()),
    ];
    assert_eq!(manifest.secrets, Secrets::from(names));
    assert_eq!(
        manifest.config,
        texts([
            ("plain", "x"),
            ("dotted.file", "y"),
            ("deep.er", "1"),
            ("table.env", "z"),
        ])
    );
}

#[test]
fn middleware_and_steps_have_secrets_as_well() {
    let manifest = parse(
        "topics = [\"a\"]\n[[middleware]]\ncomponent = \"m.wasm\"\nconfig = { key = { file = \"k\" } }\n\
         [[pipeline]]\nname = \"p\"\n[[pipeline.step]]\ncomponent = \"s.wasm\"\nconfig.key = { env = \"K\" }\n",
    );
    let of = |secret: Secret| BTreeMap::from([("key".to_owned(), secret)]);
    assert_eq!(
        manifest.middleware[0].secrets,
        of(Secret::file("k").unwrap())
    );
    let (_, _, work) = manifest.pipelines[0].components().next().unwrap();
    assert_eq!(work.secrets, of(Secret::env("K").unwrap()));
}

#[test]
fn what_names_no_text_is_told_with_its_place() {
    assert_eq!(
        problems_of(
            "[config]\na = { env = \"\" }\nb = { file = \"../x\" }\nc = { env = \"A\", file = \"b\" }\nd = { file = 5 }\n\
             e = { env = \"A\", other = 1 }"
        ),
        [
            "3: config.\"a\": \"\" is no name of a variable (write one such as ACME_PASSWORD)",
            "4: config.\"b\": \"../x\" is no name of a file (name one that lies in the host's folder of secrets, without a \
             path and not hidden)",
            "5: config.\"c\": expected one name in the braces, { env = \"NAME\" } or { file = \"NAME\" }",
            "6: config.\"d\": expected one name in the braces, { env = \"NAME\" } or { file = \"NAME\" }",
            "7: config.\"e\": expected one name in the braces, { env = \"NAME\" } or { file = \"NAME\" }",
        ]
    );
}
