//! What a machine forbids is found when the host starts, and told with the remedy, where no Kafka is needed to see it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use harness::host::binary;
use harness::{HandlersDir, Host, guest};

use crate::answer::Answer;

const PATIENCE: Duration = Duration::from_secs(30);
/// Says of a script that the machine does not let it make its stage.
const SKIPPED: i32 = 77;

fn folder() -> HandlersDir {
    let folder = HandlersDir::new().unwrap();
    folder
        .handler("good", guest("act"), "topics = [\"orders\"]\n")
        .unwrap();
    folder
}

/// Runs a program that ends by itself; `$0` of a script is the host's binary, `$1` the handlers folder.
fn run(program: &mut Command, folder: &HandlersDir) -> Answer {
    let answer = Answer::of(program.arg(binary().unwrap()).arg(folder.path()));
    assert_ne!(answer.code, 124, "it did not end\n{}", answer.stderr);
    answer
}

fn script(text: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["120", "sh", "-c", text]);
    command
}

#[test]
fn too_little_address_space_is_told_with_what_would_fit() {
    let folder = folder();
    let limited = |kib: &str, more: &str| {
        let serve = "exec \"$0\" serve --dev --http 127.0.0.1:0 --handlers \"$1\"";
        let text = format!("ulimit -v {kib} && {serve} {more}");
        run(&mut script(&text), &folder)
    };
    let answer = limited("8388608", "");
    assert_eq!(answer.code, 1, "{}", answer.stderr);
    for part in [
        "error: instances-max is 1000, for which the host needs",
        "this process may have 8 GiB (ulimit -v unlimited, LimitAS=infinity of systemd)",
    ] {
        assert!(answer.stderr.contains(part), "{}", answer.stderr);
    }
    // With more, so many would fit, and they do.
    let answer = limited("134217728", "");
    let at_most = answer.stderr.split("or at most ").nth(1);
    let at_most = at_most.and_then(|rest| rest.split(' ').next());
    let at_most: u32 = at_most
        .unwrap_or_else(|| panic!("{}", answer.stderr))
        .parse()
        .unwrap();
    let text = format!(
        "ulimit -v 134217728 && log=$(mktemp) && {{ \"$0\" serve --dev --http 127.0.0.1:0 --instances-max {at_most} --handlers \"$1\" \
         >$log 2>&1 & }} && until grep -q ' deployed ' $log; do kill -0 $! || break; sleep 0.1; done; kill $!; wait $!; \
         cat $log; rm $log"
    );
    let answer = run(&mut script(&text), &folder);
    assert!(answer.stdout.contains(" deployed "), "{answer:?}");
}

#[test]
fn a_process_that_may_not_run_what_it_compiles_is_told() {
    // PR_SET_MDWE, which is inherited by what the process becomes.
    let deny = "import ctypes, os, sys\n\
                if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit(77)\n\
                os.execv(sys.argv[1], [sys.argv[1], 'check', sys.argv[2]])";
    let mut python = Command::new("timeout");
    python.args(["60", "python3", "-c", deny]);
    let answer = run(&mut python, &folder());
    if answer.code == SKIPPED || answer.code == 127 {
        println!(
            "skipped: no python3, or a kernel before 6.3: {}",
            answer.stderr
        );
        return;
    }
    assert_eq!(answer.code, 1, "{}", answer.stderr);
    assert!(
        answer
            .stderr
            .contains("take MemoryDenyWriteExecute=yes out of the systemd unit"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_cache_on_a_mount_without_exec_is_told_and_used() {
    // The second start finds what the first one has compiled.
    let text = "dir=$(mktemp -d) && mount -t tmpfs -o noexec tmpfs \"$dir\" || exit 77\n\
                start() { \"$0\" serve --dev --http 127.0.0.1:0 --cache \"$dir/aot\" --handlers \"$1\" >\"$dir/log\" 2>&1 & }\n\
                until_deployed() { until grep -q ' deployed ' \"$dir/log\"; do kill -0 $! || break; sleep 0.1; done; kill $!; wait $!; cat \"$dir/log\"; }\n\
                start \"$1\"; until_deployed; echo second; start \"$1\"; until_deployed; umount \"$dir\"";
    let mut command = Command::new("timeout");
    command.args(["120", "unshare", "-m", "sh", "-c", text]);
    let answer = run(&mut command, &folder());
    if answer.code == SKIPPED || answer.stderr.contains("unshare failed") {
        println!("skipped: no mounts may be made here: {}", answer.stderr);
        return;
    }
    let second = answer.stdout.split("second\n").nth(1);
    let second = second.unwrap_or_else(|| panic!("{answer:?}"));
    assert!(second.contains("is mounted noexec"), "{second}");
    assert!(!second.contains("is unusable"), "{second}");
}

#[test]
fn folders_that_cannot_be_written_are_told_at_the_start() {
    let folder = folder();
    let mut host = Host::dev()
        .handlers(folder.path())
        .args(["--state", "/proc/state", "--cache", "/proc/cache"])
        .start()
        .unwrap();
    for (what, where_) in [
        ("revisions may not be kept", "/proc/state"),
        ("compiled components are not kept", "/proc/cache"),
    ] {
        let told = host.wait_for_line(what, PATIENCE).unwrap();
        assert!(told.contains(where_), "{told}");
    }
    host.stop().unwrap();
    // A disk without room.
    let state = tempfile::tempdir().unwrap();
    symlink("/dev/full", state.path().join(".new-probe")).unwrap();
    let mut host = Host::dev()
        .handlers(folder.path())
        .args(["--state", &state.path().display().to_string()])
        .start()
        .unwrap();
    let told = host
        .wait_for_line("revisions may not be kept", PATIENCE)
        .unwrap();
    assert!(told.contains("No space left on device"), "{told}");
    assert!(fs::symlink_metadata(state.path().join(".new-probe")).is_err());
    host.stop().unwrap();
}
