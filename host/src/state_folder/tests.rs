//! The state folder on a real disk.

use super::*;
use crate::history::{Cause, Paused};

fn revision(n: u8) -> Revision {
    Revision::from_digest(&[n; 6])
}

fn kept(n: u8) -> Kept {
    Kept {
        revision: revision(n),
        digest: format!("files {n}"),
        at_ms: 0,
        cause: Cause::Folder,
        who: "somebody".to_owned(),
        failed: false,
    }
}

fn files(text: &str) -> Files {
    let files = ["handler.toml", "a.wasm", "tenant/tenant.toml"];
    let files = files.map(|name| (name.to_owned(), text.as_bytes().to_vec()));
    files.into()
}

/// A state folder that keeps two revisions, and a handler.
fn state() -> (tempfile::TempDir, StateFolder, HandlerId) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateFolder::new(folder.path().join("state"), 2);
    (folder, state, "acme/orders".parse().unwrap())
}

#[test]
fn what_is_kept_is_the_owners_alone_and_the_oldest_goes() {
    let (_folder, state, id) = state();
    assert_eq!(state.history(&id).unwrap(), History::default());
    for n in [1, 2, 3] {
        state.keep(&id, kept(n), &files(&n.to_string())).unwrap();
    }
    let names: Vec<Revision> = state
        .history(&id)
        .unwrap()
        .revisions
        .into_iter()
        .map(|it| it.revision)
        .collect();
    assert_eq!(names, [revision(2), revision(3)]);
    assert!(!state.release(&id, &revision(1)).exists());
    let release = state.release(&id, &revision(2));
    let tenant = release.join("tenant/tenant.toml");
    assert_eq!(fs::read_to_string(&tenant).unwrap(), "2");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&release), mode(&tenant)), (0o700, 0o600));
    assert_eq!(mode(&state.root), 0o700);
    assert_eq!(state.failures(), 0);
}

#[test]
fn what_is_half_written_is_swept_and_the_rest_stays() {
    let (_folder, state, id) = state();
    state.sweep().unwrap();
    state.keep(&id, kept(1), &files("1")).unwrap();
    let history = History {
        paused: Some(Paused {
            at_ms: 1,
            who: "ann".to_owned(),
        }),
        ..state.history(&id).unwrap()
    };
    state.write(&id, &history).unwrap();
    let folder = state.folder(&id);
    // Renamed, and not in the history; begun; and a draft of the history.
    write_all(&state.release(&id, &revision(2)), &files("2")).unwrap();
    write_all(&folder.join(".new-030303030303"), &files("3")).unwrap();
    fs::write(folder.join(".new-history.json"), "{\"revi").unwrap();
    state.sweep().unwrap();
    let mut left: Vec<String> = entries(&folder)
        .unwrap()
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["010101010101", "history.json"]);
    assert_eq!(state.history(&id).unwrap(), history);
    // What was left of another try is no hindrance either.
    write_all(&state.release(&id, &revision(2)), &files("half")).unwrap();
    state.keep(&id, kept(2), &files("2")).unwrap();
    let manifest = state.release(&id, &revision(2)).join("handler.toml");
    assert_eq!(fs::read_to_string(manifest).unwrap(), "2");
}

#[test]
fn what_is_not_the_hosts_is_left_alone() {
    let (folder, state, id) = state();
    state.keep(&id, kept(1), &files("1")).unwrap();
    let root = folder.path().join("state");
    let others = [
        "project/src/main.rs",
        "project/objects/0a1b2c3d4e5f",
        ".git/objects/ab",
    ];
    let others = others.map(|path| root.join(path));
    let beside = state.folder(&id).join("notes.txt");
    for path in others.iter().chain([&beside]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    state.sweep().unwrap();
    assert!(others.iter().chain([&beside]).all(|path| path.exists()));
}

#[test]
fn what_cannot_be_kept_is_told_with_the_path_and_counted() {
    let (folder, state, id) = state();
    // A folder that cannot be made, whoever asks.
    fs::write(folder.path().join("state"), "a file").unwrap();
    let error = state
        .keep(&id, kept(1), &files("1"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("state"), "{error}");
    fs::remove_file(folder.path().join("state")).unwrap();
    state.keep(&id, kept(1), &files("1")).unwrap();
    fs::write(state.folder(&id).join(HISTORY), "{]").unwrap();
    let error = state.history(&id).unwrap_err().to_string();
    assert!(
        error.contains("history.json: this is not what the host has written"),
        "{error}"
    );
    // Nothing is lost of what is damaged.
    state.sweep().unwrap();
    assert!(state.release(&id, &revision(1)).exists());
    fs::set_permissions(&state.root, fs::Permissions::from_mode(0o777)).unwrap();
    let error = state.history(&id).unwrap_err().to_string();
    assert!(
        error.contains("others may write to it (mode 777)"),
        "{error}"
    );
    assert_eq!(state.failures(), 3);
}

#[test]
fn a_folder_is_one_hosts_until_that_ends() {
    let (folder, mut state, id) = state();
    state.lock().unwrap();
    let mut other = StateFolder::new(folder.path().join("state"), 2);
    let told = other.lock().unwrap_err().to_string();
    assert!(
        told.starts_with(&state.root.display().to_string())
            && told.contains("`state` in host.toml"),
        "{told}"
    );
    // What is swept is not the lock.
    state.keep(&id, kept(1), &files("1")).unwrap();
    state.sweep().unwrap();
    assert!(matches!(other.lock(), Err(Error::Taken { .. })));
    drop(state);
    other.lock().unwrap();
}
