//! The report as data: exactly the JSON that `docs/` and the Python package promise.
//!
//! Field order is the order in the file. Fields that a newer heapledger adds are kept where a
//! section is open to them (`more`) and skipped elsewhere, so that any version-1 report can be read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::damage::{Damage, Moment};
pub use super::frame::Frame;
pub use super::stacks::Stacks;
use crate::detect::FindingKind;

/// What `schema` says in every report.
pub const SCHEMA: &str = "heapledger.report";
/// What code objects call the body of a module, and the file of what executes it for `import`.
const MODULE_BODY: &str = "<module>";
const IMPORT_SYSTEM: &str = "<frozen importlib._bootstrap>";
/// What `version` says in the reports that this library writes and reads.
pub const VERSION: u32 = 1;

/// A whole report: one process, from its start to the moment of writing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Always [`VERSION`].
    pub version: u32,
    /// Which process.
    #[serde(default)]
    pub process: Process,
    /// What it was asked to record and check.
    #[serde(default)]
    pub options: Options,
    /// Totals.
    #[serde(default)]
    pub stats: Stats,
    /// What was cut or dropped, counted.
    #[serde(default)]
    pub limits: Limits,
    /// What was found, most serious first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// The reports of the processes that this one started; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Report>,
    /// Why the process left no report of its own; absent when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// What a newer version says beyond this.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

impl Report {
    /// This report and those of its children, theirs after it.
    #[must_use]
    pub fn processes(&self) -> Vec<&Self> {
        let mut found = vec![self];
        for child in &self.children {
            found.extend(child.processes());
        }
        found
    }
}

impl Default for Report {
    fn default() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            version: VERSION,
            process: Process::default(),
            options: Options::default(),
            stats: Stats::default(),
            limits: Limits::default(),
            findings: Vec::new(),
            children: Vec::new(),
            missing: None,
            more: BTreeMap::new(),
        }
    }
}

/// The process a report is about.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its arguments, the program first.
    pub argv: Vec<String>,
    /// The interpreter's version, such as `3.13.1`; null in a program without Python.
    pub python: Option<String>,
    /// Operating system and machine, such as `linux-x86_64`.
    pub platform: String,
    /// When recording began, in UTC: `2026-01-31T12:00:00Z` (see [`super::timestamp`]).
    pub started: String,
    /// Seconds from then to the writing of the report.
    pub duration_s: f64,
    /// The signal the process was dying of, such as `SIGTERM`; absent when it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed_by: Option<String>,
    /// Where it crashed; absent when it did not, and when the signal was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash: Option<Crash>,
    /// What a newer version says beyond this.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// Where a process died of what it did itself.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Crash {
    /// The address that it accessed or jumped to; null where the processor does not say.
    pub address: Option<u64>,
    /// The foreign call that it was in.
    pub foreign_function: Option<ForeignFunction>,
    /// Where its thread was, innermost first.
    pub stack: Vec<Frame>,
}

/// What the session was asked to do.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// `explicit`, `foreign` or `process`.
    pub scope: String,
    /// The checks that were on, such as `quarantine`.
    pub checks: Vec<String>,
    /// `off`, `boundary` or `full`.
    pub native_stacks: String,
    /// Every other option.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// Totals of the ledger.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Blocks in the program's hands.
    pub live_blocks: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// The most blocks that were live at one time.
    pub peak_blocks: u64,
    /// The most bytes that were live at one time.
    pub peak_bytes: u64,
    /// Blocks ever recorded.
    pub total_blocks: u64,
    /// Bytes ever recorded.
    pub total_bytes: u64,
    /// Released blocks that are withheld from reuse, closed ones included.
    pub quarantined_blocks: u64,
    /// The memory that they hold, in bytes.
    pub quarantined_bytes: u64,
    /// Occurrences by kind of finding.
    pub findings: BTreeMap<String, u64>,
    /// Bytes that the ledger itself occupies.
    pub ledger_bytes: u64,
    /// Blocks that were served without a record.
    pub dropped_records: u64,
    /// Quarantined blocks that left to make room for others.
    pub evicted_blocks: u64,
    /// The memory that they held, in bytes.
    pub evicted_bytes: u64,
    /// Large released blocks that keep their addresses and no memory.
    pub closed_blocks: u64,
    /// The bytes of those addresses.
    pub closed_bytes: u64,
    /// What a newer version counts beyond this.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// What was cut or dropped because a limit was reached, and which suppressions did something.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Stacks longer than `stack_frame_max`, stored without their outermost frames.
    pub stack_cut_count: u64,
    /// Python frames kept of one stack.
    pub stack_frame_max: u64,
    /// Events whose stack could not be stored.
    pub stack_dropped_count: u64,
    /// Allocations that were served without a record.
    pub record_dropped_count: u64,
    /// Findings that the store had no room for.
    pub finding_dropped_count: u64,
    /// The suppressions that hid something.
    pub suppressions_used: Vec<SuppressionUse>,
    /// The suppressions that hid nothing, each as `kind:pattern (file:line)`.
    pub suppressions_unused: Vec<String>,
    /// What went wrong on our side, one sentence each.
    pub troubles: Vec<String>,
    /// Every other counter. A number above zero is shown in the text report under its own name.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

/// What one suppression hid.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SuppressionUse {
    /// The rule and where it stands: `kind:pattern (file:line)`.
    pub rule: String,
    /// Findings hidden by it (each finding counts for the first rule that matches).
    pub findings: u64,
    /// Blocks concerned.
    pub blocks: u64,
    /// Bytes concerned.
    pub bytes: u64,
}

/// One finding: all occurrences with the same kind and stacks.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// A name of [`FindingKind::name`]. Text, so that a kind of a newer version can be shown too.
    pub kind: String,
    /// One sentence: what, where, whose.
    pub message: String,
    /// How often it occurred; for a leak: in how many blocks.
    pub count: u64,
    /// Bytes concerned, over all occurrences.
    pub bytes: u64,
    /// Blocks concerned, over all occurrences.
    pub blocks: u64,
    /// The family of the block; empty when the block is not known.
    pub family: String,
    /// Equal between runs for the same kind and stacks (see [`super::fingerprint`]).
    pub fingerprint: String,
    /// Whether a suppression hides it.
    pub suppressed: bool,
    /// The block of the first occurrence (of a leak: one of the blocks); null when not known.
    pub block: Option<Block>,
    /// The foreign function that allocated the block or, when no block is known, that was being
    /// called when the error was detected; null when none was.
    pub foreign_function: Option<ForeignFunction>,
    /// Whether a foreign call gave the block to Python.
    pub handed_to_python: bool,
    /// For a leak: what still holds all of the blocks, so that they are kept rather than lost; a
    /// library, or words for other memory. Absent when nothing is known to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_by: Option<String>,
    /// For a leak: whether only other leaked blocks refer to these, which nobody handed to Python:
    /// parts of something that was not released as a whole. Absent when not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub indirect: bool,
    /// For a double free: the fingerprint of the one that it is part of (see [`super::part`]). Absent
    /// when it stands for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// What was written, when that was found afterwards; absent for other errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
    /// What a colleague would add, one sentence each.
    pub hints: Vec<String>,
    /// Where it happened.
    pub stacks: Stacks,
    /// Blocks gained from one mark or call to the next; absent when nobody measured it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<u64>,
    /// What a newer version says beyond this.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

impl Finding {
    /// The kind, unless the report is of a version that knows more kinds than this one.
    #[must_use]
    pub fn known_kind(&self) -> Option<FindingKind> {
        FindingKind::ALL
            .into_iter()
            .find(|kind| kind.name() == self.kind)
    }

    /// Whether these are blocks that something keeps, and no error.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.kept_by.is_some()
    }

    /// Whether this is a leak and not an error of one moment.
    #[must_use]
    pub fn is_leak(&self) -> bool {
        self.kind == FindingKind::Leak.name()
    }

    /// Whether this is a leak that nothing else explains.
    #[must_use]
    pub fn is_direct_leak(&self) -> bool {
        self.is_leak() && !self.indirect && !self.is_kept()
    }

    /// The Python module in whose import a single block was left behind: a module is imported once.
    #[must_use]
    pub fn made_by_import(&self) -> Option<&str> {
        if !self.is_leak() || self.blocks != 1 {
            return None;
        }
        let mut lines = self
            .stacks
            .allocated
            .iter()
            .filter_map(|frame| match frame {
                Frame::Python { file, function, .. } => Some((file.as_str(), function.as_str())),
                Frame::Native { .. } => None,
            });
        let mut inner = lines.next()?;
        for outer in lines {
            if inner.1 == MODULE_BODY && outer.0 == IMPORT_SYSTEM {
                return Some(inner.0);
            }
            inner = outer;
        }
        None
    }
}

/// The block that a finding is about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Block {
    /// Where it starts.
    pub address: u64,
    /// The bytes that the program asked for.
    pub size: u64,
    /// `live`, `quarantined` or `freed`.
    pub state: String,
    /// How far the pointer in question lies from the start; negative before it.
    pub offset: i64,
    /// Its first bytes when the report was made, hexadecimal; absent unless they were asked for and
    /// the block was live.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub contents: String,
}

/// A function of a foreign library that Python called.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ForeignFunction {
    /// The library's path, as the loader knows it.
    pub library: String,
    /// The function's name.
    pub name: String,
}

/// The last part of a path.
#[must_use]
pub fn file_name(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((_, "")) | None => path,
        Some((_, name)) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_names_and_order_of_the_contract() {
        let finding = Finding {
            kind: "leak".to_owned(),
            stacks: Stacks {
                allocated: vec![
                    Frame::Python {
                        file: "a.py".to_owned(),
                        line: 3,
                        function: "f".to_owned(),
                    },
                    Frame::Native {
                        library: "l.so".to_owned(),
                        function: "g".to_owned(),
                        file: String::new(),
                        line: 0,
                        address: 255,
                        build_id: "ab12".to_owned(),
                        offset: 15,
                        internal: true,
                        inlined: true,
                    },
                ],
                ..Stacks::default()
            },
            ..Finding::default()
        };
        let expected = concat!(
            r#"{"kind":"leak","message":"","count":0,"bytes":0,"blocks":0,"family":"","#,
            r#""fingerprint":"","suppressed":false,"block":null,"foreign_function":null,"#,
            r#""handed_to_python":false,"hints":[],"stacks":{"allocated":["#,
            r#"{"language":"python","file":"a.py","line":3,"function":"f"},"#,
            r#"{"language":"native","library":"l.so","function":"g","file":"","line":0,"address":255,"#,
            r#""build_id":"ab12","offset":15,"internal":true,"inlined":true}"#,
            r#"],"released":[],"here":[]}}"#,
        );
        assert_eq!(serde_json::to_string(&finding).unwrap(), expected);
    }

    #[test]
    fn a_kind_of_a_newer_version_is_kept_and_not_known() {
        let finding: Finding = serde_json::from_str(r#"{"kind":"wild-write"}"#).unwrap();
        assert_eq!(finding.kind, "wild-write");
        assert_eq!(finding.known_kind(), None);
    }

    #[test]
    fn file_name_is_the_last_part() {
        assert_eq!(file_name("/usr/lib/libc.so.6"), "libc.so.6");
        assert_eq!(file_name("app.py"), "app.py");
        assert_eq!(file_name("/tmp/"), "/tmp/");
        assert_eq!(file_name(""), "");
    }
}
