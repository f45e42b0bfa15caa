//! What the command line's parser cannot see by itself: flags that contradict each other, variables without a meaning.
//!
//! **Invariant:** a variable of the environment never contradicts a flag: the flag wins.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Command, FromArgMatches as _};

use super::Cli;
use crate::manifest::closest;

/// What the names of the host's variables begin with.
const PREFIX: &str = "KAFKA_WASM_";

/// Parses the command line of this process.
pub(super) fn parse(command: &mut Command) -> Result<Cli, clap::Error> {
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    if let Some(serve) = matches.subcommand_matches("serve")
        && serve.get_flag("dev")
        && serve.value_source("brokers") == Some(ValueSource::CommandLine)
    {
        let what = "the argument '--dev' cannot be used with '--brokers <LIST>': \
                    it runs a broker of its own inside this process";
        let serve = command.find_subcommand_mut("serve");
        return Err(serve.map_or_else(
            || clap::Error::raw(ErrorKind::ArgumentConflict, what),
            |serve| serve.error(ErrorKind::ArgumentConflict, what),
        ));
    }
    Cli::from_arg_matches(&matches).map_err(|error| error.format(command))
}

/// Lists the variables of the environment that look like the host's and are none, with the one that was probably meant.
pub(super) fn unknown_variables(command: &Command) -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    unknown(command, names)
}

fn unknown(command: &Command, names: impl Iterator<Item = String>) -> Vec<String> {
    let known: Vec<&str> = command
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .filter_map(|argument| argument.get_env()?.to_str()?.strip_prefix(PREFIX))
        .collect();
    let mut unknown: Vec<String> = names
        .filter_map(|name| {
            let rest = name.strip_prefix(PREFIX)?;
            if known.contains(&rest) {
                return None;
            }
            let hint = closest(rest, known.iter().copied())
                .map(|near| format!(" (did you mean {PREFIX}{near}?)"))
                .unwrap_or_default();
            Some(format!(
                "the variable {name} means nothing to the host{hint}"
            ))
        })
        .collect();
    unknown.sort();
    unknown
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn a_mistyped_variable_is_told_with_the_one_that_was_meant() {
        let names = [
            "KAFKA_WASM_BROKERS",
            "KAFKA_WASM_BROKER",
            "KAFKA_WASM_LOGFORMAT",
            "KAFKA_WASM_COLOUR",
            "KAFKA_HOME",
        ];
        let told = unknown(&Cli::command(), names.map(str::to_owned).into_iter());
        assert_eq!(
            told,
            [
                "the variable KAFKA_WASM_BROKER means nothing to the host (did you mean KAFKA_WASM_BROKERS?)",
                "the variable KAFKA_WASM_COLOUR means nothing to the host",
                "the variable KAFKA_WASM_LOGFORMAT means nothing to the host (did you mean KAFKA_WASM_LOG_FORMAT?)",
            ]
        );
    }
}
