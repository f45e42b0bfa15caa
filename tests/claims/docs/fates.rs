//! Where each command of the documentation is run.
//!
//! **Invariant:** a command with the fate [`Fate::Run`] is run by the scenario that it names, as the page has it.

/// Where a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// By a test of this module, or of `kafka::docs`.
    Run(Scenario),
    /// Not here, for this reason; instead there is a file that has this text in it.
    Elsewhere {
        why: &'static str,
        file: &'static str,
        text: &'static str,
    },
}

/// Tests that type commands, each in its own terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// [`the_readme_leads_from_nothing_to_a_greeting`]
    Greeter,
    /// [`the_demo_of_the_readme_is_right`]
    Demo,
    /// [`the_readmes_of_the_examples_work_as_written`]
    Examples,
    /// `kafka::docs`: everything that names a real Kafka, and what stands beside it.
    Kafka,
    /// `kafka::walks`: from beginning to end what the page walks a newcomer through, on a Kafka of its own.
    Walks,
}

/// Every command of a page, or of one of its sections, begins with one of these; the first that fits counts.
pub(super) const FATES: &[(&str, &str, Fate)] = &[
    ("README.md", "cargo xtask demo", Fate::Run(Scenario::Demo)),
    ("README.md", "cargo xtask test", RUNS_THIS),
    ("README.md", "export PATH=", HAS_THE_PATH),
    ("README.md", "docker ", NEEDS_A_DAEMON),
    (
        "README.md",
        "kafka-wasm-host serve --handlers handlers --brokers",
        Fate::Run(Scenario::Kafka),
    ),
    ("README.md", "", Fate::Run(Scenario::Greeter)),
    (DEPLOYING, "", Fate::Run(Scenario::Walks)),
    (ROLLING_BACK, "", Fate::Run(Scenario::Walks)),
    (A_TENANT, "", Fate::Run(Scenario::Walks)),
    ("docs/OPERATIONS.md", "docker ", NEEDS_A_DAEMON),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host serve --handlers handlers --brokers kafka:9092 --until-caught-up",
        ENDS_BY_ITSELF,
    ),
    ("docs/OPERATIONS.md", "kafka-wasm-host seek ", NEEDS_A_GROUP),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host reload ",
        NEEDS_SETTINGS,
    ),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host revisions ",
        NEEDS_REVISIONS,
    ),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host rollback ",
        NEEDS_REVISIONS,
    ),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host release ",
        NEEDS_A_KEY,
    ),
    ("docs/OPERATIONS.md", "minisign ", NEEDS_A_KEY),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host check staging --config ",
        NEEDS_A_KEY,
    ),
    (
        "docs/OPERATIONS.md",
        "kafka-wasm-host deploy ",
        NEEDS_A_BUILD,
    ),
    ("docs/OPERATIONS.md", "tar -cf ", NEEDS_A_BUILD),
    ("docs/OPERATIONS.md", "kafka-wasm-host drain ", ENDS_SERVING),
    ("docs/OPERATIONS.md", "", Fate::Run(Scenario::Kafka)),
    ("docs/HANDLERS.md", "", Fate::Run(Scenario::Kafka)),
    ("docs/BENCHMARKS.md", "cargo xtask bench ", MEASURES),
    ("docs/RELIABILITY.md", "cargo xtask torture ", TORTURES),
    ("CONTRIBUTING.md", "cargo xtask check", RUN_BY_CI),
    ("CONTRIBUTING.md", "cargo xtask test --fast", SKIPS),
    ("CONTRIBUTING.md", "cargo xtask test", RUNS_THIS),
    ("CONTRIBUTING.md", "cargo xtask docs", COMPARED),
    ("CONTRIBUTING.md", "cargo xtask fuzz", FUZZES),
    ("CONTRIBUTING.md", ".ci/run", RUNS_THIS),
    (
        "examples/hello/README.md",
        "",
        Fate::Run(Scenario::Examples),
    ),
    (
        "examples/earthquakes/README.md",
        "",
        Fate::Run(Scenario::Examples),
    ),
    (
        "examples/summaries/README.md",
        "",
        Fate::Run(Scenario::Examples),
    ),
    ("examples/felt/README.md", "", Fate::Run(Scenario::Examples)),
    ("examples/orders/README.md", "", Fate::Run(Scenario::Demo)),
    ("examples/tenants/README.md", "", Fate::Run(Scenario::Demo)),
    (
        "examples/bulletins/README.md",
        "",
        Fate::Run(Scenario::Examples),
    ),
];

/// The walks of the page on operations.
pub(crate) const DEPLOYING: &str = "docs/OPERATIONS.md#deploying-step-by-step";
pub(crate) const ROLLING_BACK: &str = "docs/OPERATIONS.md#rolling-back-step-by-step";
pub(crate) const A_TENANT: &str = "docs/OPERATIONS.md#a-tenant-step-by-step";

const RUNS_THIS: Fate = Fate::Elsewhere {
    why: "it runs this test",
    file: ".ci/run",
    text: "cargo xtask test",
};
const RUN_BY_CI: Fate = Fate::Elsewhere {
    why: "it is run before the tests are",
    file: ".ci/run",
    text: "cargo xtask check",
};
const SKIPS: Fate = Fate::Elsewhere {
    why: "it runs a part of the tests that run this one",
    file: "xtask/src/test.rs",
    text: "\"--skip\", needs",
};
const COMPARED: Fate = Fate::Elsewhere {
    why: "it writes what other tests compare",
    file: "host/src/manifest/schema.rs",
    text: "fn the_tables_in_docs_are_up_to_date",
};
const MEASURES: Fate = Fate::Elsewhere {
    why: "it measures for minutes; here it measures a few records",
    file: "tests/claims/kafka/docs.rs",
    text: "fn the_benchmarks_measure_every_row(",
};
const FUZZES: Fate = Fate::Elsewhere {
    why: "it takes an hour; what it begins with is run by the host's own tests",
    file: "host/src/fuzzed/seeds.rs",
    text: "join(\"../fuzz/seeds\")",
};
const TORTURES: Fate = Fate::Elsewhere {
    why: "it takes minutes; shorter runs follow these tests",
    file: "xtask/src/test.rs",
    text: "step(\"torture\"",
};
const HAS_THE_PATH: Fate = Fate::Elsewhere {
    why: "the terminals of these tests have the built host on their path",
    file: "tests/claims/docs/terminal.rs",
    text: "fn user_environment",
};
const NEEDS_SETTINGS: Fate = Fate::Elsewhere {
    why: "it asks a host whose settings have changed",
    file: "tests/claims/reload.rs",
    text: "fn a_reload_changes_what_it_can_and_names_what_it_cannot(",
};
const ENDS_BY_ITSELF: Fate = Fate::Elsewhere {
    why: "it ends by itself, while the other commands of its page need a host that serves",
    file: "tests/claims/kafka/once.rs",
    text: "fn a_run_until_caught_up_ends_by_itself(",
};
const NEEDS_A_GROUP: Fate = Fate::Elsewhere {
    why: "it needs a group that has positions and no members",
    file: "tests/claims/kafka/seek.rs",
    text: "fn seek_moves_a_group_and_refuses_while_it_has_members(",
};
const NEEDS_REVISIONS: Fate = Fate::Elsewhere {
    why: "it needs a handler of which several revisions were published",
    file: "tests/claims/kafka/revisions.rs",
    text: "fn a_rollback_serves_the_revision_before(",
};
const NEEDS_A_KEY: Fate = Fate::Elsewhere {
    why: "it needs a secret key; there the signature is made as minisign makes it",
    file: "tests/claims/kafka/signed.rs",
    text: "fn check_says_whether_a_host_would_believe_a_release(",
};
const NEEDS_A_BUILD: Fate = Fate::Elsewhere {
    why: "it needs the folder of a handler that somebody has built",
    file: "tests/claims/control/uploads.rs",
    text: "fn a_handler_is_sent_in_by_the_command_and_by_curl(",
};
const ENDS_SERVING: Fate = Fate::Elsewhere {
    why: "no other command of its page finds a host that serves after it",
    file: "tests/claims/control/host.rs",
    text: "fn a_host_that_drains_finishes_and_waits_to_be_stopped(",
};
const NEEDS_A_DAEMON: Fate = Fate::Elsewhere {
    why: "it needs a container engine; what the image runs is run without one",
    file: "tests/claims/docs.rs",
    text: "fn the_image_serves_as_its_dockerfile_says",
};
