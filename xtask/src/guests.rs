//! Builds the guests: the examples and the fixtures of the tests, as components for wasm32-wasip2.
//!
//! The user's own cargo is the first choice. Where the target cannot be had from rustup (closed
//! networks, a distribution's rustc), Debian's rustc builds it with the standard library's sources.
//! **Invariant:** guests never share a target folder with the host: other compiler, other profile.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::setup::apt_install;
use crate::sh::{cargo, cmd, on_path, root, run, run_quietly, succeeds, target, write_file};

/// What a guest compiles to: a component of WASI 0.2.
pub(crate) const TARGET: &str = "wasm32-wasip2";
/// The workspaces that hold guests.
pub(crate) const ALL: [&str; 2] = ["tests/guests", EXAMPLES];
/// The workspace of the examples.
pub(crate) const EXAMPLES: &str = "examples";
/// The crate that guests are written with. It compiles natively too, for its own tests.
pub(crate) const SDK: &str = "guest-sdk/rust";

/// Set to `debian` to use Debian's compiler although rustup has the target.
const CHOICE: &str = "KAFKA_WASM_GUEST_TOOLCHAIN";
const DEBIAN_PACKAGES: [&str; 5] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "lld-22",
    "wasi-libc",
];
const WASM_LD: &str = "/usr/bin/wasm-ld-22";
const WASI_LIBC: &str = "/usr/lib/wasm32-wasi";

/// Where the compiler of the guests comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The cargo that runs this program, with the target that rustup installed.
    Native,
    /// Debian's rustc, which builds the standard library first.
    Debian,
}

impl Toolchain {
    /// Finds a toolchain or installs one, and says which it is.
    pub(crate) fn find_or_install() -> Result<Self> {
        let wanted = env::var(CHOICE).unwrap_or_default();
        if wanted == "debian" {
            return Self::debian();
        }
        if has_native_target() {
            println!("  {TARGET}: found (the rustc in use has it)");
            return Ok(Self::Native);
        }
        if on_path("rustup") && succeeds(cmd("rustup").args(["target", "add", TARGET])) {
            println!("  {TARGET}: installed (rustup target add)");
            return Ok(Self::Native);
        }
        println!("  {TARGET}: rustup has no way to get it here, so Debian's rustc is used");
        Self::debian()
    }

    fn debian() -> Result<Self> {
        let complete = Path::new(WASM_LD).exists()
            && Path::new(WASI_LIBC).exists()
            && Path::new("/usr/bin/rustc").exists()
            && Path::new("/usr/bin/cargo").exists();
        if !complete {
            apt_install(TARGET, &DEBIAN_PACKAGES)?;
        }
        if !target("tools/bin/wasm-component-ld").exists() {
            println!("  {TARGET}: installing wasm-component-ld into target/tools (a minute)");
            let mut install = cargo("install");
            install
                .args(["--locked", "wasm-component-ld", "--root"])
                .arg(target("tools"));
            run_quietly(&mut install)?;
        }
        println!("  {TARGET}: found (Debian's rustc builds the standard library itself)");
        Ok(Self::Debian)
    }

    /// Returns a cargo command for a workspace of guests, with the target already chosen.
    pub(crate) fn cargo(self, task: &str, workspace: &str) -> Result<Command> {
        let mut command = match self {
            Self::Native => cargo(task),
            Self::Debian => Command::new("/usr/bin/cargo"),
        };
        if self == Self::Debian {
            let tools = target("tools/bin");
            let old = env::var_os("PATH").unwrap_or_default();
            let path = env::join_paths([tools].into_iter().chain(env::split_paths(&old)))
                .context("cannot extend the path")?;
            command
                .arg(task)
                .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features="])
                .env("PATH", path)
                .env("RUSTC", "/usr/bin/rustc")
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_WASIP2_LINKER", "wasm-component-ld")
                .env(
                    "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
                    format!("-L native={WASI_LIBC} -Clink-args=--wasm-ld-path={WASM_LD}"),
                )
                // These lead to the compiler that runs this program.
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("LD_LIBRARY_PATH");
        }
        command
            .args(["--release", "--target", TARGET])
            .current_dir(root().join(workspace))
            .env("CARGO_TARGET_DIR", target("guests"));
        Ok(command)
    }
}

/// Builds the guests of these workspaces, prints their sizes, and lays the examples out as a handlers
/// folder, ready to be served.
pub(crate) fn build(workspaces: &[&str]) -> Result<()> {
    let toolchain = Toolchain::find_or_install()?;
    for workspace in workspaces {
        run(&mut toolchain.cargo("build", workspace)?)?;
    }
    if workspaces.contains(&"tests/guests") {
        print_sizes()?;
    }
    if workspaces.contains(&EXAMPLES) {
        for example in examples()? {
            let bytes = example.lay_out(&target("handlers"))?;
            println!("  target/handlers/{}: {} KB", example.name, bytes / 1000);
        }
    }
    Ok(())
}

/// One folder of examples/ that can be served.
pub(crate) struct Example {
    /// The name of its folder, and so of its handler.
    pub(crate) name: String,
    folder: PathBuf,
}

impl Example {
    /// Copies manifest and component into `<handlers>/<name>/`; returns the component's size in bytes.
    pub(crate) fn lay_out(&self, handlers: &Path) -> Result<usize> {
        let cargo_toml = fs::read_to_string(self.folder.join("Cargo.toml"))?;
        let krate = package_name(&cargo_toml)
            .with_context(|| format!("examples/{}/Cargo.toml names no package", self.name))?;
        let built = component(krate);
        let wasm = fs::read(&built).with_context(|| {
            format!("{} was not built: is it in examples/Cargo.toml?", self.name)
        })?;
        let manifest = fs::read(self.folder.join("handler.toml"))?;
        let folder = handlers.join(&self.name);
        write_file(&folder.join(format!("{}.wasm", self.name)), &wasm)?;
        write_file(&folder.join("handler.toml"), &manifest)?;
        Ok(wasm.len())
    }
}

/// Lists the examples by name.
pub(crate) fn examples() -> Result<Vec<Example>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(EXAMPLES)).context("cannot list examples/")? {
        let folder = entry?.path();
        if folder.join("handler.toml").exists()
            && let Some(name) = folder.file_name()
        {
            let name = name.to_string_lossy().into_owned();
            found.push(Example { name, folder });
        }
    }
    if found.is_empty() {
        bail!("examples/ has no folder with a handler.toml");
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Returns where a guest is, by the name of its crate.
pub(crate) fn component(krate: &str) -> PathBuf {
    target("guests")
        .join(TARGET)
        .join("release")
        .join(format!("{}.wasm", krate.replace('-', "_")))
}

fn print_sizes() -> Result<()> {
    let folder = target("guests").join(TARGET).join("release");
    let mut sizes = Vec::new();
    for entry in fs::read_dir(&folder).context("no guest was built")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".wasm") {
            sizes.push(format!("{name} {} KB", entry.metadata()?.len() / 1000));
        }
    }
    sizes.sort();
    println!("  {} components: {}", sizes.len(), sizes.join(", "));
    Ok(())
}

/// Returns the first `name = "…"` of a Cargo.toml, which is the package's.
fn package_name(cargo_toml: &str) -> Option<&str> {
    cargo_toml.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "name").then(|| value.trim().trim_matches('"'))
    })
}

fn has_native_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    crate::sh::capture(cmd(rustc).args(["--print", "target-libdir", "--target", TARGET]))
        .ok()
        .and_then(|folder| fs::read_dir(folder.trim()).ok())
        .is_some_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::package_name;

    #[test]
    fn the_package_name_is_the_first_name() {
        let text = "[package]\nname = \"example-hello\"\n[lib]\nname = \"other\"\n";
        assert_eq!(package_name(text), Some("example-hello"));
        assert_eq!(package_name("[workspace]"), None);
    }
}
