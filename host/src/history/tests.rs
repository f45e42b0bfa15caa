//! The history against a naive one, and its messages.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn revision(n: u8) -> Revision {
    Revision::from_digest(&[n; 6])
}

fn kept(n: u8, cause: Cause) -> Kept {
    Kept {
        revision: revision(n),
        digest: format!("files {n}"),
        at_ms: i64::from(n),
        cause,
        who: "somebody".to_owned(),
        failed: false,
    }
}

fn published(all: &[u8]) -> History {
    let mut history = History::default();
    for n in all {
        history.publish(kept(*n, Cause::Folder), REVISIONS_KEPT);
    }
    history
}

fn rolled_back(history: &mut History, to: u8) {
    history.rollback = Some(Rollback {
        from: "files".to_owned(),
        was: None,
        to: revision(to),
        at_ms: 0,
        who: "somebody".to_owned(),
    });
}

#[test]
fn without_a_name_the_revision_before_the_serving_one_is_meant() {
    let history = published(&[1, 2, 3]);
    let target = |serving: Option<u8>| {
        let serving = serving.map(revision);
        let target = history.target(serving.as_ref(), None);
        target.map(|it| it.revision.clone())
    };
    assert_eq!(target(Some(3)), Ok(revision(2)));
    assert_eq!(target(Some(2)), Ok(revision(1)));
    // Published and not kept; and nothing that serves.
    assert_eq!(target(Some(9)), Ok(revision(3)));
    assert_eq!(target(None), Ok(revision(3)));
    let told = target(Some(1)).unwrap_err().to_string();
    assert_eq!(
        told,
        "no revision before the one that serves is kept (kept are 010101010101, 020202020202, 030303030303, the oldest first)"
    );
}

#[test]
fn the_same_files_under_other_grants_are_nothing_to_go_back_to() {
    let mut history = published(&[1, 2, 3]);
    history.revisions[1].digest = "files 3".to_owned();
    let serving = revision(3);
    let target = history.target(Some(&serving), None).unwrap();
    assert_eq!(target.revision, revision(1));
}

#[test]
fn what_was_rolled_back_from_is_gone_back_to_by_its_name_only() {
    let mut history = published(&[1, 2]);
    history.fail(&revision(2));
    history.publish(kept(3, Cause::Folder), REVISIONS_KEPT);
    let serving = revision(3);
    let target = |history: &History, wanted: Option<&str>| {
        let target = history.target(Some(&serving), wanted);
        target.map(|it| it.revision.clone())
    };
    assert_eq!(target(&history, None), Ok(revision(1)));
    assert_eq!(target(&history, Some("02")), Ok(revision(2)));
    // Deployed again, it is one like others.
    history.publish(kept(2, Cause::Folder), REVISIONS_KEPT);
    history.publish(kept(3, Cause::Folder), REVISIONS_KEPT);
    assert_eq!(target(&history, None), Ok(revision(2)));
}

#[test]
fn revisions_of_the_same_files_take_one_place() {
    let mut history = published(&[1, 2]);
    for n in 3..9 {
        let mut rotated = kept(n, Cause::Folder);
        rotated.digest = "files 2".to_owned();
        let dropped = history.publish(rotated, REVISIONS_KEPT);
        assert_eq!(dropped, [revision(n - 1)]);
    }
    assert_eq!(history.names(), [revision(1), revision(8)].to_vec());
    let target = history.target(Some(&revision(8)), None).unwrap();
    assert_eq!(target.revision, revision(1));
}

#[test]
fn a_name_may_be_shortened_as_long_as_it_is_one() {
    let mut history = published(&[0x1a, 0x1b, 0x2c]);
    let serving = revision(0x2c);
    let target = |wanted: &str| history.target(Some(&serving), Some(wanted)).cloned();
    assert_eq!(target("1a").unwrap().revision, revision(0x1a));
    for (wanted, told) in [
        (
            "1",
            "several revisions begin with 1 (kept are 1a1a1a1a1a1a, 1b1b1b1b1b1b",
        ),
        ("9", "no revision 9 is kept (kept are 1a1a1a1a1a1a, "),
        ("", "no revision  is kept"),
        ("../..", "no revision ../.. is kept"),
        ("2c2c", "revision 2c2c2c2c2c2c serves already"),
    ] {
        let found = target(wanted).unwrap_err().to_string();
        assert!(found.starts_with(told), "{found}");
    }
    history.revisions.clear();
    let none = history.target(None, None).unwrap_err();
    assert!(none.to_string().ends_with("is kept (none is)"), "{none}");
}

#[test]
fn what_is_published_again_is_the_newest_and_a_rollback_moves_nothing() {
    let mut history = published(&[1, 2, 3]);
    history.publish(kept(1, Cause::Folder), REVISIONS_KEPT);
    assert_eq!(
        history.names(),
        [revision(2), revision(3), revision(1)].to_vec()
    );
    history.publish(kept(2, Cause::Rollback), REVISIONS_KEPT);
    assert_eq!(
        history.names(),
        [revision(2), revision(3), revision(1)].to_vec()
    );
    // The files of 2 under what its tenant has now lie beside it.
    rolled_back(&mut history, 2);
    history.publish(kept(7, Cause::Rollback), REVISIONS_KEPT);
    assert_eq!(
        history.names(),
        [revision(2), revision(7), revision(3), revision(1)].to_vec()
    );
}

#[test]
fn what_was_written_is_read_again() {
    let mut history = published(&[1, 2]);
    rolled_back(&mut history, 1);
    history.paused = Some(Paused {
        at_ms: 5,
        who: "ann".to_owned(),
    });
    let text = serde_json::to_string(&history).unwrap();
    assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
    assert_eq!(
        serde_json::from_str::<History>("{}").unwrap(),
        History::default()
    );
    let wrong = text.replace("010101010101", "../../etc");
    assert!(serde_json::from_str::<History>(&wrong).is_err());
}

proptest! {
    /// Held ones stay, and of the others the newest, as many as there is room for.
    #[test]
    fn the_oldest_are_dropped_and_no_held_one(
        all in prop::collection::vec((0u8..12, any::<bool>()), 0..40),
        room in 1usize..7,
        to in prop::option::of(0u8..12),
    ) {
        let mut history = History::default();
        if let Some(to) = to {
            rolled_back(&mut history, to);
        }
        // Every one in the order in which it was published last.
        let mut naive: Vec<Revision> = Vec::new();
        for (n, is_rollback) in all {
            let serving = revision(n);
            let is_known = naive.contains(&serving);
            let cause = if is_rollback && is_known { Cause::Rollback } else { Cause::Folder };
            if cause == Cause::Folder {
                naive.retain(|it| *it != serving);
                naive.push(serving.clone());
            }
            let held: BTreeSet<Revision> = to.map(revision).into_iter().chain([serving]).collect();
            let held_here = naive.iter().filter(|it| held.contains(it)).count();
            let free = room.saturating_sub(held_here);
            let others: Vec<Revision> = naive.iter().filter(|it| !held.contains(it)).cloned().collect();
            let gone = &others[..others.len().saturating_sub(free)];
            let dropped = history.publish(kept(n, cause), room);
            prop_assert_eq!(&dropped, gone);
            naive.retain(|it| !gone.contains(it));
            prop_assert_eq!(history.names(), naive.clone());
        }
    }
}
