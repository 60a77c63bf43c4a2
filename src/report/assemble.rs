//! A report of this process, from what the tracker knows.

use std::collections::BTreeMap;

use super::hints::UsualRelease;
use super::lessons::{Lessons, python_place};
use super::model::{Crash, ForeignFunction, Frame, Limits, Process, Report, Stats};
use super::translate::{Resolver, finding_to_model, findings_to_model};
use super::{Learned, Suppressions, model, timestamp};
use crate::capture::{self, CaptureCounters, PythonStatus};
use crate::detect::{BlockFacts, Finding, FindingKind};
use crate::ledger::{BlockRecord, BlockState, FamilyId, StackId};
use crate::memory::peek::peek;
use crate::memory::{Address, reserve};
use crate::tracker::Tracker;
use crate::tracker::death::Death;
use crate::tracker::options::Options;
use crate::tracker::snapshot::Snapshot;
use serde_json::Value;
use std::cell::OnceCell;

/// Bytes of a block that a report tells when it is asked for contents: four lines of a dump.
const CONTENT_BYTE_MAX: usize = 64;

/// Gives names to the numbers in findings, and remembers what it has learned from the ledger.
#[derive(Debug)]
struct Names<'a> {
    tracker: &'a Tracker,
    lessons: OnceCell<Lessons>,
    /// Asked of the session once, which copies all its options for an answer.
    tells_contents: OnceCell<bool>,
}

impl<'a> Names<'a> {
    fn of(tracker: &'a Tracker) -> Self {
        Self {
            tracker,
            lessons: OnceCell::new(),
            tells_contents: OnceCell::new(),
        }
    }

    fn usual_release(&self, allocated: StackId) -> Option<UsualRelease> {
        let capture = self.tracker.capture();
        let lessons = self
            .lessons
            .get_or_init(|| Lessons::from_blocks(capture, self.tracker.ledger().blocks()));
        lessons.usual_release(capture, allocated, |stack| self.frames(stack))
    }
}

impl Resolver for Names<'_> {
    fn frames(&self, stack: StackId) -> Vec<Frame> {
        self.tracker
            .capture()
            .frames(stack)
            .into_iter()
            .map(Frame::from)
            .collect()
    }

    fn foreign_function(&self, stack: StackId) -> Option<ForeignFunction> {
        let found = self.tracker.capture().foreign_function(stack)?;
        Some(ForeignFunction {
            library: found.library,
            name: found.name,
        })
    }

    fn is_plain_program(&self) -> bool {
        self.tracker.is_plain_program()
    }

    fn library_at(&self, place: Address) -> Option<String> {
        capture::library_at(place)
    }

    fn family_name(&self, family: FamilyId) -> String {
        self.tracker.families().names(family).family
    }

    fn allocate_name(&self, family: FamilyId) -> String {
        self.tracker.families().names(family).allocate
    }

    fn release_name(&self, family: FamilyId) -> String {
        self.tracker.families().names(family).release
    }

    fn tells_contents(&self) -> bool {
        let ask = || self.tracker.session().options().contents;
        *self.tells_contents.get_or_init(ask)
    }

    fn contents(&self, block: &BlockFacts) -> Vec<u8> {
        let is_same = self.tracker.block_at(block.address).is_some_and(|now| {
            now.state == BlockState::Live
                && (now.address, now.size, now.allocated)
                    == (block.address, block.size, block.allocated)
        });
        let mut bytes = vec![0; block.size.get().min(CONTENT_BYTE_MAX)];
        // Another thread may release it meanwhile, and its pages may be gone.
        if is_same && peek(block.address, &mut bytes) {
            bytes
        } else {
            Vec::new()
        }
    }

    fn learned(&self, finding: &Finding) -> Learned {
        let allocated = finding.block.map(|block| block.allocated);
        let leaked =
            allocated.filter(|stack| stack.is_known() && finding.kind == FindingKind::Leak);
        let inside = leaked.map(|stack| self.tracker.findings().interior_release_count(stack));
        let next = finding.next.map(|next| self.frames(next.allocated));
        Learned {
            next_block_place: next.and_then(|frames| python_place(&frames)),
            result_was_copied: leaked.is_some_and(|stack| self.tracker.is_copied_result(stack)),
            interior_release_count: inside.unwrap_or(0),
            usual_release: leaked.and_then(|stack| self.usual_release(stack)),
        }
    }
}

impl From<capture::Frame> for Frame {
    fn from(frame: capture::Frame) -> Self {
        match frame {
            capture::Frame::Python {
                file,
                line,
                function,
            } => Self::Python {
                file,
                line,
                function,
            },
            capture::Frame::Native {
                library,
                function,
                file,
                line,
                address,
                build_id,
                offset,
                is_internal,
                is_inlined,
            } => Self::Native {
                library,
                function,
                file,
                line,
                address,
                build_id,
                offset,
                internal: is_internal,
                inlined: is_inlined,
            },
        }
    }
}

/// The report of this process at this moment, with `suppressions` applied. `progress` hears how many
/// findings, of how many, are in it: their places in code are looked up one after the other.
#[must_use]
pub fn report(
    tracker: &Tracker,
    suppressions: &Suppressions,
    progress: &mut dyn FnMut(u64, u64),
) -> Report {
    let snapshot = tracker.snapshot();
    let total = snapshot.findings.len() as u64;
    let found = (0..).zip(&snapshot.findings).map(|(done, finding)| {
        progress(done, total);
        finding
    });
    let mut findings = findings_to_model(found, &Names::of(tracker));
    let mut limits = limits(&snapshot, tracker.capture().counters());
    suppressions.apply(&mut findings, &mut limits);
    Report {
        process: process(tracker, &snapshot),
        options: options(&snapshot.options),
        stats: stats(&snapshot),
        limits,
        findings,
        ..Report::default()
    }
}

/// Some findings as the report would have them.
#[must_use]
pub fn findings(
    tracker: &Tracker,
    found: &[Finding],
    suppressions: &Suppressions,
) -> Vec<model::Finding> {
    let mut findings = findings_to_model(found, &Names::of(tracker));
    suppressions.apply(&mut findings, &mut Limits::default());
    findings
}

/// One finding as the report would have it.
#[must_use]
pub fn finding(tracker: &Tracker, found: &Finding, rules: &Suppressions) -> model::Finding {
    let mut finding = finding_to_model(found, &Names::of(tracker));
    rules.apply(std::slice::from_mut(&mut finding), &mut Limits::default());
    finding
}

/// What is known of one block: the JSON of `hl_describe_json`.
#[must_use]
pub fn block(tracker: &Tracker, record: &BlockRecord, offset: usize) -> Value {
    let names = Names::of(tracker);
    let facts = BlockFacts::from(record);
    serde_json::json!({
        "address": record.address.get(),
        "size": record.size.get(),
        "offset": offset,
        "state": record.state.name(),
        "family": names.family_name(record.family),
        "handed_to_python": facts.handed_to_python,
        "foreign_function": names.foreign_function(record.allocated),
        "stacks": {
            "allocated": names.frames(record.allocated),
            "released": names.frames(record.released),
        },
    })
}

fn process(tracker: &Tracker, snapshot: &Snapshot) -> Process {
    let python = match tracker.capture().python_status() {
        PythonStatus::Connected { version, .. } => Some(version.to_string()),
        PythonStatus::NotPython | PythonStatus::Unsupported { .. } | PythonStatus::TurnedOff => {
            None
        }
    };
    let death = tracker.session().death();
    Process {
        pid: std::process::id(),
        argv: arguments(),
        python,
        platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        started: timestamp::utc_text(snapshot.started),
        duration_s: snapshot.duration.as_secs_f64(),
        killed_by: death.map(|death| signal_name(death.signal)),
        crash: death
            .filter(|death| death.here.is_known())
            .map(|death| crash(&Names::of(tracker), death)),
        ..Process::default()
    }
}

fn crash(names: &Names<'_>, death: Death) -> Crash {
    Crash {
        address: death.address.map(|address| address.get() as u64),
        foreign_function: names.foreign_function(death.here),
        stack: names.frames(death.here),
    }
}

/// `SIGTERM` for 15 on Linux; the number of a signal without a name.
fn signal_name(number: u32) -> String {
    const NAMES: [&str; 32] = [
        "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV",
        "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU",
        "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let index = usize::try_from(number).unwrap_or_default();
    match NAMES.get(index) {
        Some(name) if !name.is_empty() => format!("SIG{name}"),
        _ => number.to_string(),
    }
}

/// The program's own arguments: a shared object has no `main` that could pass them on.
fn arguments() -> Vec<String> {
    let bytes = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let words = bytes
        .strip_suffix(b"\0")
        .unwrap_or(&bytes)
        .split(|&byte| byte == 0);
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

fn options(options: &Options) -> model::Options {
    model::Options {
        scope: options.scope.name().to_owned(),
        checks: options
            .check_names()
            .iter()
            .map(|&name| name.to_owned())
            .collect(),
        native_stacks: options.native_stacks.name().to_owned(),
        more: further_options(options),
    }
}

/// How the checks are carried out.
fn further_options(options: &Options) -> BTreeMap<String, Value> {
    let numbers = [
        ("quarantine_blocks", options.quarantine.block_count.into()),
        ("quarantine_bytes", options.quarantine.byte_count),
        ("check_every", options.check_every.into()),
        ("guard_interval", options.effective_guard_interval().into()),
    ];
    let numbers = numbers.map(|(name, number): (&str, u64)| (name.to_owned(), Value::from(number)));
    let switches = [
        ("contents", options.contents),
        ("guard_first", options.guards_first()),
    ];
    let switches = switches.map(|(name, is_on)| (name.to_owned(), Value::from(is_on)));
    numbers.into_iter().chain(switches).collect()
}

fn stats(snapshot: &Snapshot) -> Stats {
    let statistics = &snapshot.statistics;
    let mut stats = Stats::of(statistics);
    let (blocks, bytes) = snapshot.others_own;
    let others = [("interpreter_blocks", blocks), ("interpreter_bytes", bytes)];
    stats
        .more
        .extend(others.map(|(name, count)| (name.to_owned(), Value::from(count))));
    stats
}

fn limits(snapshot: &Snapshot, capture: CaptureCounters) -> Limits {
    let ledger = snapshot.statistics.ledger;
    let mut limits = Limits {
        stack_cut_count: capture.stack_cut_count,
        stack_frame_max: capture::PYTHON_FRAME_COUNT_MAX as u64,
        stack_dropped_count: capture.stack_dropped_count,
        record_dropped_count: ledger.dropped_record_count,
        finding_dropped_count: snapshot.statistics.dropped_finding_count,
        troubles: snapshot.troubles.clone(),
        ..Limits::default()
    };
    let (kept_block_count, kept_byte_count) = snapshot.statistics.kept;
    let [copied_results, given_again] = snapshot.statistics.dropped_note_counts;
    let others = [
        ("kept_block_count", kept_block_count),
        ("kept_byte_count", kept_byte_count),
        ("view_dropped_count", snapshot.statistics.dropped_view_count),
        (
            "quarantine_evicted_block_count",
            snapshot.statistics.withheld.evicted_block_count,
        ),
        ("closed_evicted_block_count", snapshot.statistics.closed.2),
        ("heap_reserve_byte_count", reserve::used_byte_count()),
        (
            "leaks_not_judged_in_programs_without_python",
            snapshot.unjudged_block_count,
        ),
        (
            "unguarded_block_count",
            snapshot.statistics.unguarded_block_count,
        ),
        ("copied_result_dropped_count", copied_results),
        ("given_again_dropped_count", given_again),
        (
            "heap_unread_byte_count",
            snapshot.statistics.unread_heap_byte_count,
        ),
        ("record_superseded_count", ledger.superseded_record_count),
        ("record_forgotten_count", ledger.forgotten_record_count),
        ("native_stack_cut_count", capture.native_cut_count),
        ("native_stack_lost_count", capture.native_lost_count),
        ("site_dropped_count", capture.site_dropped_count),
        ("module_dropped_count", capture.module_dropped_count),
        ("text_cut_count", capture.text_cut_count),
        ("text_dropped_count", capture.text_dropped_count),
    ];
    limits
        .more
        .extend(others.map(|(name, count)| (name.to_owned(), Value::from(count))));
    limits
}
