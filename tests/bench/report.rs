//! The table of a benchmark, printed and kept in a page.
//!
//! **Invariant:** only what lies between the page's markers is replaced.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::inputs::Shape;
use crate::run::Run;
use crate::start::Started;
use crate::variant::Variant;
use crate::{Options, machine};

const BEGIN: &str = "<!-- bench path: begin -->";
const END: &str = "<!-- bench path: end -->";

/// What was measured so far.
#[derive(Debug)]
pub(crate) struct Report {
    head: String,
    started: Started,
    runs: Vec<(Variant, usize, Run)>,
}

impl Report {
    /// A report without a run.
    pub(crate) fn new(options: &Options, started: Started) -> Self {
        let head = format!(
            "{date} · {cores} · load at the start {load} · Apache Kafka {kafka}, one node on the same machine · \
             {runs} runs of {records} records, median{shape}\n\n    cargo xtask bench path --records {records}\n",
            date = machine::date(),
            cores = machine::cores(),
            load = machine::load(),
            kafka = machine::kafka(),
            runs = options.runs,
            shape = if options.shape == Shape::Flat {
                " · flat values"
            } else {
                ""
            },
            records = options.records,
        );
        Self {
            head,
            started,
            runs: Vec::new(),
        }
    }

    /// Adds a run.
    pub(crate) fn add(&mut self, variant: Variant, size: usize, run: Run) {
        self.runs.push((variant, size, run));
    }

    /// The report in Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.head);
        text.push_str(
            "| Variant | Value | CPU a record | all runs | of native | Records/s | Peak memory |\n",
        );
        text.push_str("|---|---:|---:|---|---:|---:|---:|\n");
        let mut rows: Vec<(usize, Variant)> = Vec::new();
        for (variant, size, _) in &self.runs {
            if !rows.contains(&(*size, *variant)) {
                rows.push((*size, *variant));
            }
        }
        for (size, variant) in rows {
            text.push_str(&self.row(variant, size));
        }
        let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        let (started, mib) = (&self.started, |bytes: u64| bytes as f64 / 1_048_576.0);
        let starts: Vec<String> = started
            .subscribed
            .iter()
            .map(|start| format!("{:.0}", ms(*start)))
            .collect();
        let _ = write!(
            text,
            "\nThe host with {handlers} handlers and nothing to read: {rss:.1} MiB resident, of which {own:.1} MiB are \
             its own and the rest is mapped from files. From the start of its process until all are subscribed, \
             compiled components at hand: {median:.0} ms (median of {all}).\n",
            handlers = started.handlers,
            rss = mib(started.idle_bytes),
            own = mib(started.idle_own_bytes),
            median = ms(started.median()),
            all = starts.join(", "),
        );
        text
    }

    fn row(&self, variant: Variant, size: usize) -> String {
        let cpu = self.sorted(variant, size, |run| run.cpu_us);
        let own = median(&cpu);
        let baseline = median(&self.sorted(variant.baseline(), size, |run| run.cpu_us));
        let ratio = match (own, baseline) {
            (Some(own), Some(baseline)) => format!("{:.2} ×", own / baseline),
            _ => "–".to_owned(),
        };
        let rate = median(&self.sorted(variant, size, |run| run.records_per_s));
        let peak = median(&self.sorted(variant, size, |run| run.peak_bytes as f64));
        let rate = match rate {
            // Its progress is seen by its commits only, once a second.
            _ if variant == Variant::ConsumeOnly => "–".to_owned(),
            rate => format!("{:.0}", rate.unwrap_or_default()),
        };
        let all: Vec<String> = cpu.iter().map(|cpu| format!("{cpu:.2}")).collect();
        format!(
            "| {variant} | {size} B | {:.2} µs | {} | {ratio} | {rate} | {:.0} MiB |\n",
            own.unwrap_or_default(),
            all.join(" "),
            peak.unwrap_or_default() / 1_048_576.0,
        )
    }

    fn sorted(&self, variant: Variant, size: usize, figure: impl Fn(&Run) -> f64) -> Vec<f64> {
        let runs = self
            .runs
            .iter()
            .filter(|(of, bytes, _)| (*of, *bytes) == (variant, size));
        let mut figures: Vec<f64> = runs.map(|(_, _, run)| figure(run)).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }
}

/// The middle of sorted figures, the lower one of two.
fn median(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// Returns an error when the page cannot take a table, before anything is measured.
pub(crate) fn check_page(page: &Path) -> Result<()> {
    parts(page).map(drop)
}

/// Replaces what the page has between its markers.
pub(crate) fn write_into(page: &Path, text: &str) -> Result<()> {
    let (before, after) = parts(page)?;
    let whole = format!("{before}{BEGIN}\n{}\n{END}{after}", text.trim_end());
    fs::write(page, whole).with_context(|| format!("cannot write {}", page.display()))
}

fn parts(page: &Path) -> Result<(String, String)> {
    let text = fs::read_to_string(page);
    let text = text.with_context(|| format!("cannot read {}", page.display()))?;
    let split = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before.to_owned(), after.to_owned()))
    });
    split.with_context(|| format!("{} has no line {BEGIN} with {END} after it", page.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{BEGIN, END, median, write_into};

    #[test]
    fn a_page_keeps_what_is_outside_its_markers() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("page.md");
        fs::write(&page, format!("before\n{BEGIN}\nold\n{END}\nafter\n")).unwrap();
        write_into(&page, "new\n").unwrap();
        let text = fs::read_to_string(&page).unwrap();
        assert_eq!(text, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert!(write_into(&folder.path().join("none.md"), "new").is_err());
    }

    #[test]
    fn the_median_is_one_of_the_figures() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0]), Some(1.0));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
    }
}
