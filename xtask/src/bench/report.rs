//! What was measured: medians, the table of ratios, the goals, and the JSON file.

use super::workloads::{WORKLOADS, Workload};
use crate::peers::System;
use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Figures of every repetition, by workload and system.
#[derive(Default)]
pub struct Results {
    figures: BTreeMap<(usize, &'static str), Vec<f64>>,
    /// What could not be measured, and why.
    pub missing: Vec<String>,
}

fn position(name: &str) -> Option<usize> {
    WORKLOADS.iter().position(|workload| workload.name == name)
}

impl Results {
    /// Adds one figure.
    pub fn add(&mut self, workload: &str, system: System, value: f64) {
        if let Some(position) = position(workload) {
            self.figures.entry((position, system.name())).or_default().push(value);
        }
    }

    fn median(&self, workload: usize, system: System) -> Option<f64> {
        median(self.figures.get(&(workload, system.name()))?)
    }

    fn ratio(&self, position: usize, workload: &Workload, own: System, other: System) -> Option<f64> {
        let (own, other) = (self.median(position, own)?, self.median(position, other)?);
        Some(workload.unit.ratio(own, other))
    }

    /// The figures of every system.
    pub fn table(&self, systems: &[System]) -> Table {
        let mut header = vec!["workload".to_string(), "unit".to_string()];
        header.extend(systems.iter().map(|system| system.name().to_string()));
        let mut table = new_table(&header);
        for (position, workload) in self.measured() {
            let mut row = vec![workload.name.to_string(), workload.unit.name().to_string()];
            row.extend(systems.iter().map(|system| show(self.median(position, *system))));
            table.add_row(row);
        }
        table
    }

    /// How many times as fast as each peer ours is, or, without ours, as ext4 each other system is.
    pub fn ratios(&self, systems: &[System]) -> Option<Table> {
        let own = [System::BentoKernel, System::Bento].into_iter().find(|own| systems.contains(own));
        let base = own.unwrap_or(System::Ext4Ordered);
        let peers: Vec<System> = systems.iter().copied().filter(|system| *system != base).collect();
        if peers.is_empty() {
            return None;
        }
        let sides = |peer: System| if own.is_some() { (base, peer) } else { (peer, base) };
        let mut header = vec!["times as fast".to_string()];
        header.extend(peers.iter().map(|peer| {
            let (over, under) = sides(*peer);
            format!("{} : {}", over.name(), under.name())
        }));
        let mut table = new_table(&header);
        for (position, workload) in self.measured() {
            let mut row = vec![workload.name.to_string()];
            for peer in &peers {
                let (over, under) = sides(*peer);
                row.push(show_ratio(self.ratio(position, workload, over, under)));
            }
            table.add_row(row);
        }
        Some(table)
    }

    /// Each goal, what came out, and whether that is enough; none without both sides measured.
    pub fn goals(&self) -> Option<Table> {
        let mut table = new_table(&["goal", "wanted", "measured", ""].map(str::to_string));
        for (position, workload) in self.measured() {
            for (own, peer, goal) in workload.goals() {
                if let Some(ratio) = self.ratio(position, workload, own, peer) {
                    let verdict = if ratio >= goal { "met" } else { "MISSED" };
                    let name = format!("{}, {} : {}", workload.name, own.name(), peer.name());
                    table.add_row([name, format!("{goal:.1}"), show_ratio(Some(ratio)), verdict.to_string()]);
                }
            }
        }
        (!table.is_empty()).then_some(table)
    }

    fn measured(&self) -> impl Iterator<Item = (usize, &'static Workload)> + '_ {
        let any = |position| System::ALL.iter().any(|system| self.median(position, *system).is_some());
        WORKLOADS.iter().enumerate().filter(move |(position, _)| any(*position))
    }

    /// Writes the medians, and under what conditions they were taken.
    pub fn write_json(&self, path: &Path, about: serde_json::Value) -> Result<()> {
        let mut results = Vec::new();
        for (position, workload) in self.measured() {
            for system in System::ALL {
                if let Some(value) = self.median(position, system) {
                    results.push(json!({
                        "workload": workload.name, "system": system.name(), "value": value,
                        "unit": workload.unit.name(), "better": workload.unit.better(),
                    }));
                }
            }
        }
        let text = serde_json::to_string_pretty(
            &json!({ "results": results, "missing": self.missing, "about": about }),
        )?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())
    }
}

fn new_table(header: &[String]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn show(value: Option<f64>) -> String {
    match value {
        None => "-".to_string(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.3}"),
    }
}

fn show_ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_string(), |ratio| format!("{ratio:.2}"))
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted.get(sorted.len() / 2 - 1)? + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_one_outlier() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_above_one_means_faster_whatever_the_unit() {
        let mut results = Results::default();
        for (workload, own, other) in [("untar", 1.0, 4.0), ("create_1t", 400.0, 100.0)] {
            results.add(workload, System::Bento, own);
            results.add(workload, System::Fuse2fs, other);
        }
        let goals = results.goals().map(|table| table.to_string()).unwrap_or_default();
        assert_eq!(goals.matches("4.00").count(), 2, "{goals}");
        assert_eq!(goals.matches("met").count(), 2, "{goals}");
    }
}
