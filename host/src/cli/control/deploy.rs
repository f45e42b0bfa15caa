//! `deploy`: sends the folder of a handler to a running host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};

use super::HostArgs;
use super::client::Ask;
use super::print::served;
use crate::ids::HandlerId;
use crate::tar;

/// What a host takes at most.
const FOLDER_MAX: u64 = 64 << 20;

/// Send the folder of a handler to a running host, which serves it from then on
///
/// The host tries it out first. What it refuses leaves the revision that serves, and says why. The files replace all those
/// that the handler has in the host's handlers folder.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:
  kafka-wasm-host deploy target/orders acme/orders

The folder holds handler.toml, the component, and what the manifest names beside it; hidden files and folders in it are
left out. What a tenant may have is for whoever runs the host to say: a tenant.toml is refused.")]
pub struct DeployArgs {
    /// The folder with handler.toml and the component
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The handler, as tenant/handler
    #[arg(value_name = "HANDLER")]
    handler: HandlerId,
    #[command(flatten)]
    host: HostArgs,
}

/// Runs `deploy`.
pub fn deploy(args: &DeployArgs) -> anyhow::Result<ExitCode> {
    let files = files_in(&args.folder)?;
    let archive = tar::write(&files).with_context(|| args.folder.display().to_string())?;
    let ask = Ask::put(super::path(&args.handler, ""), "application/x-tar", archive);
    args.host
        .run(&ask, |answer| served(answer, "is being tried out"))
}

/// Reads the files of a folder, without hidden ones and without those of folders in it.
fn files_in(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let unreadable = |path: &Path| format!("{}: cannot be read", path.display());
    let (mut files, mut bytes) = (BTreeMap::new(), 0);
    for entry in fs::read_dir(folder).with_context(|| unreadable(folder))? {
        let path = entry.with_context(|| unreadable(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let found = fs::metadata(&path).with_context(|| unreadable(&path))?;
        if name.starts_with('.') || !found.is_file() {
            continue;
        }
        bytes += found.len();
        ensure!(
            bytes <= FOLDER_MAX,
            "{}: there is more than {} MiB in it, which no host takes",
            folder.display(),
            FOLDER_MAX >> 20
        );
        let content = fs::read(&path).with_context(|| unreadable(&path))?;
        files.insert(name.into_owned(), content);
    }
    ensure!(
        files.contains_key("handler.toml"),
        "{}: there is no handler.toml in it",
        folder.display()
    );
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_sent_without_what_is_hidden_or_deeper() {
        let folder = tempfile::tempdir().unwrap();
        let told = || format!("{:#}", files_in(folder.path()).unwrap_err());
        assert!(told().contains("no handler.toml"), "{}", told());
        for name in ["handler.toml", "o.wasm", "handler.sig", ".swp"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("src")).unwrap();
        let files = files_in(folder.path()).unwrap();
        let names: Vec<&String> = files.keys().collect();
        assert_eq!(names, ["handler.sig", "handler.toml", "o.wasm"]);
        assert!(tar::read(&tar::write(&files).unwrap()).is_ok());
    }
}
