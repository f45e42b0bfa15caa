//! Answers of the control API, for people.
//!
//! **Invariant:** what is not known is shown as `-`.

use serde_json::Value;

/// One line for each handler.
pub(super) fn handlers(answer: &Value) -> String {
    let all = answer["handlers"].as_array();
    let all = all.map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return "no handlers".to_owned();
    }
    let mut rows = vec![row(&[
        "HANDLER",
        "STATE",
        "REVISION",
        "PARTITIONS",
        "PROBLEMS",
    ])];
    rows.extend(all.iter().map(|one| {
        let problems = one["problems"].as_array().map_or(0, Vec::len);
        vec![
            name(one),
            text(&one["state"]),
            text(&one["revision"]),
            text(&one["assigned"]),
            problems.to_string(),
        ]
    }));
    table(&rows)
}

/// What changed, and what did not.
pub(super) fn reloaded(answer: &Value) -> String {
    let lines = answer["lines"].as_array().into_iter().flatten();
    let lines: Vec<String> = lines.map(text).collect();
    if !lines.is_empty() {
        return lines.join("\n");
    }
    let what = if answer["lines"].is_null() {
        "is asked to read its settings"
    } else {
        "has read its settings; none of them differs"
    };
    format!("the host {what}")
}

/// A handler with its partitions.
pub(super) fn handler(one: &Value) -> String {
    let mut lines = vec![format!(
        "{}  {}  revision {}",
        name(one),
        text(&one["state"]),
        text(&one["revision"])
    )];
    if !one["group"].is_null() {
        lines.push(format!("  group        {}", text(&one["group"])));
    }
    let paused = &one["paused-by"];
    if !paused.is_null() {
        let (who, at) = (text(&paused["who"]), text(&paused["at"]));
        lines.push(format!("  paused       by {who} at {at}"));
    }
    let probation = &one["probation"];
    if !probation.is_null() {
        let (handled, failed) = (text(&probation["handled"]), text(&probation["failed"]));
        lines.push(format!("  probation    {handled} handled, {failed} failed"));
    }
    lines.extend(trial_lines(&one["trial"]));
    lines.extend(rollback_line(one));
    for problem in one["problems"].as_array().into_iter().flatten() {
        lines.push(format!("  problem      {}", text(problem)));
    }
    let mut rows = vec![row(&[
        "TOPIC",
        "PARTITION",
        "POSITION",
        "LAG",
        "IN-FLIGHT",
        "RETRYING",
        "PARKED-KEYS",
        "HALTED-AT",
    ])];
    let partitions = one["partitions"].as_array().into_iter().flatten();
    rows.extend(partitions.map(|it| {
        let columns = [
            "topic",
            "partition",
            "position",
            "lag",
            "in-flight",
            "retrying",
            "parked-keys",
            "halted-at",
        ];
        columns.map(|column| text(&it[column])).to_vec()
    }));
    if rows.len() > 1 {
        lines.push(table(&rows));
    }
    lines.join("\n")
}

/// One line for each revision that is kept.
pub(super) fn revisions(answer: &Value) -> String {
    let mut rows = vec![row(&["REVISION", "PUBLISHED", "CAUSE", "BY", ""])];
    let all = answer["revisions"].as_array().into_iter().flatten();
    rows.extend(all.map(|one| {
        let serves = one["serving"].as_bool().unwrap_or_default();
        vec![
            text(&one["revision"]),
            text(&one["at"]),
            text(&one["cause"]),
            text(&one["by"]),
            if serves { "serves" } else { "" }.to_owned(),
        ]
    }));
    let mut lines = vec![table(&rows)];
    lines.extend(rollback_line(answer));
    lines.join("\n")
}

/// What serves after what was asked for.
pub(super) fn served(answer: &Value, else_told: &str) -> String {
    if answer["revision"].is_null() {
        return format!("{} {else_told}", name(answer));
    }
    let before = match &answer["was"] {
        Value::Null => "its first".to_owned(),
        was => format!("before it {}", text(was)),
    };
    format!(
        "{} serves revision {} ({before})",
        name(answer),
        text(&answer["revision"])
    )
}

/// What became of a handler.
pub(super) fn changed(answer: &Value, what: &str) -> String {
    format!("{} {what}", name(answer))
}

/// What is tried, and how it compares with what serves.
fn trial_lines(trial: &Value) -> Vec<String> {
    let (kind, revision) = (text(&trial["kind"]), text(&trial["revision"]));
    let side = |name: &str| {
        let it = &trial[name];
        let (handled, failed) = (text(&it["handled"]), text(&it["failed"]));
        let mean = it["mean-ms"].as_f64();
        let mean = mean.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
        format!("    {name:<8}   {handled} handled, {failed} failed, mean {mean}")
    };
    match trial["kind"].as_str() {
        Some("canary") => vec![
            format!(
                "  {kind}       revision {revision} has {} of the keys",
                text(&trial["share"])
            ),
            side("tried"),
            side("serving"),
        ],
        Some("shadow") => {
            let counts =
                ["compared", "equal", "differing", "skipped"].map(|name| text(&trial[name]));
            let [compared, equal, differing, skipped] = counts;
            let mut lines = vec![
                format!(
                    "  {kind}       revision {revision} sees the records, and nothing of it is sent"
                ),
                format!(
                    "    {compared} compared: {equal} equal, {differing} differing; {skipped} skipped"
                ),
            ];
            let differences = trial["differences"].as_array().into_iter().flatten();
            lines.extend(differences.map(|it| {
                let [topic, partition, offset, what] =
                    ["topic", "partition", "offset", "what"].map(|name| text(&it[name]));
                format!("    {topic}[{partition}] at offset {offset}: {what}")
            }));
            lines
        }
        _ => Vec::new(),
    }
}

fn rollback_line(one: &Value) -> Option<String> {
    let it = &one["rolled-back"];
    (!it.is_null()).then(|| {
        let [from, to, who, at] = ["from", "to", "who", "at"].map(|field| text(&it[field]));
        format!("  rolled back  from {from} to {to} by {who} at {at}, until the handlers folder has other files")
    })
}

pub(super) fn name(one: &Value) -> String {
    format!("{}/{}", text(&one["tenant"]), text(&one["handler"]))
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

/// Puts cells below each other.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_stands_below_its_name() {
        let one = json!({
            "tenant": "acme", "handler": "orders", "state": "paused", "revision": "0a1b2c3d4e5f", "group": "acme.orders",
            "assigned": 1, "problems": ["a reason"],
            "paused-by": { "who": "ann", "at": "2026-01-01T00:00:00Z" },
            "rolled-back": { "from": "ff", "to": "0a1b2c3d4e5f", "who": "bob", "at": "2026-01-01T00:00:00Z" },
            "partitions": [{ "topic": "orders", "partition": 3, "position": 17, "lag": null, "in-flight": 0,
                "retrying": 0, "parked-keys": 0, "halted-at": null }],
        });
        assert_eq!(
            handler(&one),
            "acme/orders  paused  revision 0a1b2c3d4e5f\n  \
               group        acme.orders\n  \
               paused       by ann at 2026-01-01T00:00:00Z\n  \
               rolled back  from ff to 0a1b2c3d4e5f by bob at 2026-01-01T00:00:00Z, until the handlers folder has other files\n  \
               problem      a reason\n\
             TOPIC   PARTITION  POSITION  LAG  IN-FLIGHT  RETRYING  PARKED-KEYS  HALTED-AT\n\
             orders  3          17        -    0          0         0            -"
        );
        assert_eq!(
            handlers(&json!({ "handlers": [one] })),
            "HANDLER      STATE   REVISION      PARTITIONS  PROBLEMS\n\
             acme/orders  paused  0a1b2c3d4e5f  1           1"
        );
        assert_eq!(handlers(&json!({ "handlers": [] })), "no handlers");
    }
}
