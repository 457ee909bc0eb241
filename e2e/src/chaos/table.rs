//! The result of a series.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{Table, presets};

use super::case::{Case, Database, Fault, Point};
use super::judge::{End, Verdict};

/// One row's counts.
#[derive(Debug, Default)]
struct Row {
    ends: BTreeMap<End, usize>,
    duplicates: usize,
    losses: usize,
    wrong: usize,
    took: Vec<Duration>,
    runs: usize,
    resolved: usize,
}

/// Rows by fault, point, site and database, then sums by point, by fault, and of crashes inside the commit.
pub fn render(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    let whole = grouped(verdicts, |case: &Case| {
        let Case { site, database, point, fault, .. } = *case;
        (fault, point, site.name(), database)
    });
    let name = |(fault, point, site, database): &(Fault, Point, &str, Database)| {
        vec![fault.to_string(), format!("{point:?}"), (*site).to_owned(), database.to_string()]
    };
    text += &table(&["fault", "point", "site", "database"], whole.iter().map(|(key, row)| (name(key), row)));
    let by_point = grouped(verdicts, |case| case.point);
    text += &table(&["point"], by_point.iter().map(|(point, row)| (vec![format!("{point:?}")], row)));
    let by_fault = grouped(verdicts, |case| case.fault);
    text += &table(&["fault"], by_fault.iter().map(|(fault, row)| (vec![fault.to_string()], row)));
    let sum =
        grouped(verdicts, |case| if case.point.in_commit() { "inside the commit" } else { "elsewhere" });
    text += &table(&["sum"], sum.iter().map(|(what, row)| (vec![(*what).to_owned()], row)));
    text
}

/// Of faults inside the commit, the share in percent that was decided without a person; none without any.
pub fn resolved_in_commit(verdicts: &[Verdict]) -> Option<f64> {
    let sums = grouped(verdicts, |case| case.point.in_commit());
    sums.get(&true).map(Row::percent)
}

fn grouped<K: Ord>(verdicts: &[Verdict], key: impl Fn(&Case) -> K) -> BTreeMap<K, Row> {
    let mut rows: BTreeMap<K, Row> = BTreeMap::new();
    for verdict in verdicts {
        rows.entry(key(&verdict.case)).or_default().add(verdict);
    }
    rows
}

fn table<'a>(names: &[&str], rows: impl Iterator<Item = (Vec<String>, &'a Row)>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let counts = [
        "runs",
        "published",
        "absent",
        "failed",
        "person",
        "uncertain",
        "stuck",
        "duplicates",
        "losses",
        "wrong",
        "by itself",
        "median s",
    ];
    table.set_header(names.iter().chain(&counts));
    for (mut cells, row) in rows {
        cells.extend(row.cells());
        table.add_row(cells);
    }
    format!("{table}\n\n")
}

// === impl Row ===

impl Row {
    fn add(&mut self, verdict: &Verdict) {
        let Verdict { case: _, end, duplicates, losses, problems, took } = verdict;
        self.runs += 1;
        *self.ends.entry(*end).or_default() += 1;
        self.duplicates += duplicates;
        self.losses += losses;
        self.wrong += problems.iter().filter(|problem| problem.starts_with("WRONG")).count();
        self.took.push(*took);
        self.resolved += usize::from(verdict.is_self_resolved());
    }

    fn percent(&self) -> f64 {
        let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        100.0 * count(self.resolved) / count(self.runs.max(1))
    }

    fn cells(&self) -> Vec<String> {
        let mut took = self.took.clone();
        took.sort_unstable();
        let median = took.get(took.len() / 2).map_or(0.0, Duration::as_secs_f64);
        let of = |end| self.ends.get(&end).copied().unwrap_or(0);
        let counts = [
            self.runs,
            of(End::Published),
            of(End::Absent),
            of(End::Failed),
            of(End::NeedsPerson),
            of(End::Uncertain),
            of(End::Stuck),
            self.duplicates,
            self.losses,
            self.wrong,
        ];
        let mut cells: Vec<String> = counts.iter().map(ToString::to_string).collect();
        cells.push(format!("{:.0} %", self.percent()));
        cells.push(format!("{median:.1}"));
        cells
    }
}
