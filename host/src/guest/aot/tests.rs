//! Tests of the folder of compiled components.

use super::*;

/// A component that is as small as can be.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
/// More than any test keeps.
const MUCH: u64 = 1 << 30;

#[test]
fn a_stored_component_is_loaded_again_and_a_damaged_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let cache = AotCache::open(&folder.path().join("aot"), MUCH).unwrap();
    let engine = Engine::default();
    let component = Component::new(&engine, EMPTY).unwrap();
    assert!(cache.load(&engine, EMPTY).is_none());
    cache.store(&engine, EMPTY, &component, BTreeSet::new());
    assert!(cache.load(&engine, EMPTY).is_some());
    fs::write(cache.path(&engine, EMPTY), b"not native code").unwrap();
    assert!(cache.load(&engine, EMPTY).is_none());
    cache.store(&engine, EMPTY, &component, BTreeSet::new());
    assert!(cache.load(&engine, EMPTY).is_some());
}

#[test]
fn what_may_not_be_run_where_it_lies_is_loaded_from_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let mut cache = AotCache::open(&folder.path().join("aot"), MUCH).unwrap();
    cache.is_noexec = true;
    let engine = Engine::default();
    let component = Component::new(&engine, EMPTY).unwrap();
    cache.store(&engine, EMPTY, &component, BTreeSet::new());
    assert!(cache.load(&engine, EMPTY).is_some());
    let path = cache.path(&engine, EMPTY);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(cache.load(&engine, EMPTY).is_none());
}

#[test]
fn what_the_host_did_not_write_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| AotCache::open(&folder.path().join(name), MUCH).unwrap();
    let (cache, other) = (open("aot"), open("other"));
    let engine = Engine::default();
    let component = Component::new(&engine, EMPTY).unwrap();
    let path = cache.path(&engine, EMPTY);
    cache.store(&engine, EMPTY, &component, BTreeSet::new());
    let seal = path.with_extension(SEAL);
    // Native code that is fine, and from elsewhere: of another host, of another component, without a seal.
    other.store(&engine, EMPTY, &component, BTreeSet::new());
    let planted = other.path(&engine, EMPTY);
    let own = fs::read(&seal).unwrap();
    fs::copy(planted.with_extension(SEAL), &seal).unwrap();
    assert!(cache.load(&engine, EMPTY).is_none());
    fs::remove_file(&seal).unwrap();
    assert!(cache.load(&engine, EMPTY).is_none());
    fs::write(&seal, &own).unwrap();
    assert!(cache.load(&engine, EMPTY).is_some());
    let mut named = EMPTY.to_vec();
    named.extend([0, 2, 1, b'x']);
    let elsewhere = cache.path(&engine, &named);
    fs::copy(&path, &elsewhere).unwrap();
    fs::copy(&seal, elsewhere.with_extension(SEAL)).unwrap();
    assert!(cache.load(&engine, &named).is_none());
    // One bit of it, somewhere in the code.
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(cache.load(&engine, EMPTY).is_none());
}

#[test]
fn the_key_stays_and_nobody_else_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("aot");
    let engine = Engine::default();
    let component = Component::new(&engine, EMPTY).unwrap();
    AotCache::open(&place, MUCH)
        .unwrap()
        .store(&engine, EMPTY, &component, BTreeSet::new());
    assert!(
        AotCache::open(&place, MUCH)
            .unwrap()
            .load(&engine, EMPTY)
            .is_some()
    );
    let key = place.join(KEY);
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        AotCache::open(&place, MUCH),
        Err(Error::Key { .. })
    ));
    fs::remove_file(&key).unwrap();
    // With another key what was there is compiled anew.
    assert!(
        AotCache::open(&place, MUCH)
            .unwrap()
            .load(&engine, EMPTY)
            .is_none()
    );
    fs::write(&key, b"short").unwrap();
    assert!(matches!(
        AotCache::open(&place, MUCH),
        Err(Error::Key { .. })
    ));
}

#[test]
fn a_folder_that_others_may_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(
        AotCache::open(folder.path(), MUCH),
        Err(Error::NotPrivate { mode: 0o777, .. })
    ));
}

/// A component that is none but for its name, and so has a digest of its own.
fn named(name: u8) -> Vec<u8> {
    [EMPTY, &[0, 2, 1, name]].concat()
}

#[test]
fn what_was_not_used_for_longest_makes_room_and_what_serves_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("aot");
    let engine = Engine::default();
    let component = Component::new(&engine, EMPTY).unwrap();
    let digest = |name: u8| hex(&Sha256::digest(named(name)));
    let bytes = component.serialize().unwrap().len() as u64;
    let cache = AotCache::open(&place, 3 * bytes).unwrap();
    let at = |cache: &AotCache, name: u8, seconds: u64| {
        let file = fs::File::open(cache.path(&engine, &named(name))).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
    };
    for name in *b"abc" {
        cache.store(&engine, &named(name), &component, BTreeSet::new());
    }
    for (seconds, name) in (1..).zip(*b"abc") {
        at(&cache, name, seconds);
    }
    // The oldest serves; the next one has just been loaded.
    assert!(cache.load(&engine, &named(b'b')).is_some());
    let in_use = BTreeSet::from([digest(b'a')]);
    cache.store(&engine, &named(b'd'), &component, in_use);
    let names = |cache: &AotCache| {
        let there = |name: &u8| cache.path(&engine, &named(*name)).exists();
        String::from_utf8(b"abcd".iter().copied().filter(there).collect()).unwrap()
    };
    assert_eq!(names(&cache), "abd");
    let seal = cache.path(&engine, &named(b'c')).with_extension(SEAL);
    assert!(!seal.exists());
    // What served counts as used, also for the next host; what nobody finished is removed.
    at(&cache, b'b', 5);
    at(&cache, b'd', 6);
    let draft = place.join("x.1-ThreadId(1).tmp");
    fs::write(&draft, "").unwrap();
    let time = SystemTime::now() - Duration::from_hours(2);
    fs::File::open(&draft).unwrap().set_modified(time).unwrap();
    let cache = AotCache::open(&place, bytes).unwrap();
    assert_eq!(names(&cache), "a");
    assert!(cache.load(&engine, &named(b'a')).is_some());
    assert!(!draft.exists());
}
