//! What the report does not show: cut, dropped, hidden and left out, each counted.

use super::Page;
use crate::report::escape::escaped;
use crate::report::model::{Limits, Report};
use crate::report::number::{grouped, thousands};

/// Writes the notes, if there are any.
pub(super) fn write(page: &mut Page, reports: &[Report], finding_count: usize) {
    let mut notes = Vec::new();
    let left_out = finding_count.saturating_sub(page.options.finding_count_max);
    if left_out > 0 {
        let findings = grouped(left_out as u64, "further finding");
        notes.push(format!(
            "{findings} not shown here; the JSON report has all"
        ));
    }
    for report in reports {
        notes.extend(of_limits(&report.limits, finding_count > 0));
    }
    if notes.is_empty() {
        return;
    }
    page.blank();
    for note in notes {
        let note = format!("note: {}", escaped(&note));
        page.line(0, &page.paint.faint(&note));
    }
}

fn of_limits(limits: &Limits, with_stacks: bool) -> Vec<String> {
    let mut notes = Vec::new();
    // Without a finding nobody misses a frame.
    if with_stacks && limits.stack_cut_count > 0 {
        let stacks = grouped(limits.stack_cut_count, "stack");
        notes.push(format!(
            "{stacks} cut at {}",
            grouped(limits.stack_frame_max, "frame")
        ));
    }
    for (count, noun, what) in [
        (
            limits.stack_dropped_count,
            "event",
            "whose stack could not be stored",
        ),
        (
            limits.record_dropped_count,
            "allocation",
            "served without a record: leaks may be missed",
        ),
        (
            limits.finding_dropped_count,
            "finding",
            "for which there was no room",
        ),
    ] {
        if count > 0 {
            notes.push(format!("{} {what}", grouped(count, noun)));
        }
    }
    for (name, value) in &limits.more {
        if let Some(number) = value.as_u64().filter(|number| *number > 0) {
            notes.push(format!("{}: {}", name.replace('_', " "), thousands(number)));
        }
    }
    for used in &limits.suppressions_used {
        let (findings, bytes) = (
            grouped(used.findings, "finding"),
            grouped(used.bytes, "byte"),
        );
        let blocks = grouped(used.blocks, "block");
        notes.push(format!(
            "{findings} ({blocks}, {bytes}) suppressed by {}",
            used.rule
        ));
    }
    for unused in &limits.suppressions_unused {
        notes.push(format!("unused suppression: {unused}"));
    }
    notes
}
