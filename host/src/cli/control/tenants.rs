//! `tenants`: what tenants use of what they may have.

use std::process::ExitCode;

use serde_json::Value;

use super::HostArgs;
use super::client::Ask;
use super::print::{row, table, text};
use crate::ids::TenantId;

/// Say what the tenants of a running host use of what they may have
///
/// Of each quota of tenant.toml how much there may be and how much is used: handlers; what the largest of them asks for, of
/// components, memory, time, bytes in flight and requests; and what was used in the last second, of quotas by the second.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  kafka-wasm-host tenants
  kafka-wasm-host tenants acme --json")]
pub struct TenantsArgs {
    /// The tenant; all when left out
    #[arg(value_name = "TENANT")]
    tenant: Option<TenantId>,
    #[command(flatten)]
    host: HostArgs,
}

/// Runs `tenants`.
pub fn tenants(args: &TenantsArgs) -> anyhow::Result<ExitCode> {
    match &args.tenant {
        None => args.host.run(&Ask::get("/v1/tenants".to_owned()), all),
        Some(tenant) => args
            .host
            .run(&Ask::get(format!("/v1/tenants/{tenant}")), one),
    }
}

fn all(answer: &Value) -> String {
    let all = answer["tenants"].as_array().into_iter().flatten();
    let all: Vec<String> = all.map(one).collect();
    if all.is_empty() {
        return "no tenants".to_owned();
    }
    all.join("\n")
}

/// A tenant, and a line for each quota that it has.
fn one(tenant: &Value) -> String {
    let handlers = tenant["handlers"].as_array().map_or(0, Vec::len);
    let s = if handlers == 1 { "" } else { "s" };
    let mut lines = vec![format!(
        "{}  {handlers} handler{s}  {} s of processor time  {} s throttled",
        text(&tenant["tenant"]),
        seconds(&tenant["cpu-seconds"]),
        seconds(&tenant["throttled-seconds"])
    )];
    let quotas = tenant["quotas"].as_object().into_iter().flatten();
    let given: Vec<Vec<String>> = quotas
        .filter(|(_, quota)| !quota["max"].is_null())
        .map(|(key, quota)| {
            vec![
                format!("  {key}"),
                text(&quota["used"]),
                text(&quota["max"]),
            ]
        })
        .collect();
    if !given.is_empty() {
        let mut rows = vec![row(&["  QUOTA", "USED", "MAX"])];
        rows.extend(given);
        lines.push(table(&rows));
    }
    lines.join("\n")
}

fn seconds(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quota_that_is_there_has_a_line() {
        let tenant = json!({
            "tenant": "acme", "handlers": ["a"], "cpu-seconds": 1.26, "throttled-seconds": null,
            "quotas": { "handlers": { "max": 2, "used": 1 }, "memory-mib": { "max": null, "used": 64 },
                "records-per-s": { "max": 10, "used": null } },
        });
        assert_eq!(
            all(&json!({ "tenants": [tenant] })),
            "acme  1 handler  1.3 s of processor time  - s throttled\n  \
               QUOTA          USED  MAX\n  \
               handlers       1     2\n  \
               records-per-s  -     10"
        );
        assert_eq!(all(&json!({ "tenants": [] })), "no tenants");
    }
}
