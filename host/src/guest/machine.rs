//! What the machine forbids that guests need, found before the first of them: room for their memories, code that the host
//! compiles itself, code from the folder of compiled components.
//!
//! **Invariant:** what is found is told with what to do about it.

use std::path::Path;

use wasmtime::{Engine, Module};

use super::component::chain;

/// The smallest module that has code: one function that does nothing.
const NOTHING: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";

const GIB: u64 = 1 << 30;
/// Address space that one instance takes, as measured: 4 GiB for its memory, so that code need not look where that ends, what
/// guards it, and its stack.
const SPACE_EACH: u64 = 4 * GIB + (35 << 20);
/// That of the rest of the host, with room to spare.
const SPACE_BESIDE: u64 = 3 * GIB;

/// Returns why there is no room for so many instances, where the system has set a bound.
pub(super) fn too_little_space(instances_max: u32, instances: u32) -> Option<String> {
    told_of_space(instances_max, instances, address_space()?)
}

fn told_of_space(instances_max: u32, instances: u32, allowed: u64) -> Option<String> {
    let beside = u64::from(instances.saturating_sub(instances_max)) * SPACE_EACH + SPACE_BESIDE;
    let needed = u64::from(instances_max) * SPACE_EACH + beside;
    let possible = allowed.saturating_sub(beside) / SPACE_EACH;
    let at_most = match possible {
        0 => String::new(),
        possible => format!(", or at most {possible} instances"),
    };
    (needed > allowed).then(|| {
        format!(
            "instances-max is {instances_max}, for which the host needs {} GiB of address space, which is no memory, and this \
             process may have {} GiB (ulimit -v unlimited, LimitAS=infinity of systemd{at_most})",
            needed.div_ceil(GIB),
            allowed / GIB,
        )
    })
}

/// Returns how many bytes of address space the process may have, where there is a bound.
#[cfg(target_os = "linux")]
fn address_space() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::As).current
}

#[cfg(not(target_os = "linux"))]
fn address_space() -> Option<u64> {
    None
}

/// Returns why the process cannot run what it compiles, if it cannot.
pub(super) fn forbids_code(engine: &Engine) -> Option<String> {
    let why = chain(&Module::new(engine, NOTHING).err()?);
    Some(format!(
        "the system does not let this process run code that it has compiled itself: {why} (take MemoryDenyWriteExecute=yes out of \
         the systemd unit, or whatever else forbids mprotect with PROT_EXEC: seccomp, SELinux)"
    ))
}

/// Returns whether code may not be run from files of a folder.
#[cfg(target_os = "linux")]
pub(super) fn is_noexec(folder: &Path) -> bool {
    use rustix::fs::{StatVfsMountFlags, statvfs};
    statvfs(folder).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_noexec(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_and_told_in_gibibytes() {
        let allowed = 100 * GIB;
        let fits = (allowed - SPACE_BESIDE - 4 * SPACE_EACH) / SPACE_EACH;
        let fits = u32::try_from(fits).unwrap();
        assert_eq!(told_of_space(fits, fits + 4, allowed), None);
        let told = told_of_space(fits + 1, fits + 5, allowed).unwrap();
        assert!(
            told.contains("may have 100 GiB")
                && told.contains(&format!("at most {fits} instances")),
            "{told}"
        );
        let told = told_of_space(1, 5, GIB).unwrap();
        assert!(!told.contains("at most"), "{told}");
        assert_eq!(told_of_space(100_000, 100_004, u64::MAX), None);
    }

    #[test]
    fn this_machine_runs_what_is_compiled() {
        assert_eq!(forbids_code(&Engine::default()), None);
        assert!(!is_noexec(Path::new("/nowhere")));
    }
}
