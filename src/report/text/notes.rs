//! What the report does not show: cut, dropped, hidden and left out, each counted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Page;
use crate::report::crash;
use crate::report::escape::escaped;
use crate::report::model::{Limits, Report, SuppressionUse};
use crate::report::number::{grouped, thousands};

/// Writes the notes, if there are any.
pub(super) fn write(page: &mut Page, reports: &[&Report], finding_count: usize) {
    let mut notes = left_out(page, finding_count);
    for report in reports {
        notes.extend(missing(report));
        notes.extend(killed(report));
        notes.extend(crash::advice(report));
    }
    notes.extend(interpreters_own(reports));
    let limits: Vec<&Limits> = reports.iter().map(|report| &report.limits).collect();
    notes.extend(counters(&limits, finding_count > 0));
    notes.extend(suppressions(&limits));
    if notes.is_empty() {
        return;
    }
    page.blank();
    for note in notes {
        let note = format!("note: {}", escaped(&note));
        page.line(0, &page.paint.faint(&note));
    }
}

fn left_out(page: &Page, finding_count: usize) -> Vec<String> {
    match finding_count.saturating_sub(page.options.finding_count_max) {
        0 => Vec::new(),
        rest => {
            let findings = grouped(rest as u64, "further finding");
            vec![format!(
                "{findings} not shown here; the JSON report has all"
            )]
        }
    }
}

fn missing(report: &Report) -> Option<String> {
    let reason = report.missing.as_ref()?;
    Some(format!(
        "no report of process {}: {reason}",
        report.process.pid
    ))
}

fn killed(report: &Report) -> Option<String> {
    let signal = report.process.killed_by.as_ref()?;
    let has_leak = report.findings.iter().any(|found| found.kind == "leak");
    let leaks = if has_leak {
        ": what it was still using then counts as leaked"
    } else {
        ""
    };
    let pid = report.process.pid;
    Some(format!("process {pid} was killed by {signal}{leaks}"))
}

/// What the interpreter and the C run time hold at the end, where that was recorded.
fn interpreters_own(reports: &[&Report]) -> Option<String> {
    let sum = |name| {
        let counts = reports
            .iter()
            .filter_map(|report| report.stats.more.get(name)?.as_u64());
        counts.fold(0, u64::saturating_add)
    };
    let (blocks, bytes) = (sum("interpreter_blocks"), sum("interpreter_bytes"));
    (blocks > 0).then(|| {
        let (blocks, bytes) = (grouped(blocks, "block"), grouped(bytes, "byte"));
        format!(
            "{blocks} ({bytes}) of the interpreter, its modules and the C library are no leaks; \
             --all-leaks lists them"
        )
    })
}

fn counters(limits: &[&Limits], with_stacks: bool) -> Vec<String> {
    let sum = |count: fn(&Limits) -> u64| {
        limits
            .iter()
            .fold(0_u64, |sum, limits| sum.saturating_add(count(limits)))
    };
    let mut notes = Vec::new();
    let cut = sum(|limits| limits.stack_cut_count);
    // Without a finding nobody misses a frame.
    if with_stacks && cut > 0 {
        let longest = limits
            .iter()
            .map(|limits| limits.stack_frame_max)
            .max()
            .unwrap_or_default();
        let (stacks, frames) = (grouped(cut, "stack"), grouped(longest, "Python frame"));
        notes.push(format!("{stacks} cut at {frames}"));
    }
    for (count, noun, what) in [
        (
            sum(|limits| limits.stack_dropped_count),
            "event",
            "whose stack could not be stored",
        ),
        (
            sum(|limits| limits.record_dropped_count),
            "allocation",
            "served without a record: leaks may be missed",
        ),
        (
            sum(|limits| limits.finding_dropped_count),
            "finding",
            "for which there was no room",
        ),
    ] {
        if count > 0 {
            notes.push(format!("{} {what}", grouped(count, noun)));
        }
    }
    notes.extend(further_counters(limits));
    notes.extend(limits.iter().flat_map(|limits| limits.troubles.clone()));
    notes
}

/// What happens in every program that runs for a while: the JSON report has it.
const USUAL: [&str; 2] = [
    "quarantine_evicted_block_count",
    "closed_evicted_block_count",
];

fn further_counters(limits: &[&Limits]) -> Vec<String> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let unusual = |(name, _): &(&String, &Value)| !USUAL.contains(&name.as_str());
    for (name, value) in limits
        .iter()
        .flat_map(|limits| &limits.more)
        .filter(unusual)
    {
        if let Some(number) = value.as_u64().filter(|number| *number > 0) {
            let sum = sums.entry(name).or_default();
            *sum = sum.saturating_add(number);
        }
    }
    let named =
        |(name, sum): (&str, u64)| format!("{}: {}", name.replace('_', " "), thousands(sum));
    sums.into_iter().map(named).collect()
}

/// A rule that was used in one process is not unused in the others.
fn suppressions(limits: &[&Limits]) -> Vec<String> {
    let mut used: BTreeMap<&str, SuppressionUse> = BTreeMap::new();
    for one in limits.iter().flat_map(|limits| &limits.suppressions_used) {
        let sum = used.entry(&one.rule).or_default();
        sum.findings = sum.findings.saturating_add(one.findings);
        sum.blocks = sum.blocks.saturating_add(one.blocks);
        sum.bytes = sum.bytes.saturating_add(one.bytes);
    }
    let unused: BTreeSet<&str> = limits
        .iter()
        .flat_map(|limits| &limits.suppressions_unused)
        .map(String::as_str)
        .filter(|rule| !used.contains_key(rule))
        .collect();
    let used = used.into_iter().map(|(rule, sum)| {
        let (findings, bytes) = (grouped(sum.findings, "finding"), grouped(sum.bytes, "byte"));
        format!(
            "{findings} ({}, {bytes}) suppressed by {rule}",
            grouped(sum.blocks, "block")
        )
    });
    used.chain(
        unused
            .into_iter()
            .map(|rule| format!("unused suppression: {rule}")),
    )
    .collect()
}
