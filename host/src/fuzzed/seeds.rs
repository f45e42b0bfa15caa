//! The kept seeds of the fuzz targets, each through the function of its target.

use std::fs;
use std::path::Path;

use super::*;

/// Runs all seeds of a target.
fn run(target: &str, function: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let mut count = 0;
    for seed in fs::read_dir(folder.join(target)).unwrap() {
        let path = seed.unwrap().path();
        // Told if it fails.
        println!("{}", path.display());
        function(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "fuzz/seeds/{target} is empty");
    function(b"");
}

#[test]
fn no_seed_of_manifests_fails() {
    run("manifest", manifest);
}

#[test]
fn no_seed_of_calls_of_imports_fails() {
    run("imports", imports);
}

#[test]
fn no_seed_of_requests_to_the_api_fails() {
    run("api", api);
}

#[test]
fn no_seed_of_letters_fails() {
    run("letters", letters);
}

#[test]
fn no_seed_of_the_metadata_of_commits_fails() {
    run("commit_metadata", commit_metadata);
}

#[test]
fn no_seed_of_signatures_fails() {
    run("signature", signature);
}
