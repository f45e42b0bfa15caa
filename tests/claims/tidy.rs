//! The rules of the sources that no compiler checks: levels, sizes, where `unsafe` and foreign types may be.
//!
//! It is handed nothing but the files of the workspace, and needs no server.
//! **Invariant:** every violation is reported at once, as `file:line: problem`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use harness::root;

/// A file above this is read in two sittings: split it.
const LINES_MAX: usize = 450;
/// Where `unsafe` has a reason: librdkafka's raw queues and lists, its waits and its embedded broker, the cache of native
/// code, the benchmark's loops that use the client as an expert would, and what stands in the place of libc's clock.
const UNSAFE_ALLOWED: [&str; 9] = [
    "host/src/source/",
    "host/src/guest/aot.rs",
    "host/src/dev_broker.rs",
    "host/src/timed_wait.rs",
    "host/src/cli/consume.rs",
    "host/src/cli/consume/",
    "tests/bench/reader.rs",
    "tests/bench/tuned.rs",
    "tests/clock/",
];
/// The only modules of L4 that speak to Kafka themselves.
const KAFKA_ALLOWED: [&str; 2] = ["cli", "config"];

/// One source file.
struct Source {
    /// Relative to the workspace.
    path: String,
    text: String,
}

impl Source {
    /// The lines with their numbers, without comments and without what only exists in tests.
    fn code(&self) -> Vec<(usize, &str)> {
        let mut code = Vec::new();
        // The indentation of a `#[cfg(test)]` whose item is not over yet, and whether its first line was seen.
        let mut skipped: Option<(usize, bool)> = None;
        for (number, line) in self.numbered() {
            let indent = line.len() - line.trim_start().len();
            let trimmed = line.trim();
            match skipped {
                Some((_, false)) if trimmed.starts_with("#[") || trimmed.starts_with("//") => {}
                Some((depth, _)) => {
                    let over = indent == depth
                        && (trimmed.starts_with('}') || trimmed.ends_with([';', ',', '}']));
                    skipped = if over { None } else { Some((depth, true)) };
                }
                None if trimmed == "#[cfg(test)]" => skipped = Some((indent, false)),
                None if trimmed.starts_with("//") => {}
                None => code.push((number, line)),
            }
        }
        code
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Whether the file as a whole is compiled in tests only.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.contains("/src/") && self.path.contains("/tests/")
    }

    /// The module of the host's crate that the file belongs to; `None` for other crates and for the crate's roots.
    fn module(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("host/src/")?;
        let name = inner.split('/').next()?.trim_end_matches(".rs");
        (name != "lib" && name != "main").then_some(name)
    }
}

/// All Rust files below these folders of the workspace.
fn sources(folders: &[&str]) -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(&root).unwrap().display().to_string(),
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Modules of the host with their level, as the comments of `lib.rs` have it: `// L1 decisions: …`.
fn levels() -> BTreeMap<String, u32> {
    let text = fs::read_to_string(root().join("host/src/lib.rs")).unwrap();
    let mut levels = BTreeMap::new();
    let mut level = None;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("// L") {
            level = title.chars().next().and_then(|digit| digit.to_digit(10));
        }
        let module = line.trim_start_matches("pub ").strip_prefix("mod ");
        if let Some(module) = module.and_then(|rest| rest.strip_suffix(';')) {
            let level =
                level.unwrap_or_else(|| panic!("lib.rs: `{module}` stands above the levels"));
            levels.insert(module.to_owned(), level);
        }
    }
    levels
}

/// Modules of the crate that a line names: after `crate::`, also in a group.
fn named(line: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let group = rest.strip_prefix('{').unwrap_or(rest);
        let end = if group.len() < rest.len() {
            "}"
        } else {
            ",;) "
        };
        let list = group.split(|c| end.contains(c)).next().unwrap_or_default();
        names.extend(list.split(',').map(|path| {
            let path = path.trim_start();
            let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            &path[..end.unwrap_or(path.len())]
        }));
    }
    names.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    names
}

#[test]
fn the_rules_read_code_as_it_is_written() {
    assert_eq!(named("use crate::{lane, sink::Sent};"), ["lane", "sink"]);
    assert_eq!(
        named("let x = crate::guest::new(crate::stats::Y);"),
        ["guest", "stats"]
    );
    let text = "a\n// b\n#[cfg(test)]\nuse c;\nd\n#[cfg(test)]\nmod tests {\n    e;\n}\nf\n";
    let source = Source {
        path: "host/src/guest/log.rs".to_owned(),
        text: text.to_owned(),
    };
    assert_eq!(source.code(), [(1, "a"), (5, "d"), (10, "f")]);
    assert_eq!(source.module(), Some("guest"));
    assert!(is_explained(&["// SAFETY: because", "let x ="]));
    assert!(!is_explained(&["// SAFETY: because", "let x = y;"]));
}

fn assert_none(rule: &str, problems: &[String]) {
    assert!(problems.is_empty(), "{rule}:\n  {}", problems.join("\n  "));
}

#[test]
fn a_module_uses_its_own_level_and_lower_ones() {
    let levels = levels();
    let mut problems = Vec::new();
    for source in sources(&["host/src"])
        .iter()
        .filter(|source| !source.is_test())
    {
        let Some(module) = source.module() else {
            continue;
        };
        let Some(level) = levels.get(module) else {
            problems.push(format!(
                "{}:1: lib.rs gives `{module}` no level",
                source.path
            ));
            continue;
        };
        for (number, line) in source.code() {
            for name in named(line) {
                // A macro at the root of the crate has no level.
                if let Some(other) = levels.get(name).filter(|other| *other > level) {
                    problems.push(format!(
                        "{}:{number}: `{module}` of L{level} uses `{name}` of L{other}",
                        source.path
                    ));
                }
            }
        }
    }
    assert_none("a module uses its own level and lower ones only", &problems);
}

#[test]
fn every_module_of_the_host_exists_and_has_a_level() {
    let levels = levels();
    let found: Vec<u32> = levels.values().copied().collect();
    for level in 0..=4 {
        assert!(
            found.contains(&level),
            "lib.rs has no section `// L{level} …`"
        );
    }
    let missing: Vec<&String> = levels
        .keys()
        .filter(|module| {
            let folder = root().join("host/src");
            !folder.join(format!("{module}.rs")).exists()
                && !folder.join(module).join("mod.rs").exists()
        })
        .collect();
    assert!(
        missing.is_empty(),
        "lib.rs names modules without a file: {missing:?}"
    );
}

#[test]
fn no_file_is_too_long() {
    let folders = [
        "host",
        "guest-sdk",
        "fuzz",
        "xtask",
        "tests/harness",
        "tests/bench",
        "tests/claims",
        "tests/clock",
        "tests/torture",
    ];
    let mut problems = Vec::new();
    for source in sources(&folders) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            problems.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert_none(&format!("a file has at most {LINES_MAX} lines"), &problems);
}

#[test]
fn unsafe_stands_where_it_is_allowed_and_says_why_it_is_sound() {
    let mut problems = Vec::new();
    for source in sources(&[
        "host",
        "guest-sdk",
        "fuzz",
        "xtask",
        "tests/harness",
        "tests/bench",
        "tests/claims",
        "tests/clock",
        "tests/torture",
    ]) {
        let allowed = UNSAFE_ALLOWED
            .iter()
            .any(|place| source.path.starts_with(place));
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.numbered() {
            let code = line.split("//").next().unwrap_or_default();
            let block = [concat!("unsafe", " {"), concat!("unsafe", " impl")];
            let function = [concat!("unsafe", " fn"), concat!("unsafe", " extern")];
            let is = |words: &[&str]| words.iter().any(|word| code.contains(word));
            if !is(&block) && !is(&function) {
                continue;
            }
            if !allowed {
                problems.push(format!("{}:{number}: not allowed here", source.path));
            } else if is(&block) && !is_explained(&lines[..number - 1]) {
                problems.push(format!(
                    "{}:{number}: no `// SAFETY:` above it",
                    source.path
                ));
            }
        }
    }
    assert_none("unsafe code is rare and explained", &problems);
}

/// Whether the statement that follows `above` has a SAFETY comment on top of it.
fn is_explained(above: &[&str]) -> bool {
    let ends = |line: &str| line.ends_with(';') || line.ends_with('}') || line.ends_with('{');
    let mut comment = above
        .iter()
        .rev()
        .map(|line| line.trim())
        .skip_while(|line| !line.starts_with("//") && !ends(line))
        .take_while(|line| line.starts_with("//"));
    comment.any(|line| line.starts_with("// SAFETY:"))
}

#[test]
fn the_types_of_the_edges_stay_at_the_edges() {
    let levels = levels();
    let mut problems = Vec::new();
    for source in sources(&["host/src"])
        .iter()
        .filter(|source| !source.is_test())
    {
        let Some((module, level)) = source
            .module()
            .and_then(|module| Some((module, *levels.get(module)?)))
        else {
            continue;
        };
        if level <= 2 {
            continue;
        }
        for (number, line) in source.code() {
            for library in ["rdkafka", "wasmtime"] {
                let mut words =
                    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
                let is_used = words.any(|word| {
                    word.trim_start_matches(':')
                        .starts_with(&format!("{library}::"))
                });
                let is_allowed = library == "rdkafka" && KAFKA_ALLOWED.contains(&module);
                if is_used && !is_allowed {
                    problems.push(format!("{}:{number}: {library} in L{level}", source.path));
                }
            }
        }
    }
    assert_none("above L2 nobody knows librdkafka or wasmtime", &problems);
}

#[test]
fn every_file_says_what_it_is_for() {
    let problems: Vec<String> = sources(&[
        "host/src",
        "guest-sdk/rust/src",
        "fuzz",
        "xtask/src",
        "tests/harness",
        "tests/bench",
        "tests/claims",
        "tests/clock",
        "tests/torture",
    ])
    .iter()
    .filter(|source| !source.text.starts_with("//!"))
    .map(|source| format!("{}:1: no `//!`", source.path))
    .collect();
    assert_none("every file opens with what it owns", &problems);
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        concat!("todo", "!"),
        concat!("unimplemented", "!"),
        concat!("#[", "ignore"),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
    ];
    let mut problems = Vec::new();
    for source in sources(&["host", "guest-sdk", "xtask", "tests", "examples"]) {
        for (number, line) in source.numbered() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                problems.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    assert_none("what is committed is finished", &problems);
}

#[test]
fn every_fixture_is_used_by_a_claim_or_the_benchmark() {
    let claims: String = sources(&["tests/claims", "tests/bench", "tests/torture"])
        .into_iter()
        .map(|source| source.text)
        .collect();
    let mut problems = Vec::new();
    for entry in fs::read_dir(root().join("tests/guests")).unwrap() {
        let folder = entry.unwrap();
        let name = folder.file_name().into_string().unwrap();
        let is_fixture = folder.path().join("Cargo.toml").exists();
        if is_fixture && !claims.contains(&format!("\"{name}\"")) {
            problems.push(format!("tests/guests/{name}: nothing names it"));
        }
    }
    problems.sort();
    assert_none("a fixture without a user is dead weight", &problems);
}
