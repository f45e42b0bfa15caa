//! The example `orders` as a whole: a middleware, a pipeline and a handler that it asks, and a verdict.
//!
//! It builds host and examples, serves the example on the embedded broker or a given Kafka, feeds its orders, and compares
//! what comes out with what orders and prices say has to come out.
//! **Invariant:** it succeeds only when every order is priced or given up as it has to be, and the host stopped in good
//! order.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::demo::run_id;
use crate::guests::{self, EXAMPLES};
use crate::served::{Ends, Served, consume, make_topics, produce};
use crate::sh::{root, step, target, write_file};
use crate::{json, setup, test};

/// The folder of the example.
const FOLDER: &str = "examples/orders";
/// Its handlers, each with the crate of the component that lies beside its manifest.
const HANDLERS: [(&str, &str); 2] = [("pricing", "validate"), ("prices", "prices")];
/// The topics that its manifests name.
const TOPICS: [&str; 5] = [
    "orders",
    "orders.priced",
    "orders.dead-letter",
    "prices.asked",
    "prices.told",
];
/// More of one article is refused by the middleware.
const QUANTITY_MAX: u64 = 1000;
/// How many priced orders are shown.
const SHOWN: usize = 5;

/// What goes in, and what has to come out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Feed {
    lines: Vec<String>,
    /// What each order costs that has a price, in cents, by its id.
    priced: BTreeMap<String, u64>,
    /// Records that end in the dead letters.
    refused: usize,
    /// Orders with another event, which nobody takes.
    others: usize,
}

impl Feed {
    /// Reads the orders, and the prices from the source of the handler that knows them.
    fn read() -> Result<Self> {
        let read = |path: &str| {
            let path = root().join(FOLDER).join(path);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(Self::of(
            &read("orders.jsonl")?,
            &prices(&read("prices/src/lib.rs")?),
        ))
    }

    fn of(orders: &str, prices: &BTreeMap<String, u64>) -> Self {
        let mut feed = Self::default();
        for line in orders.lines() {
            feed.lines.push(line.to_owned());
            let order = json::field(line, "value").unwrap_or_default();
            let quantity: Option<u64> =
                json::field(&order, "quantity").and_then(|it| it.parse().ok());
            let Some(quantity) = quantity.filter(|it| (1..=QUANTITY_MAX).contains(it)) else {
                feed.refused += 1;
                continue;
            };
            let get = |name| json::field(&order, name).unwrap_or_default();
            if get("event") != "order.created" {
                feed.others += 1;
            } else if let Some(cents) = prices.get(&get("article")) {
                feed.priced.insert(get("id"), cents * quantity);
            } else {
                feed.refused += 1;
            }
        }
        feed
    }
}

/// Finds the prices in cents by article.
fn prices(source: &str) -> BTreeMap<String, u64> {
    let list = source
        .split_once("const PRICES")
        .map_or("", |(_, rest)| rest);
    let list = list
        .split_once(';')
        .and_then(|(_, rest)| rest.split_once(';'));
    let list = list.map_or("", |(list, _)| list);
    let pair = |entry: &str| {
        let (article, cents) = entry.split_once("\",")?;
        let cents = cents.split_once(')')?.0.trim().parse().ok()?;
        Some((article.to_owned(), cents))
    };
    list.split("(\"").skip(1).filter_map(pair).collect()
}

/// Runs the example on `brokers`, or on the embedded broker; `keep` stays up afterwards.
pub(crate) fn run(brokers: Option<&str>, keep: bool) -> Result<()> {
    step("setup", setup::c_toolchain)?;
    step("examples", || guests::build(&[EXAMPLES]))?;
    step("build", test::build_host)?;
    let start = Instant::now();
    let suffix = brokers.map_or_else(String::new, |_| format!("-{}", run_id()));
    let handlers = target("demo/orders");
    lay_out(&handlers, &suffix)?;
    let feed = Feed::read()?;

    println!("\n── demo");
    if let Some(brokers) = brokers {
        // Those of the responses have to be there before the first request.
        make_topics(&handlers, brokers)?;
    }
    let (host, brokers, _) = Served::on(&handlers, brokers)?;
    let topic = |name: &str| format!("{name}{suffix}");
    println!("  {}", produce(&topic("orders"), &brokers, &feed.lines)?);
    println!("  fed {} records to {}", feed.lines.len(), topic("orders"));
    let read = |name: &str, wanted: usize| {
        let mut seen = 0;
        let lines = consume(&topic(name), &brokers, &Ends::default(), |_| {
            seen += 1;
            seen >= wanted
        })?;
        println!("  read {} records of {}", lines.len(), topic(name));
        anyhow::Ok(lines)
    };
    let priced = read("orders.priced", feed.priced.len())?;
    let letters = read("orders.dead-letter", feed.refused)?;
    report(&feed, &priced, &letters);
    let problems = judge(&feed, &priced, &letters);
    let to_try = format!(
        "\n── still up, until Ctrl-C; see every priced order as it comes:\n    target/release/kafka-wasm-host consume {} --brokers \
         {brokers} --from beginning",
        topic("orders.priced")
    );
    let to_try = keep.then_some(to_try.as_str());
    let well = "every order has the price that it should have, or none";
    host.conclude(start, &problems, to_try, well)
}

/// Fills a fresh handlers folder with the example, its topics renamed.
fn lay_out(handlers: &Path, suffix: &str) -> Result<()> {
    if handlers.exists() {
        fs::remove_dir_all(handlers).context("cannot empty target/demo/orders")?;
    }
    for (name, krate) in HANDLERS {
        let folder = handlers.join(name);
        let manifest = root().join(FOLDER).join(name).join("handler.toml");
        let manifest = fs::read_to_string(manifest)?;
        let manifest = format!(
            "group = \"demo.{name}{suffix}\"\n{}",
            rename(&manifest, suffix)
        );
        let wasm = fs::read(guests::component(krate))
            .with_context(|| format!("{krate} was not built: is it in examples/Cargo.toml?"))?;
        write_file(&folder.join(format!("{krate}.wasm")), &wasm)?;
        write_file(&folder.join("handler.toml"), manifest.as_bytes())?;
    }
    Ok(())
}

/// Appends the suffix to every topic that a manifest names.
fn rename(manifest: &str, suffix: &str) -> String {
    let quoted = |name: &str, end: &str| format!("\"{name}{end}\"");
    TOPICS.iter().fold(manifest.to_owned(), |text, topic| {
        text.replace(&quoted(topic, ""), &quoted(topic, suffix))
    })
}

/// Tells what is not as orders and prices say.
fn judge(feed: &Feed, priced: &[String], letters: &[String]) -> Vec<String> {
    let mut found = BTreeMap::new();
    for line in priced {
        let order = json::field(line, "value").unwrap_or_default();
        let cents = json::field(&order, "price_cents").and_then(|it| it.parse().ok());
        let event = json::field(&order, "event").unwrap_or_default();
        if event == "order.priced" {
            found.insert(
                json::field(&order, "id").unwrap_or_default(),
                cents.unwrap_or(0),
            );
        }
    }
    let mut problems = Vec::new();
    if found != feed.priced || priced.len() != feed.priced.len() {
        problems.push(format!(
            "priced orders: {} records say {found:?}, and it should be {:?}",
            priced.len(),
            feed.priced
        ));
    }
    if letters.len() != feed.refused {
        problems.push(format!(
            "dead letters: {}, and the orders say {}",
            letters.len(),
            feed.refused
        ));
    }
    problems
}

fn report(feed: &Feed, priced: &[String], letters: &[String]) {
    println!("\n── what went in");
    println!(
        "  {} records to `orders`: {} orders that have a price, {} that have none, {} of other events",
        feed.lines.len(),
        feed.priced.len(),
        feed.refused,
        feed.others
    );
    println!("── what came out");
    println!(
        "  {} priced orders in `orders.priced`, for example",
        priced.len()
    );
    for line in priced.iter().take(SHOWN) {
        println!("    {}", json::field(line, "value").unwrap_or_default());
    }
    println!("── where the dead letters are");
    println!("  {} records in `orders.dead-letter`", letters.len());
    for line in letters.iter().take(SHOWN) {
        let headers = json::field(line, "headers").unwrap_or_default();
        let why = json::field(&headers, "dead-letter.error").unwrap_or_default();
        println!(
            "    {}: {why}",
            json::field(line, "value").unwrap_or_default()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orders_have_prices_and_some_have_none() {
        let feed = Feed::read().unwrap();
        assert!(feed.priced.len() > 30, "{feed:?}");
        assert!(feed.refused > 4 && feed.others > 2, "{feed:?}");
        let all = feed.priced.len() + feed.refused + feed.others;
        assert_eq!(all, feed.lines.len());
    }

    #[test]
    fn prices_are_those_of_the_source() {
        let source =
            "/// x\nconst PRICES: [(&str, u64); 2] = [(\"tea\", 420), (\"a b\", 7)];\nfn f() {}";
        let expected = [("tea".to_owned(), 420), ("a b".to_owned(), 7)];
        assert_eq!(prices(source), expected.into());
    }

    #[test]
    fn topics_are_renamed_and_nothing_else() {
        let text =
            "topics = [\"orders\"]\npipe = { topic = \"orders.priced\", event = \"order.priced\" }";
        let renamed = "topics = [\"orders-1\"]\npipe = { topic = \"orders.priced-1\", event = \"order.priced\" }";
        assert_eq!(rename(text, "-1"), renamed);
    }
}
