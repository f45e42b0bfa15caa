//! Texts that configs name instead of holding them: they reach the component, and nobody else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use harness::host::command;
use harness::{Host, Kafka, guest};
use tempfile::TempDir;

use super::stage::{Stage, TWICE, count_lines, field, verdict, wait_lines};

const FILE: &str = "value-of-the-file-4711";
const VARIABLE: &str = "value-of-the-variable-4712";

/// A tenant's file that grants all of Kafka, and these secrets.
fn tenant(secrets: &str) -> String {
    format!(
        "grants = {{ consume = [\"*\"], produce = [\"*\"], groups = [\"*\"] }}\n[secrets]\n{secrets}\n"
    )
}

/// A folder as Kubernetes mounts it: the file is a link to one behind a link.
fn mount(folder: &Path, release: &str, value: &str) {
    let release_folder = folder.join(format!("..{release}"));
    fs::create_dir(&release_folder).unwrap();
    fs::write(release_folder.join("acme-db"), value).unwrap();
    let new = folder.join("..new");
    symlink(format!("..{release}"), &new).unwrap();
    fs::rename(&new, folder.join("..data")).unwrap();
    let file = folder.join("acme-db");
    if !file.exists() {
        symlink("..data/acme-db", file).unwrap();
    }
}

fn secrets() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    mount(folder.path(), "first", &format!("{FILE}\n"));
    folder
}

fn serve(stage: &Stage, secrets: &Path) -> Host {
    let host = Host::builder(&stage.bootstrap)
        .handlers(stage.folder.path())
        .args(["--secrets".into(), secrets.as_os_str().to_owned()])
        .env("ACME_TOKEN", VARIABLE)
        .env("OTHER_TOKEN", "of-somebody-else")
        .env("RUST_LOG", "debug");
    host.start().unwrap()
}

fn deploy(stage: &Stage, tenant: &str, more: &str) {
    let folder = &stage.folder;
    folder.swap_text("acme", "tenant.toml", tenant).unwrap();
    let name = format!("acme/{}", stage.name);
    let manifest = stage.manifest(more);
    folder.swap_in(&name, guest("act"), &manifest).unwrap();
}

const NAMED: &str =
    "config.password = { file = \"acme-db\" }\nconfig.token = { env = \"ACME_TOKEN\" }\n";
const GRANTED: &str = "env = [\"ACME_*\"]\nfiles = [\"acme-*\"]";

#[test]
fn secrets_are_read_by_name_and_shown_nowhere() {
    let stage = Stage::new("secrets", 1);
    deploy(&stage, &tenant(GRANTED), &format!("{TWICE}{NAMED}"));
    let folder = secrets();
    let host = serve(&stage, folder.path());
    stage.produce(&["config password", "config token", "other it is broken"]);
    let outputs = stage.outputs(&host, 2);
    let told: Vec<String> = outputs.iter().map(|it| field(it, "result")).collect();
    assert_eq!(told, [FILE, VARIABLE]);
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter).0, "other");
    let headers = letter.headers.unwrap();
    let mut shown: Vec<String> = headers
        .into_iter()
        .filter_map(|(_, value)| String::from_utf8(value?).ok())
        .collect();
    shown.extend(host.lines());
    for page in ["/readyz", "/metrics"] {
        shown.push(host.get(page).unwrap().1);
    }
    let checked = command("check")
        .unwrap()
        .arg(stage.folder.path())
        .env("KAFKA_WASM_SECRETS", folder.path())
        .env("ACME_TOKEN", VARIABLE)
        .output()
        .unwrap();
    let checked = String::from_utf8(checked.stdout).unwrap();
    for line in [
        "config.\"password\" { file = \"acme-db\" } = ***",
        "config.\"token\" { env = \"ACME_TOKEN\" } = ***",
    ] {
        assert!(checked.contains(line), "{checked}");
    }
    shown.push(checked);
    for text in shown {
        assert!(!text.contains(FILE) && !text.contains(VARIABLE), "{text}");
    }
    host.stop().unwrap();
}

#[test]
fn a_new_secret_is_a_new_revision() {
    let stage = Stage::new("new-secret", 1);
    deploy(&stage, &tenant(GRANTED), NAMED);
    let folder = secrets();
    let host = serve(&stage, folder.path());
    stage.produce(&["config password"]);
    assert_eq!(field(&stage.outputs(&host, 1)[0], "result"), FILE);
    // As Kubernetes does it: another folder behind the link, in one go.
    mount(folder.path(), "second", "another-value");
    wait_lines(
        &host,
        &["deployed", "secret { file = \\\"acme-db\\\" }: changed"],
        1,
    );
    stage.produce(&["config password"]);
    let outputs = stage.outputs(&host, 2);
    assert_eq!(field(&outputs[1], "result"), "another-value");
    assert_eq!(count_lines(&host, &["another-value"]), 0);
    // One that is gone leaves the old revision serving.
    fs::remove_file(folder.path().join("acme-db")).unwrap();
    wait_lines(&host, &["the old one goes on serving"], 1);
    stage.produce(&["config password"]);
    let outputs = stage.outputs(&host, 3);
    assert_eq!(field(&outputs[2], "result"), "another-value");
    host.stop().unwrap();
}

#[test]
fn a_secret_that_is_not_granted_is_refused() {
    let folder = secrets();
    symlink("/etc/hostname", folder.path().join("acme-away")).unwrap();
    let file = |name: &str| format!("config.password = {{ file = \"{name}\" }}\n");
    let variable = |name: &str| format!("config.password = {{ env = \"{name}\" }}\n");
    for (number, (granted, more, told)) in [
        (GRANTED, file("other-db"), "secrets.files has \"acme-*\""),
        (
            GRANTED,
            variable("OTHER_TOKEN"),
            "secrets.env has \"ACME_*\"",
        ),
        (
            "env = [\"ACME_*\"]",
            file("acme-db"),
            "secrets.files has nothing",
        ),
        (GRANTED, file("acme-gone"), "put it there"),
        (
            GRANTED,
            file("acme-away"),
            "leads out of the folder of secrets",
        ),
        (GRANTED, variable("ACME_GONE"), "no such variable (set it"),
    ]
    .into_iter()
    .enumerate()
    {
        let stage = Stage::new(&format!("unsecret-{number}"), 1);
        deploy(&stage, &tenant(granted), &more);
        let host = serve(&stage, folder.path());
        wait_lines(&host, &["handler.toml: config.\"password\"", told], 1);
        assert_eq!(count_lines(&host, &[" deployed "]), 0);
        host.stop().unwrap();
    }
    // What is put there later is found.
    let stage = Stage::new("unsecret", 1);
    deploy(&stage, &tenant(GRANTED), &file("acme-late"));
    let host = serve(&stage, folder.path());
    wait_lines(&host, &["acme-late", "cannot be read"], 1);
    fs::write(folder.path().join("acme-late"), "late").unwrap();
    stage.produce(&["config password"]);
    assert_eq!(field(&stage.outputs(&host, 1)[0], "result"), "late");
    host.stop().unwrap();
}

/// By SCRAM, on a Kafka whose authorizer lets the host's own user do nothing.
#[test]
fn a_tenant_has_kafka_credentials_of_its_own() {
    let kafka = Kafka::builder()
        .user("host", "password-of-the-host")
        .user("acme", FILE)
        .set("super.users", "User:ANONYMOUS;User:acme")
        .start()
        .unwrap();
    let stage = Stage::on(&kafka, "credentials", 1);
    let own = "[kafka]\nsasl.username = \"acme\"\nsasl.password = { file = \"acme-db\" }\n";
    deploy(&stage, &format!("{}{own}", tenant(GRANTED)), TWICE);
    let theirs = stage.manifest("").replace("group = \"", "group = \"other-");
    let folder = &stage.folder;
    folder.swap_in("other/poor", guest("act"), &theirs).unwrap();
    let secrets = secrets();
    let login = [
        "security.protocol=sasl_plaintext",
        "sasl.mechanism=SCRAM-SHA-256",
        "sasl.username=host",
        "sasl.password=password-of-the-host",
    ];
    let login = login.iter().flat_map(|it| ["--kafka-setting", it]);
    let host = Host::builder(kafka.login())
        .handlers(folder.path())
        .args(login)
        .args(["--secrets".into(), secrets.path().as_os_str().to_owned()])
        .start()
        .unwrap();
    stage.produce(&["one", "reject two"]);
    assert_eq!(field(&stage.outputs(&host, 1)[0], "value"), "one");
    assert_eq!(verdict(&stage.letter(&host)).0, "reject");
    stage.committed(&host, &[(0, 2)]);
    // The other tenant has the host's user.
    wait_lines(&host, &["other", "uthorization failed"], 1);
    assert_eq!(count_lines(&host, &[FILE]), 0);
    host.stop().unwrap();
}

/// A tenant without a file of its own has none; the tenant `default` is of who runs the host, and has the folder.
#[test]
fn secrets_of_a_tenant_without_a_file_are_those_of_the_host_or_none() {
    let folder = secrets();
    let stage = Stage::new("unnamed", 1);
    let manifest = stage.manifest("config.password = { file = \"acme-db\" }");
    let theirs = format!("other/{}", stage.name);
    let handlers = &stage.folder;
    handlers.swap_in(&theirs, guest("act"), &manifest).unwrap();
    let host = serve(&stage, folder.path());
    wait_lines(
        &host,
        &["secrets.files has nothing", "other/tenant.toml"],
        1,
    );
    handlers.remove(&theirs).unwrap();
    handlers
        .swap_in(&stage.name, guest("act"), &manifest)
        .unwrap();
    stage.produce(&["config password"]);
    assert_eq!(field(&stage.outputs(&host, 1)[0], "result"), FILE);
    let variable = stage.manifest("config.password = { env = \"ACME_TOKEN\" }");
    handlers
        .swap_text(&stage.name, "handler.toml", &variable)
        .unwrap();
    wait_lines(
        &host,
        &["secrets.env has nothing", "default/tenant.toml"],
        1,
    );
    host.stop().unwrap();
}
