//! The keys of `host.toml` for steps.

use crate::manifest::{Key, Kind, Reader};
use crate::steps::Plan;

pub(super) const STEPS: Key = Key {
    path: "steps",
    kind: Kind::TextLists {
        what: "handlers",
        example: "[[\"default/customers\", \"default/prices\"], [\"default/orders\"]]",
    },
    doc: "Steps: the handlers of a list begin to read only when all those of the lists before it have caught up, see \
          [Starting in steps](#starting-in-steps).",
};
pub(super) const LAG_MAX: Key = Key {
    path: "steps-lag-max",
    kind: Kind::Whole {
        unit: "records",
        min: 0,
        max: 1 << 53,
        default: Some(0),
    },
    doc: "Records that a handler of an earlier step may be behind and counts as caught up.",
};

/// Reads both keys.
pub(super) fn read(reader: &mut Reader<'_>) -> Plan {
    let steps = reader.parsed_lists(&STEPS);
    let lag_max = reader.whole_given(&LAG_MAX);
    if let Some(offset) = reader
        .offset(&LAG_MAX)
        .filter(|_| reader.offset(&STEPS).is_none())
    {
        reader.problem(&LAG_MAX, Some(offset), "does nothing without `steps`");
    }
    Plan {
        steps: steps.unwrap_or_default(),
        lag_max: lag_max.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    fn problems(text: &str) -> Vec<String> {
        let problems = Settings::parse(text).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn steps_are_lists_of_handlers_of_any_tenant() {
        let text = "steps = [[\"a\", \"acme/a\"], [\"c\"]]\nsteps-lag-max = 10";
        let plan = Settings::parse(text).unwrap().steps;
        assert_eq!(plan.steps.len(), 2);
        assert_eq!(
            plan.steps[0],
            ["a".parse().unwrap(), "acme/a".parse().unwrap()]
        );
        assert_eq!(plan.steps[1], ["c".parse().unwrap()]);
        assert_eq!(plan.lag_max, 10);
    }

    #[test]
    fn what_cannot_be_a_step_is_refused_with_the_reason() {
        let cases = [
            (
                "steps = []",
                "1: steps: the list is empty, expected a list of lists of handlers such as ",
            ),
            ("steps = [[\"a\"], []]", "1: steps[1]: the list is empty"),
            (
                "steps = [[\"a\"], \"b\"]",
                "1: steps[1]: expected a list, found the text \"b\"",
            ),
            (
                "steps = [[\"a\", 5]]",
                "1: steps[0]: expected a text, found 5",
            ),
            (
                "steps = [[\"a\"], [\"b\", \"default/a\"]]",
                "1: steps[1]: default/a is named twice",
            ),
            (
                "steps = [[\"a\", \"a\"]]",
                "1: steps[0]: default/a is named twice",
            ),
            (
                "steps = [[\"a/b/c\"]]",
                "1: steps[0]: the character '/' is not allowed",
            ),
            (
                "steps = 5",
                "1: steps: expected a list of lists of handlers such as ",
            ),
            (
                "steps-lag-max = 5",
                "1: steps-lag-max: does nothing without `steps`",
            ),
        ];
        for (text, start) in cases {
            let found = problems(text);
            assert!(
                found.len() == 1 && found[0].starts_with(start),
                "{text}: {found:?}"
            );
        }
    }
}
