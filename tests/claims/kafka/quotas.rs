//! How much a tenant may have of the host: what its `tenant.toml` allows, and no more.

use std::fs;
use std::path::Path;

use harness::guest;

use super::stage::{Stage, TWICE, field, said, verdict, wait_lines};

/// A tenant's file that grants all of Kafka, with these quotas.
fn quotas(more: &str) -> String {
    format!(
        "grants = {{ consume = [\"*\"], produce = [\"*\"], groups = [\"*\"] }}\n[quotas]\n{more}\n"
    )
}

/// A handler of the tenant acme under the stage's name, and the file of its tenant.
fn deploy(stage: &Stage, quotas_of_tenant: &str, component: &Path, more: &str) {
    let folder = &stage.folder;
    let tenant = quotas(quotas_of_tenant);
    folder.swap_text("acme", "tenant.toml", &tenant).unwrap();
    let name = format!("acme/{}", stage.name);
    folder
        .swap_in(&name, component, &stage.manifest(more))
        .unwrap();
}

/// A component like another that is so many MiB larger, by a section of its own.
fn larger(component: &Path, mib: usize) -> Vec<u8> {
    let mut content = vec![1, b'x'];
    content.resize(mib << 20, 0);
    let mut bytes = fs::read(component).unwrap();
    bytes.push(0);
    let mut length = content.len();
    while length > 0x7f {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(content);
    bytes
}

#[test]
fn quota_of_memory_is_obeyed() {
    let stage = Stage::new("quota-memory", 1);
    deploy(&stage, "memory-mib = 32", &guest("act"), TWICE);
    let host = stage.serve(&[]);
    stage.produce(&["alloc 8", "alloc 40", "ok"]);
    let outputs = stage.outputs(&host, 2);
    assert_eq!(field(&outputs[1], "value"), "ok");
    // The manifest says nothing, so the quota is the limit.
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter).0, "memory");
    let error = said(&letter, "error");
    assert!(error.contains("its limit is 32 MiB"), "{error}");
    host.stop().unwrap();
}

#[test]
fn quota_of_limits_is_violated_by_no_deployment() {
    let stage = Stage::new("quota-limits", 1);
    deploy(
        &stage,
        "memory-mib = 32\ndeadline-ms = 500",
        &guest("act"),
        "",
    );
    let host = stage.serve(&[]);
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    for (more, told) in [
        (
            "limits.memory-mib = 33",
            "limits.memory-mib is 33 MiB, more than the 32 that quotas.memory-mib",
        ),
        (
            "limits.deadline-ms = 501",
            "limits.deadline-ms is 501 ms, more than the 500",
        ),
    ] {
        let manifest = stage.manifest(more);
        let name = format!("acme/{}", stage.name);
        stage.folder.swap_manifest(&name, &manifest).unwrap();
        wait_lines(&host, &["handler.toml", told, "acme/tenant.toml"], 1);
    }
    wait_lines(&host, &["the old one goes on serving"], 2);
    stage.produce(&["two"]);
    stage.outputs(&host, 2);
    host.stop().unwrap();
}

#[test]
fn quota_of_a_components_size_is_violated_by_no_deployment() {
    let stage = Stage::new("quota-size", 1);
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("act.wasm");
    fs::write(&large, larger(&guest("act"), 3)).unwrap();
    deploy(&stage, "component-mib = 2", &large, "");
    let host = stage.serve(&[]);
    wait_lines(
        &host,
        &[".wasm", "MiB, more than the 2 that quotas.component-mib"],
        1,
    );
    let wider = quotas("component-mib = 5");
    stage
        .folder
        .swap_text("acme", "tenant.toml", &wider)
        .unwrap();
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    host.stop().unwrap();
}

/// What is in the cache has been compiled, so each host has one of its own.
#[test]
fn quota_of_the_time_to_compile_is_violated_by_no_deployment() {
    let stage = Stage::new("quota-compile", 1);
    let cache = tempfile::tempdir().unwrap();
    deploy(&stage, "compile-ms = 1", &guest("act"), "");
    let path = cache.path().join("aot").display().to_string();
    let host = stage.serve(&["--cache", &path]);
    let told = [
        ".wasm",
        "ms, more than the 1 that quotas.compile-ms",
        "acme/tenant.toml",
    ];
    wait_lines(&host, &told, 1);
    let wider = quotas("compile-ms = 600000");
    stage
        .folder
        .swap_text("acme", "tenant.toml", &wider)
        .unwrap();
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    let share = host.metric("kafka_wasm_compile_quota_share", &[("tenant", "acme")]);
    let share = share.unwrap();
    assert!(0.0 < share && share < 1.0, "{share}");
    host.stop().unwrap();
}

#[test]
fn quota_of_handlers_is_violated_by_no_deployment() {
    let stage = Stage::new("quota-handlers", 1);
    let folder = &stage.folder;
    deploy(&stage, "handlers = 1", &guest("act"), "");
    let host = stage.serve(&[]);
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    let second = stage.manifest("").replace(
        &format!("group = \"{}\"", stage.name),
        &format!("group = \"{}-second\"", stage.name),
    );
    folder
        .swap_in("acme/second", guest("act"), &second)
        .unwrap();
    let told = [
        "acme/second",
        "is 2 handlers, more than the 1 that quotas.handlers",
    ];
    wait_lines(&host, &told, 1);
    // Another tenant's count for themselves.
    let other = second.replace("-second", "-other");
    folder.swap_in("other/third", guest("act"), &other).unwrap();
    stage.outputs(&host, 2);
    // Once the first is gone there is room.
    folder.remove(&format!("acme/{}", stage.name)).unwrap();
    stage.outputs(&host, 3);
    host.stop().unwrap();
}
