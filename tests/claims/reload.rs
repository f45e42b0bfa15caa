//! Settings that are read again while the host runs, with the embedded broker.
//!
//! **Invariant:** a file with anything wrong in it changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::host::command;
use harness::http::request;
use harness::{HandlersDir, Host, guest, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::answer::Answer;

const WAIT: Duration = Duration::from_secs(20);
const JSON: (&str, &str) = ("Content-Type", "application/json");
const RELOAD: &str = "POST /v1/reload";
/// The SHA-256 of `s3cret-root` and of `s3cret-eve`.
const ROOT: &str = "root admin ROOT-DIGEST";
const EVE: &str = "eve read EVE-DIGEST";

/// A host with a file of settings and one of tokens.
struct Scene {
    aside: TempDir,
    _folder: HandlersDir,
    host: Host,
}

impl Scene {
    fn new(tokens: &[&str], settings: &str) -> Self {
        let (folder, aside) = (HandlersDir::new().unwrap(), tempfile::tempdir().unwrap());
        let manifest = "topics = [\"orders\"]\n";
        folder.handler("good", guest("act"), manifest).unwrap();
        write_tokens(aside.path(), tokens);
        write_settings(aside.path(), settings);
        let toml = aside.path().join("host.toml").display().to_string();
        let host = Host::dev().handlers(folder.path());
        let host = host.args(["--config", &toml]).start_ready().unwrap();
        Self {
            aside,
            _folder: folder,
            host,
        }
    }

    fn settings(&self, text: &str) {
        write_settings(self.aside.path(), text);
    }

    fn file(&self) -> PathBuf {
        self.aside.path().join("host.toml")
    }

    /// Asks as somebody; returns the status and the answer.
    fn ask(&self, what: &str, who: &str) -> (u16, Value) {
        let token = format!("Bearer s3cret-{who}");
        let headers = [JSON, ("Authorization", token.as_str())];
        let (status, answer) = request(self.host.http_addr(), what, &headers, "").unwrap();
        (status, serde_json::from_str(&answer).unwrap())
    }

    /// How many lines have all of these texts.
    fn lines(&self, texts: &[&str]) -> usize {
        let lines = self.host.lines();
        let has = |line: &&String| texts.iter().all(|text| line.contains(text));
        lines.iter().filter(has).count()
    }

    fn wait_lines(&self, texts: &[&str], count: usize) {
        let waited = wait_until("a line of the log", WAIT, || self.lines(texts) >= count);
        waited.unwrap_or_else(|error| panic!("{texts:?}: {error}\n{}", self.host.tail()));
    }
}

/// The SHA-256 of a token, as `sha256sum` has it.
fn digest(folder: &Path, token: &str) -> String {
    let file = folder.join("shown");
    fs::write(&file, token).unwrap();
    let output = std::process::Command::new("sha256sum").arg(&file).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

fn write_tokens(folder: &Path, lines: &[&str]) {
    let text = lines.join("\n");
    let text = text.replace("ROOT-DIGEST", &digest(folder, "s3cret-root"));
    let text = text.replace("EVE-DIGEST", &digest(folder, "s3cret-eve"));
    fs::write(folder.join("tokens"), text).unwrap();
}

fn write_settings(folder: &Path, text: &str) {
    let tokens = folder.join("tokens").display().to_string();
    let text = format!("{text}\n[api]\ntokens-file = \"{tokens}\"\n");
    fs::write(folder.join("host.toml"), text).unwrap();
}

fn texts<'v>(list: &'v Value, name: &str) -> Vec<&'v str> {
    let all = list.as_array().unwrap().iter();
    all.map(|it| it[name].as_str().unwrap_or("-")).collect()
}

#[test]
fn a_token_that_was_taken_out_opens_nothing_after_a_reload() {
    let mut scene = Scene::new(&[ROOT, EVE], "");
    assert_eq!(scene.ask("GET /v1/handlers", "eve").0, 200);
    // Who may look may not have settings read.
    let (status, refused) = scene.ask(RELOAD, "eve");
    assert_eq!(status, 403, "{refused}");
    write_tokens(scene.aside.path(), &[ROOT]);
    assert_eq!(scene.ask("GET /v1/handlers", "eve").0, 200);
    scene.host.hang_up().unwrap();
    scene.wait_lines(&["audit", "SIGHUP", "reload", "done"], 1);
    assert_eq!(scene.ask("GET /v1/handlers", "eve").0, 401);
    assert_eq!(scene.ask("GET /v1/handlers", "root").0, 200);
    scene.host.stop().unwrap();
}

#[test]
fn a_reload_changes_what_it_can_and_names_what_it_cannot() {
    let kafka = |password: &str| format!("[kafka]\nsasl.password = \"{password}\"");
    let old = "log = \"error\"\nstate = \"STATE\"\nrevisions-kept = 3\ndrain-timeout-ms = 5000\n";
    let folder = tempfile::tempdir().unwrap();
    let old = old.replace("STATE", &folder.path().display().to_string());
    let mut scene = Scene::new(&[ROOT], &format!("{old}{}", kafka("hunter2")));
    let (status, same) = scene.ask(RELOAD, "root");
    assert_eq!((status, &same["lines"]), (200, &Value::Array(Vec::new())));
    // Nothing below errors is logged, nor that.
    assert_eq!(scene.lines(&["reload"]), 0, "{}", scene.host.tail());
    let new = old.replace("\"error\"", "\"info\"");
    let new = new.replace("5000", "6000").replace("kept = 3", "kept = 4");
    scene.settings(&format!("{new}{}", kafka("hunter3")));
    let (status, answer) = scene.ask(RELOAD, "root");
    assert_eq!(status, 200, "{answer}");
    assert_eq!(texts(&answer["changed"], "key"), ["log", "revisions-kept"]);
    let restart = &answer["needs-restart"];
    assert_eq!(
        texts(restart, "key"),
        ["drain-timeout-ms", "kafka.sasl.password"]
    );
    assert_eq!(texts(restart, "from"), ["5000", "-"]);
    assert_eq!(texts(restart, "to"), ["6000", "-"]);
    let file = scene.file().display().to_string();
    let told = "drain-timeout-ms: changed from 5000 to 6000; needs a restart";
    scene.wait_lines(&[&file, told], 1);
    scene.wait_lines(&["audit", "root", "reload", "done"], 1);
    // What was changed is not told again, and what was not is.
    scene.host.hang_up().unwrap();
    scene.wait_lines(&["audit", "SIGHUP", "reload", "done"], 1);
    assert_eq!(scene.lines(&["revisions-kept: changed from 3 to 4"]), 1);
    assert_eq!(scene.lines(&[told]), 2);
    assert_eq!(scene.lines(&["hunter"]), 0);

    let token = scene.aside.path().join("token");
    fs::write(&token, "s3cret-root").unwrap();
    let mut reload = command("reload").unwrap();
    reload.args(["--http", scene.host.http_addr(), "--token-file"]);
    let printed = Answer::of(reload.arg(&token));
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    assert!(printed.stdout.contains(told), "{}", printed.stdout);
    scene.host.stop().unwrap();
}

#[test]
fn a_file_with_anything_wrong_in_it_changes_nothing() {
    let mut scene = Scene::new(&[ROOT, EVE], "log = \"info\"");
    write_tokens(scene.aside.path(), &[ROOT]);
    scene.settings("log = \"error\"\ninstances-max = 0\nstrickt = true");
    let file = scene.file().display().to_string();
    let wrong = [
        format!("{file}:2: instances-max: expected a whole number of instances from 1 to 100000"),
        format!("{file}:3: unknown key \"strickt\" (did you mean \"strict\"?)"),
    ];
    scene.host.hang_up().unwrap();
    for told in &wrong {
        scene.wait_lines(&["ERROR", told, "nothing was changed"], 1);
    }
    let (status, answer) = scene.ask(RELOAD, "root");
    let error = answer["error"].as_str().unwrap();
    assert_eq!(status, 409, "{error}");
    for told in &wrong {
        assert!(error.contains(told), "{error}");
    }
    assert_eq!(scene.ask("GET /v1/handlers", "eve").0, 200);
    scene.wait_lines(&["audit", "root", "reload", "refused"], 1);
    // So does one of tokens, though the settings are fine.
    scene.settings("log = \"error\"");
    write_tokens(scene.aside.path(), &[ROOT, "eve looks 1234"]);
    scene.host.hang_up().unwrap();
    scene.wait_lines(&["tokens:2: eve has no role", "nothing was changed"], 1);
    assert_eq!(scene.ask("GET /v1/handlers", "eve").0, 200);
    fs::remove_file(scene.file()).unwrap();
    scene.host.hang_up().unwrap();
    scene.wait_lines(&["host.toml: cannot be read", "nothing was changed"], 1);
    scene.wait_lines(&["audit", "SIGHUP", "reload", "refused"], 3);
    scene.host.stop().unwrap();
}
