//! The WIT package, as the tools of the component model see it.

use wit_parser::{Docs, Resolve, TypeDefKind};

/// Parsed and resolved with the parser that `wasm-tools`, `wkg` and `wit-bindgen` use.
fn package() -> (Resolve, wit_parser::PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(harness::root().join("wit"))
        .expect("wit/ is a package");
    (resolve, package)
}

#[test]
fn the_wit_package_is_accepted_by_its_tools() {
    let (resolve, package) = package();
    assert_eq!(
        resolve.packages[package].name.to_string(),
        "kafka:handler@0.1.0"
    );
}

#[test]
fn every_item_of_the_wit_package_is_documented() {
    let (resolve, package) = package();
    let mut missing = Vec::new();
    for (name, &interface) in &resolve.packages[package].interfaces {
        let interface = &resolve.interfaces[interface];
        if interface.docs.contents.is_none() {
            missing.push(name.clone());
        }
        for (function, found) in &interface.functions {
            if found.docs.contents.is_none() {
                missing.push(format!("{name}.{function}"));
            }
        }
        for (kind, &id) in &interface.types {
            let found = &resolve.types[id];
            // `use` brings in types that are documented where they are defined.
            let defined_here = !matches!(found.kind, TypeDefKind::Type(_));
            if defined_here && found.docs.contents.is_none() {
                missing.push(format!("{name}.{kind}"));
            }
            let parts = parts(&found.kind).into_iter();
            let bare = parts.filter(|(_, docs)| docs.contents.is_none());
            missing.extend(bare.map(|(part, _)| format!("{name}.{kind}.{part}")));
        }
    }
    for (name, &world) in &resolve.packages[package].worlds {
        if resolve.worlds[world].docs.contents.is_none() {
            missing.push(format!("world {name}"));
        }
    }
    assert!(missing.is_empty(), "without documentation: {missing:?}");
}

/// The fields of a record, the cases of a variant or an enum.
fn parts(kind: &TypeDefKind) -> Vec<(&str, &Docs)> {
    match kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter();
            fields.map(|field| (&*field.name, &field.docs)).collect()
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter();
            cases.map(|case| (&*case.name, &case.docs)).collect()
        }
        TypeDefKind::Enum(words) => {
            let cases = words.cases.iter();
            cases.map(|case| (&*case.name, &case.docs)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn each_hook_has_an_interface_and_a_world_of_its_own() {
    let (resolve, package) = package();
    let worlds = &resolve.packages[package].worlds;
    assert!(
        !worlds.contains_key("all"),
        "there is no world of everything"
    );
    let mut hooks = 0;
    for (name, &world) in worlds {
        let exports = &resolve.worlds[world].exports;
        assert!(
            exports.len() <= 1,
            "world {name} has {} exports",
            exports.len()
        );
        hooks += exports.len();
    }
    // Sixteen interfaces; batches and events have a world to begin with and one to mix in.
    assert_eq!(hooks, 18, "a hook has no world, or a world no hook");
}
