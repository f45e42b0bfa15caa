//! `dead-letter purge`: what goes is a beginning of each partition.

use harness::{TestRecord, clients};

use super::post::{Post, letter};

/// What the dead-letter topic holds, as places.
fn left(post: &Post) -> Vec<String> {
    let mut all = clients::consume_all(&post.bootstrap, &post.topic, true).unwrap();
    all.sort_by_key(|record| (record.partition, record.offset));
    let place =
        |record: &TestRecord| format!("{}@{}", record.partition.unwrap(), record.offset.unwrap());
    all.iter().map(place).collect()
}

#[test]
fn a_purge_deletes_a_beginning_of_each_partition_and_nothing_else() {
    let post = Post::new("purged", 3);
    let of = |n, kind, partition| letter(&post.handler(), n, kind, "k").on(partition);
    post.write(&[
        of(0, "trap", 0),
        of(1, "trap", 0),
        of(2, "reject", 0),
        of(3, "trap", 0),
        of(4, "reject", 1),
        of(5, "trap", 1),
        of(6, "trap", 2),
    ]);
    let all = left(&post);

    // Without --yes it only says what would happen.
    let look = post.run(&["purge", &post.name, "--all", "--kind", "trap"]);
    assert_eq!(look.code, 64, "{}", look.stderr);
    let topic = &post.topic;
    let expected = [
        format!(
            "{topic}[0]: would delete 2 letters, up to offset 1; 1 letter matches but stays behind 0@2, which does not \
             match --kind"
        ),
        format!(
            "{topic}[1]: nothing to delete; 1 letter matches but stays behind 1@0, which does not match --kind"
        ),
        format!("{topic}[2]: would delete 1 letter, up to offset 0"),
    ];
    assert_eq!(look.stdout.lines().collect::<Vec<_>>(), expected);
    assert!(
        look.stderr
            .contains("3 letters would be deleted; nothing was: say --yes"),
        "{}",
        look.stderr
    );
    assert_eq!(left(&post), all);

    let purge = post.run(&["purge", &post.name, "--all", "--kind", "trap", "--yes"]);
    assert_eq!(purge.code, 0, "{}", purge.stderr);
    assert!(
        purge
            .stdout
            .contains("[0]: deletes 2 letters, up to offset 1; 1 letter matches"),
        "{}",
        purge.stdout
    );
    assert!(
        purge.stderr.contains("deleted 3 letters of "),
        "{}",
        purge.stderr
    );
    assert_eq!(left(&post), ["0@2", "0@3", "1@0", "1@1"]);

    // What is left can be listed, shown and replayed as before.
    assert_eq!(post.run(&["list", &post.name]).rows().len(), 4);
    assert_eq!(post.run(&["show", &post.name, "0@1"]).code, 1);
    let none = post.run(&[
        "purge",
        &post.name,
        "--before",
        "2018-01-31T02:02:00Z",
        "--yes",
    ]);
    assert_eq!((none.code, left(&post).len()), (0, 4), "{}", none.stderr);
    assert!(
        none.stderr.contains("no letters to delete"),
        "{}",
        none.stderr
    );
    let some = post.run(&[
        "purge",
        &post.name,
        "--before",
        "2018-01-31T02:05:00Z",
        "--yes",
    ]);
    assert_eq!(some.code, 0, "{}", some.stderr);
    assert_eq!(left(&post), ["1@1"]);
}

#[test]
fn only_letters_that_were_replayed_are_purged_as_such() {
    let post = Post::new("purged-replayed", 1);
    let of = |n, kind| letter(&post.handler(), n, kind, "k");
    post.write(&[of(0, "trap"), of(1, "trap"), of(2, "reject"), of(3, "trap")]);
    assert_eq!(post.run(&["replay", &post.name, "--kind", "trap"]).code, 0);
    let purge = post.run(&["purge", &post.name, "--replayed", "--yes"]);
    assert_eq!(purge.code, 0, "{}", purge.stderr);
    let told = "1 letter matches but stays behind 0@2, which was not replayed";
    assert!(purge.stdout.contains(told), "{}", purge.stdout);
    assert_eq!(left(&post), ["0@2", "0@3"]);
}

#[test]
fn a_purge_never_touches_what_is_no_letter_or_of_another_handler() {
    let post = Post::new("purged-not", 2);
    post.write(&[
        TestRecord::new("an", "order").on(0),
        letter(&post.handler(), 1, "trap", "k").on(0),
        letter(&post.handler(), 2, "trap", "k").on(1),
        letter("acme/other", 3, "trap", "k").on(1),
    ]);
    let purge = post.run(&["purge", "--topic", &post.topic, "--all", "--limit", "1"]);
    assert!(
        purge
            .stdout
            .contains("behind 0@0, which is no dead letter: it has no header"),
        "{}",
        purge.stdout
    );
    let purge = post.run(&["purge", &post.name, "--all", "--yes"]);
    assert_eq!(purge.code, 0, "{}", purge.stderr);
    assert!(
        purge
            .stdout
            .contains("the first that stays is 1@1, which is of acme/other"),
        "{}",
        purge.stdout
    );
    assert_eq!(left(&post), ["0@0", "0@1", "1@1"]);
}
