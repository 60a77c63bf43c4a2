//! Owns the report for people: the summary line, the findings, and what was left out.
//!
//! Promises: the first line is the summary; the most serious comes first; Python lines come before
//! native ones; whatever was cut, dropped or hidden is counted; nothing from the program under test
//! is shown unescaped; without `color` there is no escape sequence at all.
//!
//! Must never: write anywhere (it returns text), or judge anew what a finding is.

mod crash;
mod finding;
mod notes;
mod paint;
mod stack;
mod summary;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use self::paint::Paint;
use super::crash::still_used;
use super::escape::escaped;
use super::group::{self, Group};
use super::model::{Process, Report, file_name};
use super::number::{grouped, thousands};
use super::source::SourceLines;
use super::timestamp;

/// How the text is to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextOptions {
    /// Whether to use the colours of a terminal.
    pub color: bool,
    /// Findings shown in full; the others are counted.
    pub finding_count_max: usize,
    /// Frames shown of each language in each stack; the others are counted.
    pub frame_count_max: usize,
    /// Whether to quote the line of the innermost Python frame.
    pub quote_source: bool,
    /// Whether to show internal frames too: the interpreter's, libffi's, heapledger's own.
    pub all_frames: bool,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            color: false,
            finding_count_max: 100,
            frame_count_max: 16,
            quote_source: true,
            all_frames: false,
        }
    }
}

/// Processes named at the top; the others are counted.
const PROCESS_COUNT_MAX: usize = 8;
/// Characters of a command line at the top.
const COMMAND_LENGTH_MAX: usize = 100;
/// What stands over the parts of an object that was released twice.
const SAME_CALLS: &str =
    "the same two calls released these twice, likely parts of one object; in short:";
/// Parts of another finding, with a line each; the others are counted.
const PART_COUNT_MAX: usize = 10;
/// The summary is said again at the end when more findings than this stand between.
const SUMMARY_REPEAT_COUNT: usize = 5;
/// The report's start is known to the second, and file systems round too.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// One process's report.
#[must_use]
pub fn render(report: &Report, options: TextOptions) -> String {
    render_many(std::slice::from_ref(report), options)
}

/// The reports of several processes as one: equal findings are added up.
#[must_use]
pub fn render_many(reports: &[Report], options: TextOptions) -> String {
    let reports: Vec<&Report> = reports.iter().flat_map(Report::processes).collect();
    let groups = group::merge_reports(&reports);
    let mut page = Page::new(&reports, options);
    let summary = summary::line(&groups, &reports);
    page.line(0, &page.paint.strong(&summary));
    if !groups.is_empty() {
        page.processes(&reports);
    }
    crash::write(&mut page, &reports);
    page.findings(
        &groups,
        reports.iter().all(|report| report.process.crash.is_some()),
    );
    notes::write(&mut page, &reports, groups.len());
    if groups.len().min(options.finding_count_max) > SUMMARY_REPEAT_COUNT {
        page.blank();
        page.line(0, &page.paint.strong(&summary));
    }
    page.text
}

/// The text under construction.
struct Page {
    text: String,
    paint: Paint,
    source: SourceLines,
    options: TextOptions,
}

impl Page {
    fn new(reports: &[&Report], options: TextOptions) -> Self {
        Self {
            text: String::new(),
            paint: Paint { on: options.color },
            source: SourceLines::new(earliest_end(reports)),
            options,
        }
    }

    /// Adds a line. `text` must have been escaped.
    fn line(&mut self, indent: usize, text: &str) {
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn processes(&mut self, reports: &[&Report]) {
        for report in reports.iter().take(PROCESS_COUNT_MAX) {
            self.process(&report.process);
        }
        let rest = reports.len().saturating_sub(PROCESS_COUNT_MAX);
        if rest > 0 {
            self.line(
                2,
                &format!("... {} further processes", thousands(rest as u64)),
            );
        }
    }

    fn process(&mut self, process: &Process) {
        if process.pid == 0 {
            return;
        }
        let mut text = format!("process {}", process.pid);
        if !process.argv.is_empty() {
            text.push_str(": ");
            text.push_str(&escaped(&command(&process.argv)));
        }
        if let Some(version) = &process.python {
            text.push_str(", Python ");
            text.push_str(&escaped(version));
        }
        if process.duration_s > 0.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {:.1} s", process.duration_s);
        }
        let text = self.paint.faint(&text);
        self.line(2, &text);
    }

    /// Parts of a leaked structure are told in short where the leak of its beginning is shown: the
    /// one mistake to repair is there. So is every leak where all processes have crashed: what they
    /// were using counts.
    fn findings(&mut self, groups: &[Group<'_>], have_crashed: bool) {
        let has_beginning = groups.iter().any(|group| group.finding.is_direct_leak());
        let is_short = |group: &Group<'_>| {
            if have_crashed {
                group.finding.is_leak()
            } else {
                group.finding.indirect && has_beginning
            }
        };
        let (parts, whole): (Vec<_>, Vec<_>) = (1..)
            .zip(groups)
            .take(self.options.finding_count_max)
            .partition(|(_, group)| is_short(group) && !self.options.all_frames);
        self.errors_and_their_parts(&whole);
        let heading = if have_crashed {
            still_used(parts.len())
        } else {
            "only blocks of the leaks above refer to these, in short:".to_owned()
        };
        self.parts(&parts, &heading);
    }

    /// Parts of a doubly released object are told in short behind it ([`super::part`]).
    fn errors_and_their_parts(&mut self, groups: &[(usize, &Group<'_>)]) {
        let mut parts: BTreeMap<&str, Vec<(usize, &Group<'_>)>> = BTreeMap::new();
        if !self.options.all_frames {
            let wholes = groups.iter().filter(|(_, it)| it.finding.part_of.is_none());
            parts.extend(wholes.map(|(_, it)| (it.finding.fingerprint.as_str(), Vec::new())));
        }
        let mut told = Vec::new();
        for (number, group) in groups {
            let whole = group.finding.part_of.as_deref();
            match whole.and_then(|whole| parts.get_mut(whole)) {
                Some(parts) => parts.push((*number, group)),
                None => told.push((*number, group)),
            }
        }
        for (number, group) in told {
            self.blank();
            finding::write(self, number, group);
            let parts = parts.remove(group.finding.fingerprint.as_str());
            self.parts(&parts.unwrap_or_default(), SAME_CALLS);
        }
    }

    fn parts(&mut self, parts: &[(usize, &Group<'_>)], heading: &str) {
        if parts.is_empty() {
            return;
        }
        self.blank();
        self.line(0, heading);
        for (number, group) in parts.iter().take(PART_COUNT_MAX) {
            finding::write_title(self, *number, group);
        }
        let rest = parts.len().saturating_sub(PART_COUNT_MAX);
        if rest > 0 {
            let further = grouped(rest as u64, "further finding");
            self.line(0, &format!("... {further}; the JSON report has all"));
        }
    }
}

/// The program and its arguments, without the program's folder, cut where a line would be too long.
fn command(argv: &[String]) -> String {
    let mut words = argv.iter();
    let program = words.next().map_or("", |program| file_name(program));
    let mut text = program.to_owned();
    for word in words {
        if text.chars().count() + word.chars().count() >= COMMAND_LENGTH_MAX {
            text.push_str(" ...");
            break;
        }
        text.push(' ');
        text.push_str(word);
    }
    text
}

/// When the first of the reports was written: source files that changed later are not quoted.
fn earliest_end(reports: &[&Report]) -> Option<SystemTime> {
    let ends = reports.iter().filter_map(|report| {
        let duration = Duration::try_from_secs_f64(report.process.duration_s).ok()?;
        let started = timestamp::moment_of(&report.process.started)?;
        started.checked_add(duration)?.checked_add(CLOCK_SLACK)
    });
    ends.min()
}

#[cfg(test)]
mod tests;
