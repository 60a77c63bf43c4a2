//! The summary line: how many findings of each kind.

use std::collections::BTreeMap;

use crate::detect::FindingKind;
use crate::report::escape::escaped;
use crate::report::group::Group;
use crate::report::model::Report;
use crate::report::number::{grouped, thousands};

/// All findings of one kind.
#[derive(Default)]
struct Sum {
    findings: u64,
    occurrences: u64,
    blocks: u64,
    bytes: u64,
}

/// `heapledger: 1 leak (10 blocks, 3,360 bytes), 1 double free`.
pub(super) fn line(groups: &[Group<'_>], reports: &[&Report]) -> String {
    let mut sums: BTreeMap<(usize, &str), Sum> = BTreeMap::new();
    let (kept, found): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.finding.is_kept());
    for group in found {
        let finding = &group.finding;
        let rank = FindingKind::ALL
            .iter()
            .position(|kind| kind.name() == finding.kind);
        let key = (rank.unwrap_or(usize::MAX), finding.kind.as_str());
        let sum = sums.entry(key).or_default();
        sum.findings += 1;
        sum.occurrences = sum.occurrences.saturating_add(finding.count);
        sum.blocks = sum.blocks.saturating_add(finding.blocks);
        sum.bytes = sum.bytes.saturating_add(finding.bytes);
    }
    let parts: Vec<String> = sums
        .iter()
        .map(|((_, kind), sum)| part(kind, sum))
        .collect();
    let found = if parts.is_empty() {
        "no findings".to_owned()
    } else {
        parts.join(", ")
    };
    format!(
        "heapledger: {found}{}{}{}",
        kept_text(&kept),
        in_processes(reports),
        hidden(reports)
    )
}

/// What libraries keep is said, and is no finding.
fn kept_text(kept: &[&Group<'_>]) -> String {
    let add = |sum: u64, amount: u64| sum.saturating_add(amount);
    let sum = |amount: fn(&Group<'_>) -> u64| kept.iter().map(|group| amount(group)).fold(0, add);
    match sum(|group| group.finding.blocks) {
        0 => String::new(),
        blocks => {
            let bytes = grouped(sum(|group| group.finding.bytes), "byte");
            format!("; {} ({bytes}) kept by libraries", grouped(blocks, "block"))
        }
    }
}

fn part(kind: &str, sum: &Sum) -> String {
    let name = name(kind, sum.findings);
    let number = thousands(sum.findings);
    if kind == FindingKind::Leak.name() {
        let (blocks, bytes) = (grouped(sum.blocks, "block"), grouped(sum.bytes, "byte"));
        format!("{number} {name} ({blocks}, {bytes})")
    } else if sum.occurrences > sum.findings {
        format!("{number} {name} ({} times)", thousands(sum.occurrences))
    } else {
        format!("{number} {name}")
    }
}

fn name(kind: &str, number: u64) -> String {
    let words = match kind {
        "use-after-free" => ["use after free", "uses after free"],
        "realloc-after-free" => ["realloc after free", "reallocs after free"],
        other => {
            let words = escaped(other).replace('-', " ");
            return if number == 1 {
                words
            } else {
                format!("{words}s")
            };
        }
    };
    let [one, many] = words;
    if number == 1 { one } else { many }.to_owned()
}

fn in_processes(reports: &[&Report]) -> String {
    if reports.len() < 2 {
        String::new()
    } else {
        format!(", in {} processes", reports.len())
    }
}

fn hidden(reports: &[&Report]) -> String {
    let findings = reports.iter().flat_map(|report| &report.findings);
    match findings.filter(|finding| finding.suppressed).count() {
        0 => String::new(),
        number => format!(" ({number} suppressed)"),
    }
}
