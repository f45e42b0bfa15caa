//! When a run is done, when it waits, and what it says when it is stuck.

use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn group(standings: &[Standing]) -> GroupStanding {
    let partitions = (0..)
        .zip(standings)
        .map(|(partition, standing)| PartitionStanding {
            topic: "in".to_owned(),
            partition,
            standing: *standing,
        });
    GroupStanding {
        group: "g".to_owned(),
        unchanged_for: Some(seconds(100)),
        partitions: partitions.collect(),
        ..GroupStanding::default()
    }
}

fn look(groups: &[GroupStanding]) -> Progress {
    CatchUp::default().look(seconds(5), groups)
}

#[test]
fn a_run_is_done_when_every_partition_is_caught_up() {
    let (behind, up) = (Standing::Behind, Standing::CaughtUp);
    assert_eq!(look(&[group(&[up, up]), group(&[up])]), Progress::Done);
    assert_eq!(look(&[group(&[up, behind]), group(&[up])]), Progress::Going);
    assert_eq!(
        look(&[group(&[up]), group(&[Standing::Unread])]),
        Progress::Done
    );
}

#[test]
fn a_halted_partition_is_named_when_the_others_are_done() {
    let halted = Standing::Halted(7);
    assert_eq!(look(&[group(&[Standing::Behind, halted])]), Progress::Going);
    let line = "in[1] of group g halted at offset 7 (the log says why)";
    assert_eq!(
        look(&[group(&[Standing::CaughtUp, halted])]),
        Progress::Stuck(vec![line.to_owned()])
    );
}

#[test]
fn a_group_that_was_rebalanced_just_now_is_waited_for() {
    let since = |since, standings: &[Standing]| {
        let unchanged_for = since;
        look(&[GroupStanding {
            unchanged_for,
            ..group(standings)
        }])
    };
    let up = [Standing::CaughtUp];
    assert_eq!(since(Some(seconds(2)), &up), Progress::Going);
    assert_eq!(since(Some(seconds(3)), &up), Progress::Done);
    assert_eq!(since(Some(seconds(9)), &[]), Progress::Going);
    assert_eq!(since(Some(seconds(10)), &[]), Progress::Done);
    assert_eq!(since(None, &[]), Progress::Going);
}

/// What is said at the first look, one moment before the time is over, and when it is over.
fn over_time(group: &GroupStanding, max: u64) -> [Progress; 3] {
    let mut run = CatchUp::default();
    [0, max - 1, max].map(|at| run.look(seconds(1000 + at), std::slice::from_ref(group)))
}

fn is_stuck_with(answers: &[Progress; 3], line: &str) {
    let stuck = Progress::Stuck(vec![line.to_owned()]);
    assert_eq!(*answers, [Progress::Going, Progress::Going, stuck]);
}

#[test]
fn what_does_not_pass_is_told_after_a_while() {
    let missing = GroupStanding {
        missing_topics: vec!["lost".to_owned()],
        ..group(&[Standing::CaughtUp])
    };
    let line = "topic lost of group g does not exist (waited 30 s)";
    is_stuck_with(&over_time(&missing, 30), line);
    let away = GroupStanding {
        trouble: Some("refused".to_owned()),
        ..group(&[Standing::Behind])
    };
    let line = "group g does not reach Kafka: refused (waited 60 s)";
    is_stuck_with(&over_time(&away, 60), line);
    let alone = GroupStanding {
        unchanged_for: None,
        ..group(&[])
    };
    let line = "group g was not given an assignment (waited 120 s)";
    is_stuck_with(&over_time(&alone, 120), line);
}

#[test]
fn what_passed_and_came_back_is_waited_for_anew() {
    let fine = group(&[Standing::Behind]);
    let away = GroupStanding {
        trouble: Some("refused".to_owned()),
        ..fine.clone()
    };
    let mut run = CatchUp::default();
    let steps = [(0, &away), (50, &fine), (55, &away), (100, &away)];
    for (at, group) in steps {
        let now = seconds(at);
        assert_eq!(run.look(now, std::slice::from_ref(group)), Progress::Going);
    }
}

fn any_standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        Just(Standing::Behind),
        Just(Standing::CaughtUp),
        (0i64..9).prop_map(Standing::Halted),
        Just(Standing::Unread),
        Just(Standing::Paused),
    ]
}

proptest! {
    /// Whatever the groups are like, a run that is done leaves nothing behind, and one that goes on has a reason.
    #[test]
    fn a_run_is_done_only_when_nothing_is_behind(
        groups in prop::collection::vec(
            (prop::collection::vec(any_standing(), 0..4), prop::option::of(0u64..20), any::<bool>()), 0..4),
    ) {
        let groups: Vec<GroupStanding> = groups
            .into_iter()
            .map(|(standings, since, missing)| GroupStanding {
                unchanged_for: since.map(seconds),
                missing_topics: missing.then(|| "lost".to_owned()).into_iter().collect(),
                ..group(&standings)
            })
            .collect();
        let all = || groups.iter().flat_map(|group| &group.partitions).map(|one| one.standing);
        let is_unsettled = groups.iter().any(|group| {
            let needed = if group.partitions.is_empty() { 10 } else { 3 };
            !group.missing_topics.is_empty() || group.unchanged_for.is_none_or(|since| since < seconds(needed))
        });
        let is_behind = all().any(|one| one == Standing::Behind);
        let is_halted = all().any(|one| matches!(one, Standing::Halted(_) | Standing::Paused));
        match look(&groups) {
            Progress::Going => prop_assert!(is_unsettled || is_behind),
            Progress::Done => prop_assert!(!is_unsettled && !is_behind && !is_halted),
            Progress::Stuck(lines) => prop_assert!(!is_unsettled && !is_behind && is_halted && !lines.is_empty()),
        }
    }
}
