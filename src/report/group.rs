//! Which findings are one, and which comes first.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::message;
use super::model::{Finding, Report};
use crate::detect::FindingKind;

/// Hints kept of one finding: merged occurrences may each bring their own.
pub const HINT_COUNT_MAX: usize = 16;

/// A finding and the processes it was seen in.
#[derive(Clone, PartialEq, Debug)]
pub struct Group<'a> {
    /// All occurrences together. Borrowed until a second one had to be added.
    pub finding: Cow<'a, Finding>,
    /// The processes, in the order of their reports.
    pub pids: Vec<u32>,
}

/// Merges findings with the same fingerprint, then puts the most serious first.
#[must_use]
pub fn merge(findings: Vec<Finding>) -> Vec<Finding> {
    let mut groups = Groups::default();
    for finding in findings {
        groups.add(Cow::Owned(finding), 0);
    }
    groups
        .ordered()
        .into_iter()
        .map(|group| group.finding.into_owned())
        .collect()
}

/// Merges the findings of several processes in the same way. Suppressed ones are left out.
#[must_use]
pub fn merge_reports<'a>(reports: &[&'a Report]) -> Vec<Group<'a>> {
    let mut groups = Groups::default();
    for report in reports {
        for finding in report.findings.iter().filter(|finding| !finding.suppressed) {
            groups.add(Cow::Borrowed(finding), report.process.pid);
        }
    }
    groups.ordered()
}

#[derive(Default)]
struct Groups<'a> {
    list: Vec<Group<'a>>,
    /// By fingerprint, and whether something keeps the blocks: a place may leave both.
    position: BTreeMap<(String, bool), usize>,
}

impl<'a> Groups<'a> {
    fn add(&mut self, finding: Cow<'a, Finding>, pid: u32) {
        let same = (finding.fingerprint.clone(), finding.is_kept());
        let known = self.position.get(&same).copied();
        if let Some(group) = known.and_then(|position| self.list.get_mut(position)) {
            absorb(group.finding.to_mut(), &finding);
            // Reports come one after the other, so only the last process can be this one.
            if group.pids.last() != Some(&pid) {
                group.pids.push(pid);
            }
            return;
        }
        // A hand-made report may lack fingerprints: such findings stay apart.
        if !finding.fingerprint.is_empty() {
            self.position.insert(same, self.list.len());
        }
        self.list.push(Group {
            finding,
            pids: vec![pid],
        });
    }

    fn ordered(mut self) -> Vec<Group<'a>> {
        self.list.sort_by_cached_key(|group| order(&group.finding));
        self.list
    }
}

/// Adds the occurrences of `other` to `first`, which keeps its example block.
fn absorb(first: &mut Finding, other: &Finding) {
    first.count = first.count.saturating_add(other.count);
    first.bytes = first.bytes.saturating_add(other.bytes);
    first.blocks = first.blocks.saturating_add(other.blocks);
    first.handed_to_python |= other.handed_to_python;
    // The same stacks are hidden by the same rules, unless the reports used different files: shown.
    first.suppressed &= other.suppressed;
    first.indirect &= other.indirect;
    first.growth = match (first.growth, other.growth) {
        (Some(one), Some(two)) => Some(one.saturating_add(two)),
        (one, two) => one.or(two),
    };
    for hint in &other.hints {
        if first.hints.len() < HINT_COUNT_MAX && !first.hints.contains(hint) {
            first.hints.push(hint.clone());
        }
    }
    if first.is_leak() {
        first.message = message::leak(first);
    }
}

/// Sorts errors by seriousness and, within a kind, in the order they were found. Of leaks those that
/// grew come first, and what only other leaks lead to comes last: it is the end of a structure whose
/// beginning was forgotten. So does what an import made once. Then growth, bytes and blocks count.
/// The fingerprint makes equal leaks come in the same order in each run.
fn order(finding: &Finding) -> impl Ord + use<> {
    let leak = finding.is_leak();
    let amounts = |amount: u64| if leak { Reverse(amount) } else { Reverse(0) };
    (
        finding.is_kept(),
        seriousness(finding.known_kind()),
        leak && finding.growth.unwrap_or(0) == 0,
        finding.indirect,
        finding.made_by_import().is_some(),
        amounts(finding.growth.unwrap_or(0)),
        amounts(finding.bytes),
        amounts(finding.blocks),
        if leak {
            finding.fingerprint.clone()
        } else {
            String::new()
        },
    )
}

/// What corrupts memory first, then what would have, then what costs memory.
const fn seriousness(kind: Option<FindingKind>) -> u8 {
    match kind {
        Some(FindingKind::UseAfterFree) => 0,
        Some(FindingKind::HeapOverflow) => 1,
        Some(FindingKind::HeapUnderflow) => 2,
        Some(FindingKind::DoubleFree) => 3,
        Some(FindingKind::ReallocAfterFree) => 4,
        Some(FindingKind::MismatchedFree) => 5,
        Some(FindingKind::InvalidFree) => 6,
        Some(FindingKind::TruncatedPointer) => 7,
        Some(FindingKind::SizeOverflow) => 8,
        None => 9,
        Some(FindingKind::Leak) => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures::python;

    fn finding(kind: &str, fingerprint: &str, bytes: u64) -> Finding {
        Finding {
            kind: kind.to_owned(),
            fingerprint: fingerprint.to_owned(),
            count: 1,
            blocks: 1,
            bytes,
            ..Finding::default()
        }
    }

    fn fingerprints(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .map(|finding| finding.fingerprint.as_str())
            .collect()
    }

    #[test]
    fn equal_fingerprints_are_added_up() {
        let mut second = finding("leak", "a", 20);
        second.hints.push("hint".to_owned());
        let merged = merge(vec![
            finding("leak", "a", 10),
            second,
            finding("leak", "b", 5),
        ]);
        assert_eq!(fingerprints(&merged), ["a", "b"]);
        let first = merged.first().unwrap();
        assert_eq!((first.count, first.blocks, first.bytes), (2, 2, 30));
        assert_eq!(first.hints, ["hint"]);
        assert_eq!(
            first.message,
            "leak of 2 blocks, 30 bytes, allocated at an unknown place"
        );
    }

    #[test]
    fn errors_come_before_leaks_and_leaks_by_bytes() {
        let merged = merge(vec![
            finding("leak", "small", 1),
            finding("size-overflow", "size", 0),
            finding("leak", "large", 100),
            finding("double-free", "double", 0),
            finding("double-free", "again", 999),
        ]);
        assert_eq!(
            fingerprints(&merged),
            ["double", "again", "size", "large", "small"]
        );
    }

    #[test]
    fn growth_comes_before_bytes() {
        let mut growing = finding("leak", "growing", 10);
        growing.growth = Some(3);
        let mut steady = finding("leak", "steady", 5000);
        steady.growth = Some(0);
        let merged = merge(vec![steady, finding("leak", "cache", 1_000_000), growing]);
        assert_eq!(fingerprints(&merged), ["growing", "cache", "steady"]);
    }

    #[test]
    fn parts_of_a_leaked_structure_and_what_an_import_made_come_after_the_others() {
        let part = Finding {
            indirect: true,
            ..finding("leak", "part", 9_000)
        };
        let mut once = finding("leak", "once", 5_000);
        once.stacks.allocated = vec![
            python("/l/m.py", 3, "make"),
            python("/l/m.py", 9, "<module>"),
            python(
                "<frozen importlib._bootstrap>",
                241,
                "_call_with_frames_removed",
            ),
        ];
        let mut again = once.clone();
        (again.fingerprint, again.blocks) = ("again".to_owned(), 2);
        let root = finding("leak", "root", 8);
        let merged = merge(vec![part, once, again, root]);
        assert_eq!(fingerprints(&merged), ["again", "root", "once", "part"]);
    }

    #[test]
    fn sums_stop_at_the_largest_number() {
        let merged = merge(vec![
            finding("leak", "a", u64::MAX),
            finding("leak", "a", 1),
        ]);
        assert_eq!(merged.first().map(|first| first.bytes), Some(u64::MAX));
    }

    #[test]
    fn findings_without_a_fingerprint_stay_apart() {
        assert_eq!(
            merge(vec![finding("leak", "", 1), finding("leak", "", 1)]).len(),
            2
        );
    }

    #[test]
    fn several_processes_are_named() {
        let report = |pid| {
            let mut report = Report {
                findings: vec![finding("leak", "a", 8)],
                ..Report::default()
            };
            report.process.pid = pid;
            report
        };
        let reports = [report(7), report(7), report(8)];
        let reports: Vec<&Report> = reports.iter().collect();
        let groups = merge_reports(&reports);
        assert_eq!(groups.len(), 1);
        let group = groups.first().unwrap();
        assert_eq!(
            (group.finding.count, group.pids.as_slice()),
            (3, [7, 8].as_slice())
        );
    }
}
