//! Pipelines that cannot be run are refused when they are deployed.

use harness::guest;

use super::super::stage::{Stage, wait_lines};
use super::{deploy, manifest, pipe, pipeline, record, step};

#[test]
fn a_pipeline_that_cannot_be_run_is_refused_and_the_old_one_serves() {
    let stage = Stage::new("refused-pipeline", 1);
    let good = [step("a", ""), pipe(&stage.output)];
    deploy(&stage, "", &pipeline("p", "", &good));
    let host = stage.serve(&[]);
    wait_lines(&host, &["deployed"], 1);
    // What lies beside the steps and is none of them would be the handler's own.
    stage
        .folder
        .swap_beside(&stage.name, "label.wasm", guest("label"))
        .unwrap();
    let with = |steps: &str| {
        let tables = pipeline("p", "event = \"x\"", &[steps.to_owned()]);
        manifest(&stage, "", &tables)
    };
    let cases = [
        (
            with("{ component = \"gone.wasm\" }"),
            "pipeline[0].step[0].component = \"gone.wasm\": there is no such file beside the manifest",
        ),
        (
            with("{ component = \"label.wasm\" }"),
            "label.wasm: the component exports neither kafka:handler/transformer@0.1.0 nor",
        ),
        (
            with("{ component = \"step.wasm\", args = { name = 7 } }"),
            "handler.toml: pipeline[0].step[0].args: step.wasm does not take them: invalid type: integer `7`, expected a string",
        ),
        (
            with("{ component = \"step.wasm\", args = { name = \"a\", nam = \"b\" } }"),
            "args: step.wasm does not take them: unknown field `nam`",
        ),
        (
            manifest(
                &stage,
                "",
                &[pipeline("p", "", &good), pipeline("q", "", &good)].concat(),
            ),
            "a [[route]] or [[pipeline]] takes every record, and so does another one",
        ),
    ];
    for (manifest, expected) in cases {
        stage
            .folder
            .swap_text(&stage.name, "handler.toml", &manifest)
            .unwrap();
        wait_lines(&host, &[expected], 1);
    }
    stage.produce_records([record("x", &[])]);
    assert_eq!(stage.outputs(&host, 1).len(), 1);
    stage.committed(&host, &[(0, 1)]);
    host.stop().unwrap();
}
