//! Tenants whose components cannot be interrupted, since whoever runs the host says so.
//!
//! It is handed two tenants on one host: acme, which becomes trusted, and calm, which never is.
//! **Invariant:** what is not trusted is interrupted as ever, on the same host.

use std::fs;

use harness::guest;

use super::rates::Neighbours;
use super::stage::{PATIENCE, TWICE, is, verdict, wait_lines};

const SETTINGS: &str = "[watchdog]\nstall-after-ms = 1000\n";
const NARROW: &str = "limits.deadline-ms = 500\n";

#[test]
fn a_trusted_component_that_spins_is_not_interrupted_and_is_told_by_the_watchdog() {
    let two = Neighbours::new("trusted", 1, "", &format!("{TWICE}{NARROW}"));
    let aside = tempfile::tempdir().unwrap();
    let toml = aside.path().join("host.toml");
    fs::write(&toml, SETTINGS).unwrap();
    let mut host = two.serve(&["--config", &toml.display().to_string()]);
    two.acme.produce(&["ok", "spin"]);
    two.acme.outputs(&host, 1);
    assert_eq!(verdict(&two.acme.letter(&host)), is("deadline", "2"));

    // What waits has its deadline also where it is trusted.
    fs::write(&toml, format!("{SETTINGS}[tenants.acme]\ntrusted = true\n")).unwrap();
    host.hang_up().unwrap();
    let told = "tenants.acme.trusted: changed from its default to true";
    host.wait_for_line(told, PATIENCE).unwrap();
    wait_lines(&host, &["deployed", "acme", "trust: nothing interrupts"], 1);
    two.acme.produce(&["ok", "sleep 600000", "ok"]);
    two.acme.outputs(&host, 3);
    let letter = two.acme.letters(&host, 2).remove(1);
    assert_eq!(verdict(&letter), is("deadline", "2"));

    two.acme.produce(&["spin"]);
    let stalled = ["the partition makes no progress", &two.acme.input];
    wait_lines(&host, &stalled, 1);
    wait_lines(&host, &["offset=5", "the handler has not returned"], 1);
    // There is another thread, and on it nobody is trusted who is not named.
    two.calm.produce(&["ok", "ok"]);
    two.calm.outputs(&host, 2);
    assert_eq!(two.acme.letters(&host, 2).len(), 2);
    host.kill9();
}

#[test]
fn a_trusted_component_that_never_begins_is_refused_and_the_host_does_as_it_is_told() {
    let two = Neighbours::new("trusted-trial", 1, "", "");
    let aside = tempfile::tempdir().unwrap();
    let toml = aside.path().join("host.toml");
    fs::write(&toml, "[tenants.acme]\ntrusted = true\n").unwrap();
    let mut host = two.serve(&["--config", &toml.display().to_string()]);
    two.acme.produce(&["ok"]);
    two.acme.outputs(&host, 1);
    let name = format!("acme/{}", two.acme.name);
    let manifest = two.acme.manifest("config.spin = \"yes\"");
    let folder = &two.acme.folder;
    folder.swap_component(&name, guest("no-context")).unwrap();
    folder.swap_manifest(&name, &manifest).unwrap();
    wait_lines(&host, &["a component of it does not end"], 1);
    two.acme.produce(&["ok"]);
    two.acme.outputs(&host, 2);
    host.hang_up().unwrap();
    wait_lines(&host, &["audit", "reload", "done"], 1);
    host.kill9();
}

#[test]
fn no_tenant_says_of_itself_that_it_is_trusted() {
    let two = Neighbours::new("trusts-itself", 1, "", "");
    let host = two.serve(&[]);
    two.acme.produce(&["ok"]);
    two.acme.outputs(&host, 1);
    let folder = &two.acme.folder;
    let tenant =
        "trusted = true\ngrants = { consume = [\"*\"], produce = [\"*\"], groups = [\"*\"] }\n";
    folder.swap_text("acme", "tenant.toml", tenant).unwrap();
    let told = "whoever runs the host says that, in host.toml: [tenants.NAME] trusted";
    wait_lines(&host, &["tenant.toml:1: unknown key", told], 1);
    wait_lines(&host, &["the old one goes on serving"], 1);
    two.acme.produce(&["ok"]);
    two.acme.outputs(&host, 2);
    host.stop().unwrap();
}
