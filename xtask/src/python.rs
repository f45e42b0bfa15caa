//! Sets up Python that others talk to or run: environments of their own, with the packages that they name.
//!
//! It is handed a file with packages and their hashes; that of the tests is tests/python/requirements.txt. Where there is
//! no Python for which they are built, and none can be installed, it says so, and what needs it is skipped and counted.
//! **Invariant:** the marker, a copy of the requirements, is written last: an environment that has it is complete.

use std::fs;

use anyhow::{Context as _, Result};

use crate::setup::apt_install;
use crate::sh::{cmd, root, run_quietly, succeeds, target, write_file};

/// Tests that need the packages have this in their names.
pub(crate) const NEEDS_PYTHON: &str = "kafka_python_app";
/// Versions for which all packages are built.
const VERSIONS: &str = "3.10 to 3.13";
/// Succeeds where a Python of these versions can make environments.
const FITS: &str =
    "import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))";

/// Sets up the environment of the tests; returns whether it is there.
pub(crate) fn environment() -> Result<bool> {
    packages("tests/python/requirements.txt", "tools/python")
}

/// Sets up an environment with these packages in `target/<place>`; returns whether it is there.
pub(crate) fn packages(requirements: &str, place: &str) -> Result<bool> {
    let requirements = root().join(requirements);
    let wanted = fs::read_to_string(&requirements).context("cannot read the requirements")?;
    let folder = target(place);
    let (marker, python) = (folder.join("complete"), folder.join("bin/python"));
    let is_complete = fs::read_to_string(&marker).is_ok_and(|of| of == wanted);
    // An environment is links to the Python that made it, which may be gone.
    if is_complete && succeeds(cmd(&python).args(["-c", ""])) {
        println!("  Python packages: found (target/{place})");
        return Ok(true);
    }
    if !find_or_install() {
        return Ok(false);
    }
    println!("  Python packages: installing into target/{place} (pip)");
    run_quietly(cmd("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut install = cmd(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--only-binary=:all:"])
        .args(["--require-hashes", "--requirement"])
        .arg(&requirements);
    run_quietly(&mut install).context("cannot install the Python packages")?;
    write_file(&marker, wanted.as_bytes())?;
    Ok(true)
}

/// Finds a Python that fits, or installs Debian's; returns whether there is one.
fn find_or_install() -> bool {
    let fits = || succeeds(cmd("python3").args(["-c", FITS]));
    if fits() {
        println!("  python3: found");
        return true;
    }
    let why_not = match apt_install("python3", &["python3", "python3-venv"]) {
        Ok(()) if fits() => return true,
        Ok(()) => "Debian's has another version".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    println!("  python3: no Python {VERSIONS} with venv: {why_not}");
    println!("  python3: tests with {NEEDS_PYTHON} in their names are skipped");
    false
}
