//! How outputs are written, as the manifest says it.

use super::problems_of;

#[test]
fn a_place_of_keys_is_a_json_pointer() {
    assert_eq!(
        problems_of("publish.key-from = \"id\""),
        ["2: publish.key-from: the pointer begins with 'i' in place of '/'"]
    );
    assert_eq!(
        problems_of("[publish]\nkey-from = 5"),
        ["3: publish.key-from: expected a JSON pointer such as \"/id\", found 5"]
    );
    assert_eq!(
        problems_of("publish.key_from = \"/id\""),
        ["2: unknown key \"publish.key_from\" (did you mean \"publish.key-from\"?)"]
    );
}
