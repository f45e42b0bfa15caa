//! What a host does about topics: those it creates, those it tells, and what it does with its own broker.
//!
//! **Invariant:** a topic that is missing or cannot be created keeps no handler from being deployed.

use harness::{Host, clients, guest};
use serde_json::Value;

use super::super::stage::{PATIENCE, count_lines, start, wait_lines, without_rights};
use super::{SOMETHING_TO_DO, Scene, run};

#[test]
fn declared_topics_are_created_at_the_start_and_by_a_later_deployment() {
    let scene = Scene::new(
        "created",
        "topics = [\"{g}.in\"]\n[[topic]]\nname = \"{g}.in\"\npartitions = 3\n",
    );
    let mut host = scene.serve(&["--create-topics"]);
    host.wait_until_ready(PATIENCE).unwrap();
    // Before anybody subscribed: nobody met a topic that does not exist.
    wait_lines(&host, &["partitions assigned"], 1);
    assert_eq!(
        count_lines(&host, &["the topic does not exist"]),
        0,
        "{}",
        host.tail()
    );
    assert_eq!(
        (scene.partitions("in"), scene.partitions("dead-letter")),
        (3, 3)
    );

    let later = scene
        .manifest("topics = [\"{g}.later\"]\n[[topic]]\nname = \"{g}.later\"\npartitions = 2\n");
    let later = later.replacen(&scene.group, &scene.name("two"), 1);
    scene
        .folder
        .swap_in("later", guest("pass"), &later)
        .unwrap();
    wait_lines(&host, &["created the topic", &scene.name("later")], 1);
    wait_lines(&host, &["partitions assigned"], 2);
    assert_eq!(scene.partitions("later"), 2);
    assert_eq!(
        count_lines(&host, &["the topic does not exist"]),
        0,
        "{}",
        host.tail()
    );
    host.stop().unwrap();
}

#[test]
fn a_topic_that_cannot_be_created_is_told_and_keeps_no_handler_from_serving() {
    let scene = Scene::new(
        "denied",
        "topics = [\"{g}.in\"]\n[[topic]]\nname = \"{g}.out\"\nreplication = 9\n",
    );
    scene.kafka.create_topic(&scene.name("in"), 1, &[]).unwrap();
    let host = scene.serve(&["--create-topics"]);
    wait_lines(&host, &["partitions assigned"], 1);
    wait_lines(&host, &["WARN", "cannot be created", "fewer brokers"], 1);
    let (status, ready) = host.get("/readyz").unwrap();
    assert_eq!(status, 200, "{ready}");
    assert!(
        ready.contains(&format!("topic {}", scene.name("out"))),
        "{ready}"
    );
    host.stop().unwrap();
}

#[test]
fn topics_that_the_user_may_not_see_are_told_and_never_taken_for_missing() {
    let kafka = without_rights();
    let scene = Scene::new(
        "hidden",
        "topics = [\"{g}.in\"]\n[[topic]]\nname = \"{g}.in\"\n",
    );
    let told = "this user may not see it (Describe on the topic is needed)";
    for (word, code) in [("plan", SOMETHING_TO_DO), ("apply", 1)] {
        let answer = run(kafka.bootstrap(), &scene.folder, word, &[]);
        assert_eq!(answer.code, code, "{}{}", answer.stdout, answer.stderr);
        assert!(answer.line("?", &scene.name("in")).contains(told));
    }
    let host = start(kafka.bootstrap(), scene.folder.path(), &["--create-topics"]);
    wait_lines(
        &host,
        &["WARN", "it is not known whether it exists", told],
        1,
    );
    wait_lines(&host, &[" deployed "], 1);
    host.stop().unwrap();
}

#[test]
fn a_missing_topic_is_told_with_the_command_that_creates_it() {
    let scene = Scene::new(
        "missing",
        "topics = [\"{g}.in\", \"{g}.others\"]\n[[topic]]\nstreams = [\"{g}.in\", \"{g}.out\"]\npartitions = 1\n",
    );
    let host = scene.serve(&[]);
    let folder = scene.folder.path().display();
    let command = format!(
        "`kafka-wasm-host topics apply --handlers {folder} --brokers {}` creates it",
        scene.kafka.bootstrap()
    );
    for topic in ["in", "out"] {
        let named = format!("topic={}", scene.name(topic));
        wait_lines(
            &host,
            &["WARN", "it does not exist, declared by", &command, &named],
            1,
        );
    }
    wait_lines(&host, &["INFO", "for the dead letters of", &command], 1);
    wait_lines(&host, &["the topic does not exist; waiting for it"], 2);
    let ready: Value = serde_json::from_str(&host.get("/readyz").unwrap().1).unwrap();
    let why = |suffix: &str| {
        let what = format!("topic {}", scene.name(suffix));
        let all = ready["not-ready"].as_array().unwrap();
        let mut told = all.iter().filter(|one| one["what"] == what.as_str());
        let why = told
            .next()
            .unwrap_or_else(|| panic!("no {what} in {ready}"));
        assert!(told.next().is_none(), "{ready}");
        why["why"].as_str().unwrap().to_owned()
    };
    assert!(
        why("in").ends_with(&format!("waits for it; {command}")),
        "{ready}"
    );
    assert!(why("out").contains(&command), "{ready}");
    let declared = format!(
        "declare it in a handler.toml ([[topic]] name = \"{}\"), then {command}",
        scene.name("others")
    );
    assert!(why("others").ends_with(&declared), "{ready}");

    // What the message says is what helps.
    assert_eq!(scene.run("apply", &[]).code, 0);
    wait_lines(&host, &["partitions assigned"], 1);
    wait_lines(
        &host,
        &[
            "the topic exists now, or is not needed any more",
            &scene.name("out"),
        ],
        1,
    );
    host.stop().unwrap();
}

#[test]
fn a_missing_topic_for_responses_is_told_with_its_key_and_the_command_that_creates_it() {
    // By a request of the component's, or by one of a pipeline's.
    let keys = [
        "response = [{ topic = \"{g}.answers\" }]\n",
        "[[pipeline]]\nname = \"p\"\nevent = \"asked\"\n[[pipeline.step]]\n\
         pipe = { topic = \"{g}.questions\", response.topic = \"{g}.answers\" }\n",
    ];
    for keys in keys {
        let scene = Scene::new("unanswered", &format!("topics = [\"{{g}}.in\"]\n{keys}"));
        for topic in ["in", "questions", "dead-letter"] {
            scene
                .kafka
                .create_topic(&scene.name(topic), 1, &[])
                .unwrap();
        }
        let mut host = scene.serve(&[]);
        let topic = scene.name("answers");
        let reason = format!(
            "for the responses to default/{} ([[response]] or pipe.response in handler.toml)",
            scene.group
        );
        let command = format!(
            "`kafka-wasm-host topics apply --handlers {} --brokers {}` creates it",
            scene.folder.path().display(),
            scene.kafka.bootstrap()
        );
        wait_lines(
            &host,
            &["WARN", "it does not exist", &reason, &command, &topic],
            1,
        );
        let not_ready = |host: &Host| {
            let ready: Value = serde_json::from_str(&host.get("/readyz").unwrap().1).unwrap();
            let all = ready["not-ready"].as_array().unwrap().clone();
            all.into_iter()
                .filter(|one| one["what"] == format!("topic {topic}").as_str())
                .collect::<Vec<_>>()
        };
        let told = not_ready(&host);
        let why = told[0]["why"].as_str().unwrap();
        assert!(why.contains(&reason) && why.contains(&command), "{why}");
        // It keeps no handler from serving.
        host.wait_until_ready(PATIENCE).unwrap();

        // What the message says is what helps.
        assert_eq!(scene.run("apply", &[]).code, 0);
        let exists = "the topic exists now, or is not needed any more";
        wait_lines(&host, &[exists, &topic], 1);
        assert!(not_ready(&host).is_empty());
        host.stop().unwrap();
    }
}

#[test]
fn the_embedded_broker_has_declared_topics_and_cannot_be_asked_for_them() {
    let scene = Scene::new(
        "embedded",
        "topics = [\"{g}.in\"]\n[[topic]]\nname = \"{g}.in\"\npartitions = 7\n",
    );
    let mut host = Host::dev()
        .handlers(scene.folder.path())
        .start_ready()
        .unwrap();
    let broker = host.embedded_broker().unwrap();
    assert_eq!(
        clients::partitions(&broker, &scene.name("in"))
            .unwrap()
            .len(),
        7
    );
    let apply = run(&broker, &scene.folder, "apply", &[]);
    println!("{}{}", apply.stdout, apply.stderr);
    assert_eq!(apply.code, 1, "{}{}", apply.stdout, apply.stderr);
    assert!(
        apply
            .stdout
            .contains("the embedded broker of serve --dev cannot be asked"),
        "{}",
        apply.stdout
    );
    host.stop().unwrap();
}
