//! Signed releases: what nobody signed who may is not deployed, wherever it comes from.

use std::fs;
use std::path::{Path, PathBuf};

use harness::host::command;
use harness::sign::{Signer, release_text};
use harness::{Host, guest};

use super::kept::{Kept, kept};
use super::stage::{Stage, count_lines, field, wait_lines};
use crate::answer::Answer;

/// Writes a host.toml that asks for signatures by these keys, each for some tenants and with what it signs.
fn trust(folder: &Path, keys: &[(&Signer, &str, &str)]) -> PathBuf {
    let rows = keys.iter().map(|(signer, tenants, signs)| {
        let key = signer.public_key().unwrap();
        format!(
            "[[trust]]\npublic-key = \"{key}\"\ntenants = [\"{tenants}\"]\nsigns = [\"{signs}\"]\n"
        )
    });
    let rows: String = rows.collect();
    let file = folder.join("host.toml");
    fs::write(&file, format!("[deploy]\nrequire-signature = true\n{rows}")).unwrap();
    file
}

fn serve(stage: &Stage, file: &Path) -> Host {
    stage.serve(&["--config", &file.display().to_string()])
}

/// The digest of a file, from the text of a release.
fn digest(release: &str, file: &str) -> String {
    let line = release.lines().find(|line| line.ends_with(file));
    let digits = line.unwrap().split(' ').nth(1).unwrap();
    format!("sha256:{digits}")
}

#[test]
fn a_signed_release_serves_and_an_altered_one_is_refused_with_both_digests() {
    let kept = Kept::new("signed");
    let (stage, signer) = (&kept.stage, Signer::new().unwrap());
    let folder = stage.folder.path();
    kept.put("v1");
    signer.release(folder, &stage.name).unwrap();
    let first = release_text(folder, &[&stage.name]).unwrap();
    let file = trust(kept.aside.path(), &[(&signer, "default", "handlers")]);
    let host = serve(stage, &file);
    kept.labels_are(&host, &["v1"]);
    // A new manifest beside the signed component.
    kept.put("v2");
    let second = release_text(folder, &[&stage.name]).unwrap();
    let (old, new) = (
        digest(&first, "handler.toml"),
        digest(&second, "handler.toml"),
    );
    wait_lines(&host, &["it is not what was signed", &old, &new], 1);
    kept.labels_are(&host, &["v1", "v1"]);
    // Another component beside a manifest that is signed.
    kept.put("v1");
    stage
        .folder
        .swap_component(&stage.name, guest("through"))
        .unwrap();
    let third = release_text(folder, &[&stage.name]).unwrap();
    let (old, new) = (
        digest(&first, "handler.wasm"),
        digest(&third, "handler.wasm"),
    );
    wait_lines(&host, &["handler.wasm", &old, &new], 1);
    kept.labels_are(&host, &["v1", "v1", "v1"]);
    // Both, and signed.
    stage
        .folder
        .swap_component(&stage.name, guest("label"))
        .unwrap();
    kept.put("v2");
    signer.release(folder, &stage.name).unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    kept.labels_are(&host, &["v1", "v1", "v1", "v2"]);
    host.stop().unwrap();
}

#[test]
fn a_key_that_was_taken_away_refuses_the_next_deployment_after_a_reload() {
    let kept = Kept::new("withdrawn-key");
    let (stage, signer, other) = (&kept.stage, Signer::new().unwrap(), Signer::new().unwrap());
    let folder = stage.folder.path();
    kept.put("v1");
    signer.release(folder, &stage.name).unwrap();
    let keys = |signer: &Signer| trust(kept.aside.path(), &[(signer, "default", "handlers")]);
    let host = serve(stage, &keys(&signer));
    kept.labels_are(&host, &["v1"]);
    let reload = || {
        let mut reload = command("reload").unwrap();
        let answer = Answer::of(reload.args(["--http", host.http_addr()]));
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        answer.stdout
    };
    keys(&other);
    let told = reload();
    assert!(
        told.contains("trust") && !told.contains("restart"),
        "{told}"
    );
    // What serves goes on; what comes next is not believed.
    kept.labels_are(&host, &["v1", "v1"]);
    kept.put("v2");
    signer.release(folder, &stage.name).unwrap();
    wait_lines(&host, &["made with a key that host.toml does not name"], 1);
    kept.labels_are(&host, &["v1", "v1", "v1"]);
    // A file that is broken changes nothing.
    let good = fs::read_to_string(keys(&signer)).unwrap();
    let file = keys(&other);
    fs::write(&file, good.replace("public-key = \"", "public-key = \"x")).unwrap();
    let mut refused = command("reload").unwrap();
    let refused = Answer::of(refused.args(["--http", host.http_addr()]));
    assert!(
        refused.code == 1 && refused.stderr.contains("public-key"),
        "{refused:?}"
    );
    kept.labels_are(&host, &["v1", "v1", "v1", "v1"]);
    // With the key again, what was refused is looked at once more.
    keys(&signer);
    reload();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    kept.labels_are(&host, &["v1", "v1", "v1", "v1", "v2"]);
    let count = |result| {
        let labels = [("result", result)];
        host.metric("kafka_wasm_reloads_total", &labels).unwrap()
    };
    assert_eq!((count("done"), count("refused")), (2.0, 1.0));
    host.stop().unwrap();
}

/// Each in a way of its own, beside one that is fine.
#[test]
fn what_nobody_signed_who_may_is_not_deployed() {
    let stage = Stage::new("unsigned", 1);
    let (signer, stranger) = (Signer::new().unwrap(), Signer::new().unwrap());
    let folder = stage.folder.path();
    let aside = tempfile::tempdir().unwrap();
    let manifest = |name: &str| {
        let own = format!("group = \"{}.{name}\"", stage.name);
        stage
            .manifest("")
            .replace(&format!("group = \"{}\"", stage.name), &own)
    };
    let put = |name: &str| {
        stage
            .folder
            .swap_in(name, guest("act"), &manifest(name))
            .unwrap();
    };
    let names = [
        "good", "bare", "stranger", "legacy", "other", "lent", "more", "acme/of",
    ];
    names.into_iter().for_each(put);
    signer.release(folder, "good").unwrap();
    stranger.release(folder, "stranger").unwrap();
    // Whoever signs for one tenant does not sign for others.
    signer.release(folder, "acme/of").unwrap();
    let text = release_text(folder, &["legacy"]).unwrap();
    let release = folder.join("legacy/handler.release");
    fs::write(&release, &text).unwrap();
    let legacy = signer.sign_legacy(text.as_bytes()).unwrap();
    fs::write(release.with_added_extension("minisig"), legacy).unwrap();
    // The signature of another handler, with its text and without.
    for file in ["handler.release", "handler.release.minisig"] {
        let from = folder.join("good").join(file);
        fs::copy(&from, folder.join("other").join(file)).unwrap();
    }
    let text = release_text(folder, &["lent"]).unwrap();
    fs::write(folder.join("lent/handler.release"), text).unwrap();
    let signature = "handler.release.minisig";
    fs::copy(
        folder.join("good").join(signature),
        folder.join("lent").join(signature),
    )
    .unwrap();
    // One file more is signed than lies there.
    let text = release_text(folder, &["more"]).unwrap();
    let more = format!("{text}sha256 {} step.wasm\n", "0".repeat(64));
    signer
        .put(&folder.join("more/handler.release"), &more)
        .unwrap();
    let host = serve(
        &stage,
        &trust(
            aside.path(),
            &[
                (&signer, "default", "handlers"),
                (&stranger, "acme", "tenant"),
            ],
        ),
    );
    wait_lines(&host, &[" deployed ", "handler=good"], 1);
    let bare = release_text(folder, &["bare"]).unwrap();
    let both = [
        &digest(&bare, "handler.toml"),
        &digest(&bare, "handler.wasm"),
    ];
    for (name, what) in [
        ("bare", "bare has to be signed (deploy.require-signature)"),
        ("bare/handler.release", both[0].as_str()),
        ("bare/handler.release", both[1].as_str()),
        (
            "stranger/handler.release.minisig",
            "a key that host.toml does not name for it",
        ),
        ("legacy/handler.release.minisig", "minisign's old kind"),
        (
            "other/handler.release",
            "it is signed for the handler default/good",
        ),
        (
            "lent/handler.release.minisig",
            "was changed since it was signed",
        ),
        ("more/handler.release", "step.wasm of sha256:000"),
        (
            "acme/of/handler.release.minisig",
            "no key of host.toml may sign it",
        ),
    ] {
        wait_lines(&host, &[name, what], 1);
    }
    stage.produce(&["one"]);
    assert_eq!(field(&stage.outputs(&host, 1)[0], "value"), "one");
    assert_eq!(count_lines(&host, &[" deployed "]), 1);
    host.stop().unwrap();
}

/// What a tenant may have is signed as well: a signed handler gets no more by another tenant's file.
#[test]
fn a_tenants_file_is_signed_by_whoever_may_grant() {
    let stage = Stage::new("signed-grants", 1);
    let (handlers, grants) = (Signer::new().unwrap(), Signer::new().unwrap());
    let folder = stage.folder.path();
    let aside = tempfile::tempdir().unwrap();
    let name = format!("acme/{}", stage.name);
    let all = |more: &str| {
        let own = format!("\"{}*\"", stage.name);
        format!("[grants]\nconsume = [{own}]\nproduce = [{own}{more}]\ngroups = [{own}]\n")
    };
    let grant = |text: &str| {
        stage.folder.swap_text("acme", "tenant.toml", text).unwrap();
    };
    grant(&all(""));
    let manifest = stage.manifest("");
    stage
        .folder
        .swap_in(&name, guest("act"), &manifest)
        .unwrap();
    handlers.release(folder, &name).unwrap();
    grants.release_tenant(folder, "acme").unwrap();
    let file = trust(
        aside.path(),
        &[(&handlers, "*", "handlers"), (&grants, "acme", "tenant")],
    );
    let host = serve(&stage, &file);
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    // More is granted, by nobody and by the tenant itself.
    grant(&all(", \"secret\""));
    wait_lines(&host, &["acme/tenant.toml", "it is not what was signed"], 1);
    handlers.release_tenant(folder, "acme").unwrap();
    wait_lines(
        &host,
        &[
            "acme/tenant.release.minisig",
            "a key that host.toml does not name for it",
        ],
        1,
    );
    fs::remove_file(folder.join("acme/tenant.toml")).unwrap();
    wait_lines(&host, &["there is no such file", "host.toml has a key"], 1);
    // Code that sees all records of the tenant, beside its signed file.
    grant(&format!(
        "{}[[middleware]]\ncomponent = \"first.wasm\"\n",
        all("")
    ));
    stage
        .folder
        .swap_beside("acme", "first.wasm", guest("middleware"))
        .unwrap();
    grants.release_tenant(folder, "acme").unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    stage
        .folder
        .swap_beside("acme", "first.wasm", guest("act"))
        .unwrap();
    wait_lines(&host, &["acme/first.wasm", "it is not what was signed"], 1);
    stage.produce(&["two"]);
    stage.outputs(&host, 2);
    assert_eq!(count_lines(&host, &[" deployed "]), 2);
    host.stop().unwrap();
}

#[test]
fn a_kept_revision_comes_back_only_while_its_signature_is_believed() {
    let kept_here = Kept::new("signed-kept");
    let stage = &kept_here.stage;
    let (first, second) = (Signer::new().unwrap(), Signer::new().unwrap());
    let folder = stage.folder.path();
    let with = |keys: &[&Signer]| {
        let keys: Vec<_> = keys.iter().map(|it| (*it, "*", "handlers")).collect();
        let file = trust(kept_here.aside.path(), &keys).display().to_string();
        let state = kept_here.state().display().to_string();
        // What a host leaves behind that is stopped is given to the next one at once.
        stage.serve(&["--config", &file, "--state", &state])
    };
    kept_here.put("v1");
    first.release(folder, &stage.name).unwrap();
    let host = with(&[&first, &second]);
    kept_here.labels_are(&host, &["v1"]);
    kept_here.put("v2");
    second.release(folder, &stage.name).unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 2);
    kept_here.labels_are(&host, &["v1", "v2"]);
    harness::wait_until("both are kept", super::stage::PATIENCE, || {
        kept(&host, &kept_here).len() == 2
    })
    .unwrap();
    kept_here.does(&host, &["rollback"]);
    kept_here.labels_are(&host, &["v1", "v2", "v1"]);
    host.stop().unwrap();
    // Also when the host starts again, and not with the key taken away.
    let host = with(&[&first, &second]);
    kept_here.labels_are(&host, &["v1", "v2", "v1", "v1"]);
    let old = kept(&host, &kept_here)[1].0.clone();
    host.stop().unwrap();
    let host = with(&[&second]);
    let release = kept_here.of_handler().join(&old).join("signed");
    let release = release.display().to_string();
    wait_lines(
        &host,
        &[&release, "a key that host.toml does not name for it"],
        1,
    );
    assert_eq!(count_lines(&host, &[" deployed "]), 0);
    // New files end the rollback, and nobody rolls back to what is not believed.
    kept_here.put("v3");
    second.release(folder, &stage.name).unwrap();
    wait_lines(&host, &[" deployed ", &stage.name], 1);
    kept_here.labels_are(&host, &["v1", "v2", "v1", "v1", "v3"]);
    let refused = kept_here.ask(&host, &["rollback", "--to", &old]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("409: ") && refused.stderr.contains("does not name for it"),
        "{}",
        refused.stderr
    );
    kept_here.labels_are(&host, &["v1", "v2", "v1", "v1", "v3", "v3"]);
    host.stop().unwrap();
}

#[test]
fn check_says_whether_a_host_would_believe_a_release() {
    let stage = Stage::new("check-signed", 1);
    let (signer, folder) = (Signer::new().unwrap(), stage.folder.path());
    let aside = tempfile::tempdir().unwrap();
    stage.deploy("act", "");
    let file = trust(aside.path(), &[(&signer, "*", "handlers")]);
    let check = || {
        let mut check = command("check").unwrap();
        Answer::of(check.arg(folder).arg("--config").arg(&file))
    };
    let refused = check();
    assert_eq!(refused.code, 64);
    assert!(
        refused.stderr.contains("has to be signed"),
        "{}",
        refused.stderr
    );
    signer.release(folder, &stage.name).unwrap();
    let good = check();
    assert_eq!(good.code, 0, "{}", good.stderr);
    // A component that is named by its digest is that one, signed or not.
    let pin = |digest: &str| {
        let manifest = stage.manifest(&format!("digest = \"{digest}\""));
        stage.folder.swap_manifest(&stage.name, &manifest).unwrap();
        Answer::of(command("check").unwrap().arg(folder))
    };
    let other = format!("sha256:{}", "0".repeat(64));
    let refused = pin(&other);
    let own = digest(&release_text(folder, &[]).unwrap(), "handler.wasm");
    assert_eq!(refused.code, 64);
    assert!(
        refused.stderr.contains(&own) && refused.stderr.contains(&other),
        "{}",
        refused.stderr
    );
    let good = pin(&own);
    assert_eq!(good.code, 0, "{}", good.stderr);
}
