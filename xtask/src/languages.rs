//! Builds the handlers of the benchmark that are not written in Rust: Python, and JavaScript with either of two engines.
//!
//! It is handed nothing; the sources and the versions of the tools stand in tests/bench/languages. The tools come by pip
//! and npm into `target/tools`, the components go to `target/languages`.
//! **Invariant:** beside each component lies what it was made of; one that has it is up to date.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::python;
use crate::sh::{cmd, on_path, root, run_quietly, target, write_file};

const SOURCES: &str = "tests/bench/languages";
/// What each language has a handler for, and the world that it is made for.
const HANDLERS: [(&str, &str); 4] = [
    ("passing", "records"),
    ("own", "records"),
    ("staying", "views"),
    ("fields", "views"),
];
const NODE_VERSIONS: &str = "20 or later";

/// Names the variants of the benchmark that run them.
pub(crate) fn variants() -> impl Iterator<Item = String> {
    let languages = ["python", "js", "quickjs"].into_iter();
    languages.flat_map(|language| HANDLERS.map(|(name, _)| format!("{language}-{name}")))
}

/// Builds all of them that are not up to date.
pub(crate) fn build() -> Result<()> {
    let wit = lay_out_wit()?;
    let requirements = format!("{SOURCES}/requirements.txt");
    if !python::packages(&requirements, "tools/componentize-py")? {
        bail!("the benchmark of languages needs Python");
    }
    let pins = fs::read_to_string(root().join(&requirements))? + &wit;
    for (name, world) in HANDLERS {
        component("python", (name, "py"), &pins, |folder, to| {
            in_python(folder, name, world, to)
        })?;
    }
    let pins = packages_of_npm()? + &wit;
    for (name, world) in HANDLERS {
        component("js", (name, "js"), &pins, |folder, to| {
            in_spidermonkey(folder, name, world, to)
        })?;
        component("quickjs", (name, "js"), &pins, |folder, to| {
            in_quickjs(folder, name, world, to)
        })?;
    }
    Ok(())
}

// None of them has WASI taken away by its tool: the settings of a handler are an interface of WASI's, too.

fn in_python(folder: &Path, name: &str, world: &str, to: &Path) -> Command {
    let mut command = cmd(target("tools/componentize-py/bin/componentize-py"));
    command
        .arg("--wit-path")
        .arg(target("languages/wit"))
        .args(["--world", world, "componentize", name, "--output"])
        .arg(to)
        .current_dir(folder);
    command
}

fn in_spidermonkey(folder: &Path, name: &str, world: &str, to: &Path) -> Command {
    let mut command = cmd("node");
    command
        .arg(target("tools/componentize-js/componentize.mjs"))
        .arg(folder.join(format!("{name}.js")))
        .arg(target("languages/wit"))
        .arg(world)
        .arg(to);
    command
}

fn in_quickjs(folder: &Path, name: &str, world: &str, to: &Path) -> Command {
    let mut command = cmd(target("tools/componentize-js/node_modules/.bin/jco"));
    command
        .args(["componentize", "--backend", "qjs"])
        // The host takes no components whose functions are asynchronous.
        .arg("--backend-qjs-disable-async")
        .arg("--wit")
        .arg(target("languages/wit"))
        .args(["--world-name", world, "--out"])
        .arg(to)
        .arg(folder.join(format!("{name}.js")));
    command
}

/// Makes `target/languages/<language>-<name>.wasm` of one source, which has a folder for itself: tools leave things there.
fn component(
    language: &str,
    (name, extension): (&str, &str),
    made_of: &str,
    tool: impl FnOnce(&Path, &Path) -> Command,
) -> Result<()> {
    let file = format!("{name}.{extension}");
    let source = fs::read_to_string(root().join(SOURCES).join(&file))
        .with_context(|| format!("cannot read {SOURCES}/{file}"))?;
    let made_of = format!("{source}\n{made_of}");
    let to = target(&format!("languages/{language}-{name}.wasm"));
    let marker = to.with_extension("made-of");
    if to.exists() && fs::read_to_string(&marker).is_ok_and(|of| of == made_of) {
        println!("  {language}-{name}: found (target/languages)");
        return Ok(());
    }
    let folder = target(&format!("languages/{language}"));
    write_file(&folder.join(&file), source.as_bytes())?;
    run_quietly(&mut tool(&folder, &to))?;
    write_file(&marker, made_of.as_bytes())
}

/// Lays the project's interfaces beside the worlds of the handlers, as their tools want them; returns all their text.
fn lay_out_wit() -> Result<String> {
    let to = target("languages/wit");
    let mut text = copy_wit(&root().join(SOURCES).join("wit"), &to)?;
    text.push_str(&copy_wit(&root().join("wit"), &to.join("deps/handler"))?);
    for package in ["config", "logging"] {
        let from = root().join("wit/deps").join(package);
        text.push_str(&copy_wit(&from, &to.join("deps").join(package))?);
    }
    Ok(text)
}

fn copy_wit(from: &Path, to: &Path) -> Result<String> {
    let listed = fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
    let mut paths = Vec::new();
    for entry in listed {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "wit") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut all = String::new();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        let name = path.file_name().context("a file has a name")?;
        write_file(&to.join(name), text.as_bytes())?;
        all.push_str(&text);
    }
    Ok(all)
}

/// Sets up what the JavaScript is compiled with in `target/tools/componentize-js`; returns its versions.
fn packages_of_npm() -> Result<String> {
    let sources = root().join(SOURCES);
    let pins = fs::read_to_string(sources.join("package.json"))?;
    let script = fs::read_to_string(sources.join("componentize.mjs"))?;
    let folder = target("tools/componentize-js");
    write_file(&folder.join("componentize.mjs"), script.as_bytes())?;
    let marker = folder.join("complete");
    if fs::read_to_string(&marker).is_ok_and(|of| of == pins) {
        println!("  packages of npm: found (target/tools/componentize-js)");
    } else {
        if !on_path("npm") {
            bail!("the benchmark of languages needs Node.js {NODE_VERSIONS} with npm");
        }
        println!("  packages of npm: installing into target/tools/componentize-js");
        write_file(&folder.join("package.json"), pins.as_bytes())?;
        let mut install = cmd("npm");
        // Nothing of theirs is run on the way.
        install
            .args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
            .arg("--no-package-lock")
            .current_dir(&folder);
        run_quietly(&mut install).context("cannot install the packages of npm")?;
        write_file(&marker, pins.as_bytes())?;
    }
    Ok(format!("{pins}\n{script}"))
}
