//! What a run tells at its end, to people and to programs.
//!
//! It is handed the account and the options of the run.
//! **Invariant:** the command that it prints does the same run again.

use std::time::Duration;

use serde_json::json;

use crate::account::Account;
use crate::plan::Plan;
use crate::{Delivery, Options, Protocol};

/// Violations that are printed; the rest is counted.
const SHOWN: usize = 20;

/// Prints the summary.
pub(crate) fn print(options: &Options, plan: &Plan, account: &Account, took: Duration) {
    println!(
        "\n{} records acknowledged: {} handled, {} dead-lettered",
        account.acknowledged, account.handled, account.dead_lettered
    );
    if account.copies > 0 {
        println!(
            "{} more are in the input a second time, where its producer put them",
            account.copies
        );
    }
    let reordered = if options.ordering.is_ordered() {
        account.reordered.to_string()
    } else {
        "not asked".to_owned()
    };
    println!(
        "lost {} · committed without emit {} · emitted without commit {} · reordered {reordered}",
        account.lost, account.committed_without_emit, account.emitted_without_commit
    );
    println!(
        "repeated {}, at most {:.1} s after the first · dead letters repeated {}",
        account.repeated,
        account.repeated_after_ms as f64 / 1000.0,
        account.repeated_letters
    );
    println!(
        "{} faults of hosts, {} of brokers and the network, {:.0} s",
        plan.of_hosts.len(),
        plan.of_brokers.len(),
        took.as_secs_f64()
    );
    if account.violations.is_empty() {
        println!("nothing is wrong");
        return;
    }
    println!("\n{} violations:", account.violations.len());
    for violation in account.violations.iter().take(SHOWN) {
        println!("  {violation}");
    }
    if account.violations.len() > SHOWN {
        println!("  … and {} more", account.violations.len() - SHOWN);
    }
}

/// The summary for programs.
pub(crate) fn json(options: &Options, plan: &Plan, account: &Account, took: Duration) -> String {
    let violations: Vec<String> = account.violations.iter().map(ToString::to_string).collect();
    let summary = json!({
        "seed": options.seed,
        "minutes": options.minutes,
        "pace": options.pace,
        "ordering": options.ordering.word(),
        "delivery": options.delivery.word(),
        "command": command(options),
        "seconds": took.as_secs(),
        "faults": { "hosts": plan.of_hosts.len(), "brokers": plan.of_brokers.len() },
        "acknowledged": account.acknowledged,
        "copies": account.copies,
        "handled": account.handled,
        "dead-lettered": account.dead_lettered,
        "lost": account.lost,
        "committed-without-emit": account.committed_without_emit,
        "emitted-without-commit": account.emitted_without_commit,
        "reordered": account.reordered,
        "repeated": account.repeated,
        "repeated-after-ms": account.repeated_after_ms,
        "repeated-letters": account.repeated_letters,
        "violations": violations,
    });
    format!("{summary:#}\n")
}

/// The command that does the run again.
pub(crate) fn command(options: &Options) -> String {
    let mut command = format!(
        "cargo xtask torture --seed {} --minutes {} --ordering {}",
        options.seed,
        options.minutes,
        options.ordering.word()
    );
    if options.delivery == Delivery::ExactlyOnce {
        command.push_str(" --delivery exactly-once");
    }
    if options.group_protocol == Protocol::Consumer {
        command.push_str(" --group-protocol consumer");
    }
    if options.pace > 1.0 {
        command.push_str(&format!(" --pace {}", options.pace));
    }
    if let Some(faults) = options.faults_text() {
        command.push_str(&format!(" --faults {faults}"));
    }
    command
}
