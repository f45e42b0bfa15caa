//! What of Kafka a tenant may use: what its `tenant.toml` grants, and nothing else.

use harness::{Host, guest};

use super::stage::{Stage, TWICE, count_lines, field, said, verdict, wait_lines};

/// A tenant's file that grants this much.
fn grants(consume: &str, produce: &str, groups: &str) -> String {
    format!("[grants]\nconsume = [{consume}]\nproduce = [{produce}]\ngroups = [{groups}]\n")
}

/// A handler of the tenant acme under the stage's name, and what its tenant may use. `{}` is the stage's name.
fn deploy(stage: &Stage, tenant: &str, more: &str) {
    grant(stage, tenant);
    let name = format!("acme/{}", stage.name);
    let manifest = stage.manifest(more);
    let folder = &stage.folder;
    folder.swap_in(&name, guest("act"), &manifest).unwrap();
}

fn grant(stage: &Stage, tenant: &str) {
    let tenant = tenant.replace("{}", &stage.name);
    stage
        .folder
        .swap_text("acme", "tenant.toml", &tenant)
        .unwrap();
}

fn refused(host: &Host, what: &str) {
    wait_lines(
        host,
        &["handler.toml", what, "is not granted", "acme/tenant.toml"],
        1,
    );
}

#[test]
fn grants_are_obeyed() {
    let stage = Stage::new("granted", 1);
    let other = format!("{}.more", stage.name);
    stage.create_topic(&other, 1);
    let own = "\"{}.*\"";
    deploy(
        &stage,
        &grants("\"{}.in\", \"{}.replay\"", own, "\"{}\""),
        TWICE,
    );
    let host = stage.serve(&[]);
    stage.produce(&["one", &format!("emit-to {other}"), "reject it"]);
    assert_eq!(field(&stage.outputs(&host, 2)[0], "value"), "one");
    assert_eq!(stage.exactly(&other, &host, 1).len(), 1);
    stage.letters(&host, 1);
    stage.committed(&host, &[(0, 3)]);
    host.stop().unwrap();
}

/// Neither by an emit nor by a receipt nor by a request.
#[test]
fn grants_to_write_are_violated_by_no_record() {
    let stage = Stage::new("ungranted", 1);
    let (secret, answers) = (
        format!("secret-{}", stage.name),
        format!("{}.answers", stage.name),
    );
    stage.create_topic(&secret, 1);
    stage.create_topic(&answers, 1);
    let consume = "\"{}.in\", \"{}.replay\", \"{}.answers\"";
    let tenant = grants(consume, "\"{}.*\"", "\"{}\"");
    let responses = format!("{TWICE}[[response]]\ntopic = \"{answers}\"");
    deploy(&stage, &tenant, &responses);
    let host = stage.serve(&[]);
    stage.produce(&[
        &format!("emit-to {secret}"),
        &format!("receipt {secret} 10000 x"),
        &format!("ask {secret} 10000 x"),
        "ok behind",
    ]);
    // The fixture tells why there is no receipt and no response, and fails by what an emit returns.
    let outputs = stage.outputs(&host, 3);
    for output in outputs.iter().take(2) {
        let result = field(output, "result");
        assert!(result.contains("not among the topics"), "{result}");
    }
    let letter = stage.letter(&host);
    assert_eq!(verdict(&letter).0, "other");
    let error = said(&letter, "error");
    assert!(
        error.contains(&format!("{secret} is not among the topics")),
        "{error}"
    );
    assert_eq!(stage.read(&secret).len(), 0);
    host.stop().unwrap();
}

/// A tenant's file that grants all of Kafka, and these imports.
fn imports(list: &str) -> String {
    let all = grants("\"*\"", "\"*\"", "\"*\"");
    format!("imports = [{list}]\n{all}")
}

#[test]
fn imports_are_obeyed() {
    let stage = Stage::new("imports", 1);
    deploy(&stage, &imports("\"wasi:*\""), "");
    let host = stage.serve(&[]);
    stage.produce(&["one"]);
    assert_eq!(field(&stage.outputs(&host, 1)[0], "value"), "one");
    host.stop().unwrap();
}

/// Neither by a handler's component nor by middleware.
#[test]
fn imports_are_violated_by_no_deployment() {
    let stage = Stage::new("no-imports", 1);
    deploy(&stage, &imports("\"wasi:*\""), "");
    let host = stage.serve(&[]);
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    let told = "the component imports wasi:";
    let told = |file| {
        [
            file,
            told,
            "which the tenant may not: imports has \"wasi:clocks\"",
            "acme/tenant.toml",
        ]
    };
    grant(&stage, &imports("\"wasi:clocks\""));
    wait_lines(&host, &told("handler.wasm"), 1);
    wait_lines(&host, &["the old one goes on serving"], 1);
    stage.produce(&["two"]);
    stage.outputs(&host, 2);
    let folder = &stage.folder;
    folder
        .swap_beside("acme", "first.wasm", guest("middleware"))
        .unwrap();
    let middleware = "[[middleware]]\ncomponent = \"first.wasm\"\n";
    grant(
        &stage,
        &format!("{}{middleware}", imports("\"wasi:clocks\"")),
    );
    wait_lines(&host, &told("first.wasm"), 1);
    host.stop().unwrap();
}

/// What the manifest asks for beyond it keeps a handler from being deployed; what is taken away later keeps the old
/// revision serving until the handler asks for less.
#[test]
fn grants_are_violated_by_no_deployment() {
    let stage = Stage::new("beyond", 1);
    let all = grants("\"*\"", "\"*\"", "\"*\"");
    for (number, (tenant, more, what)) in [
        (String::new(), "", "the group"),
        (grants("\"*\"", "\"*\"", "\"other.*\""), "", "the group"),
        (
            grants("\"{}.replay\"", "\"*\"", "\"*\""),
            "",
            "the topic \"beyond",
        ),
        (
            grants("\"*\"", "\"{}.out\"", "\"*\""),
            "",
            "the topic of dead letters",
        ),
        (
            grants("\"{}.*\"", "\"*\"", "\"*\""),
            "[[response]]\ntopic = \"answers\"",
            "the topic of responses",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let stage = Stage::new(&format!("beyond-{number}"), 1);
        deploy(&stage, &tenant, more);
        let host = stage.serve(&[]);
        refused(&host, what);
        host.stop().unwrap();
    }
    deploy(&stage, &all, "");
    let host = stage.serve(&[]);
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    grant(&stage, &grants("\"*\"", "\"nothing\"", "\"*\""));
    refused(&host, "the topic of dead letters");
    wait_lines(&host, &["the old one goes on serving"], 1);
    stage.produce(&["two"]);
    stage.outputs(&host, 2);
    host.stop().unwrap();
}

/// What was refused while there was a file is not deployed because it is away for a moment.
#[test]
fn a_tenant_that_loses_its_file_is_granted_nothing_more() {
    let stage = Stage::new("lost-file", 1);
    let own = "\"{}.*\"";
    let tenant = grants("\"{}.in\", \"{}.replay\"", own, "\"{}\"");
    deploy(&stage, &tenant, TWICE);
    let folder = &stage.folder;
    let greedy = stage.manifest("").replace(
        &format!("group = \"{}\"", stage.name),
        &format!("group = \"{}.greedy\"", stage.name),
    );
    folder
        .swap_in("acme/greedy", guest("act"), &greedy)
        .unwrap();
    let host = stage.serve(&[]);
    refused(&host, "greedy");
    let file = folder.path().join("acme/tenant.toml");
    let aside = folder.path().join("acme/.tenant.toml");
    std::fs::rename(&file, &aside).unwrap();
    let lost = ["greedy", "had a tenant.toml and has none now"];
    wait_lines(&host, &lost, 1);
    stage.produce(&["one"]);
    assert_eq!(stage.outputs(&host, 1).len(), 1);
    std::fs::rename(&aside, &file).unwrap();
    stage.produce(&["two"]);
    assert_eq!(stage.outputs(&host, 2).len(), 2);
    assert_eq!(count_lines(&host, &[" deployed ", "greedy"]), 0);
    host.stop().unwrap();
}

#[test]
fn credentials_are_those_of_the_host_or_of_the_tenants_file() {
    let stage = Stage::new("borrowed-key", 1);
    let own = "\"{}*\"";
    let key = "kafka.producer.\"ssl.key.location\" = \"/run/secrets/other.key\"\n";
    deploy(&stage, &grants(own, own, own), key);
    let host = stage.serve(&[]);
    let told = ["handler.toml", "ssl.key.location", "acme/tenant.toml"];
    wait_lines(&host, &told, 1);
    let manifest = stage.manifest("");
    let name = format!("acme/{}", stage.name);
    stage.folder.swap_manifest(&name, &manifest).unwrap();
    stage.produce(&["one"]);
    stage.outputs(&host, 1);
    host.stop().unwrap();
}
