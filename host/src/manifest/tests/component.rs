//! The files beside a manifest that it names.

use super::{FULL, parse, problems_of};

#[test]
fn a_component_is_a_file_beside_its_manifest() {
    assert_eq!(
        problems_of("component = \"../x.wasm\""),
        [
            "2: component: expected a file name, found the path \"../x.wasm\" (the component lies beside its manifest)"
        ]
    );
    assert_eq!(
        problems_of("component = \".wasm\""),
        [
            "2: component: expected the file name of a component, ending in .wasm, found the text \".wasm\""
        ]
    );
}

#[test]
fn a_component_can_be_named_by_its_digest() {
    let digest = format!("sha256:{}", "0".repeat(64));
    assert_eq!(parse(FULL).digest, digest.parse().ok());
    for bad in ["", "0", "sha256:0", "md5:0", &digest.to_uppercase()] {
        let found = problems_of(&format!("digest = \"{bad}\""));
        assert!(
            found[0].starts_with("2: digest: expected \"sha256:\" and 64 hexadecimal digits"),
            "{found:?}"
        );
    }
}

#[test]
fn a_trial_record_is_a_file_beside_its_manifest() {
    assert_eq!(parse(FULL).trial_record.as_deref(), Some("order.json"));
    assert_eq!(
        problems_of("deploy.trial-record = \"/etc/x.json\""),
        [
            "2: deploy.trial-record: expected a file name, found the path \"/etc/x.json\" (the record lies beside its manifest)"
        ]
    );
    assert_eq!(
        problems_of("deploy.trial-record = \"x\""),
        [
            "2: deploy.trial-record: expected the file name of a record, ending in .json, found the text \"x\""
        ]
    );
}
