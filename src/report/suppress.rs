//! Suppressions: rules that hide findings, and the counts of what they hid.
//!
//! One rule per line, `kind:pattern` or `*:pattern`; empty lines and lines that begin with `#` are
//! skipped. The pattern (see [`super::glob`]) is tried on every frame of every stack of a finding: on
//! function names, on library names, and on `file:function` of Python frames; also on the name and
//! library of the foreign function. Paths are tried whole and without their folders, so that `^` can
//! anchor a file name.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use super::glob::Glob;
use super::matcher::Matcher;
use super::model::{Finding, Limits, Report, SuppressionUse};
use crate::detect::FindingKind;

/// Rules that one process accepts. A larger file is an error, because a finding is tried against
/// every rule.
pub const RULE_COUNT_MAX: usize = 10_000;
/// Characters of one pattern: trying it takes the product of its length and the text's.
pub const PATTERN_LENGTH_MAX: usize = 1_000;
/// Bytes of a suppressions file.
pub const FILE_BYTE_MAX: u64 = 16 << 20;

/// A set of rules, in the order of their lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Suppressions {
    rules: Vec<Rule>,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    /// `None`: every kind.
    pub(super) kind: Option<FindingKind>,
    /// What it is matched with.
    pub(super) glob: Glob,
    /// As the user wrote it, and where.
    text: String,
}

/// Why a suppressions file was not accepted. Displays as one sentence with file and line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuppressionError {
    file: String,
    /// Counted from 1; 0: the file as a whole.
    line: usize,
    reason: String,
}

impl fmt::Display for SuppressionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.file, self.reason),
            line => write!(formatter, "{}:{line}: {}", self.file, self.reason),
        }
    }
}

impl std::error::Error for SuppressionError {}

impl Suppressions {
    /// Reads the rules in `text`; `file` is the name used in messages.
    ///
    /// # Errors
    /// The first line that is not a rule, with advice.
    pub fn parse(text: &str, file: &str) -> Result<Self, SuppressionError> {
        let error = |line, reason| SuppressionError {
            file: file.to_owned(),
            line,
            reason,
        };
        let mut rules = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if rules.len() == RULE_COUNT_MAX {
                let reason = format!("more than {RULE_COUNT_MAX} rules; use wider patterns");
                return Err(error(number, reason));
            }
            let (kind, glob) = parse_rule(line).map_err(|reason| error(number, reason))?;
            rules.push(Rule {
                kind,
                glob,
                text: format!("{line} ({file}:{number})"),
            });
        }
        Ok(Self { rules })
    }

    /// Reads the rules in a file.
    ///
    /// # Errors
    /// The file cannot be read, is not UTF-8, is too large, or holds a line that is not a rule.
    pub fn load(path: &Path) -> Result<Self, SuppressionError> {
        let file = path.display().to_string();
        let error = |reason| SuppressionError {
            file: file.clone(),
            line: 0,
            reason,
        };
        let bytes = super::files::read_file(path, FILE_BYTE_MAX)
            .map_err(|reason| error(format!("cannot read the suppressions: {reason}")))?;
        let text = String::from_utf8(bytes).map_err(|fault| {
            let line = 1 + fault
                .as_bytes()
                .iter()
                .take(fault.utf8_error().valid_up_to())
                .filter(|byte| **byte == b'\n')
                .count();
            SuppressionError {
                line,
                ..error("not UTF-8; save the file as UTF-8".to_owned())
            }
        })?;
        Self::parse(&text, &file)
    }

    /// Adds the rules of another file after these.
    pub fn extend(&mut self, more: Self) {
        self.rules.extend(more.rules);
    }

    /// Whether there is no rule.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Applies the rules to a report and to those of its children.
    pub fn apply_to_report(&self, report: &mut Report) {
        self.apply(&mut report.findings, &mut report.limits);
        for child in &mut report.children {
            self.apply_to_report(child);
        }
    }

    /// Marks the findings that a rule hides, and says in `limits` which rules hid what. Each finding
    /// counts for the first rule that matches. Applying the same rules again changes nothing.
    pub fn apply(&self, findings: &mut [Finding], limits: &mut Limits) {
        if self.is_empty() {
            return;
        }
        let rules = self.rules.iter().map(|rule| rule.text.clone());
        let mut uses: Vec<SuppressionUse> = rules
            .map(|rule| SuppressionUse {
                rule,
                ..SuppressionUse::default()
            })
            .collect();
        let mut matcher = Matcher::new(&self.rules);
        for finding in findings {
            let used = matcher
                .first_match(finding)
                .and_then(|index| uses.get_mut(index));
            if let Some(used) = used {
                finding.suppressed = true;
                used.findings += 1;
                used.blocks = used.blocks.saturating_add(finding.blocks);
                used.bytes = used.bytes.saturating_add(finding.bytes);
            }
        }
        note_uses(uses, limits);
    }
}

/// Replaces what `limits` said of these rules before.
fn note_uses(uses: Vec<SuppressionUse>, limits: &mut Limits) {
    let rules: BTreeSet<&str> = uses.iter().map(|used| used.rule.as_str()).collect();
    limits
        .suppressions_used
        .retain(|used| !rules.contains(used.rule.as_str()));
    limits
        .suppressions_unused
        .retain(|rule| !rules.contains(rule.as_str()));
    for used in uses {
        if used.findings > 0 {
            limits.suppressions_used.push(used);
        } else {
            limits.suppressions_unused.push(used.rule);
        }
    }
}

fn parse_rule(line: &str) -> Result<(Option<FindingKind>, Glob), String> {
    let Some((kind, pattern)) = line.split_once(':') else {
        return Err(format!(
            "no colon in `{line}`; write kind:pattern, such as leak:{line}"
        ));
    };
    let (kind, pattern) = (kind.trim(), pattern.trim());
    let kind = match FindingKind::ALL
        .into_iter()
        .find(|known| known.name() == kind)
    {
        Some(known) => Some(known),
        None if kind == "*" => None,
        None => return Err(unknown_kind(kind)),
    };
    if pattern
        .trim_start_matches('^')
        .trim_end_matches('$')
        .is_empty()
    {
        return Err(format!(
            "`{line}` has no pattern; name a function, library or file:function, or write * for \
             everything"
        ));
    }
    if pattern.chars().count() > PATTERN_LENGTH_MAX {
        return Err(format!(
            "the pattern is longer than {PATTERN_LENGTH_MAX} characters"
        ));
    }
    Ok((kind, Glob::new(pattern)))
}

fn unknown_kind(kind: &str) -> String {
    let names = FindingKind::ALL.map(FindingKind::name);
    let folded = kind.to_lowercase().replace(['_', ' '], "-");
    let meant = names.into_iter().find(|name| {
        *name == folded || name.replace('-', "") == folded || folded == format!("{name}s")
    });
    match meant {
        Some(name) => format!("unknown kind `{kind}`; did you mean {name}?"),
        None => format!(
            "unknown kind `{kind}`; the kinds are {}, and * for all",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::fixtures::{foreign, native, python};
    use crate::report::model::Stacks;

    fn finding(kind: &str) -> Finding {
        Finding {
            kind: kind.to_owned(),
            blocks: 2,
            bytes: 30,
            foreign_function: Some(foreign("/opt/libcpp.so.3", "get_shared_memory")),
            stacks: Stacks {
                allocated: vec![
                    native("/opt/libinner.so", "make(int)", 1),
                    python("/srv/app.py", 3, "Dataset.load"),
                ],
                released: vec![python("/srv/close.py", 9, "close")],
                here: vec![],
                ..Stacks::default()
            },
            ..Finding::default()
        }
    }

    fn hides(rule: &str, kind: &str) -> bool {
        let mut findings = [finding(kind)];
        let rules = Suppressions::parse(rule, "s").unwrap();
        rules.apply(&mut findings, &mut Limits::default());
        findings.iter().all(|finding| finding.suppressed)
    }

    fn refusal(text: &str) -> String {
        Suppressions::parse(text, "supp.txt")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn patterns_match_names_libraries_and_python_places() {
        for pattern in [
            "^get_shared_memory$",
            "^libcpp.so",
            "^/opt/libcpp.so.3$",
            "libinner",
            "make(int)",
            "^Dataset.load$",
            "app.py:Dataset.*",
            "^app.py:Dataset.load$",
            "^/srv/app.py:Dataset.load$",
            "^close$",
            "^*/srv/*.py:close$",
        ] {
            assert!(hides(&format!("leak:{pattern}"), "leak"), "{pattern}");
        }
        for pattern in ["^shared", "app.py:3", "^load$", "libother", "app.py:close"] {
            assert!(!hides(&format!("leak:{pattern}"), "leak"), "{pattern}");
        }
    }

    #[test]
    fn kinds_are_told_apart_and_a_star_means_all() {
        assert!(!hides("leak:close", "double-free"));
        assert!(hides("double-free:close", "double-free"));
        assert!(hides("*:close", "double-free"));
        assert!(hides("*:close", "a-kind-of-tomorrow"));
        assert!(!hides("leak:close", "a-kind-of-tomorrow"));
    }

    #[test]
    fn comments_spaces_and_windows_lines_are_accepted() {
        let text = "\u{feff}# all of it\r\n\r\n  leak : get_*  \r\n# end";
        let rules = Suppressions::parse(text, "s").unwrap();
        let mut findings = [finding("leak")];
        let mut limits = Limits::default();
        rules.apply(&mut findings, &mut limits);
        assert_eq!(
            limits.suppressions_used.first().unwrap().rule,
            "leak : get_* (s:3)"
        );
    }

    #[test]
    fn uses_are_counted_for_the_first_matching_rule() {
        let text = "leak:nothing\nleak:Dataset\n*:close\ndouble-free:zzz";
        let rules = Suppressions::parse(text, "s").unwrap();
        let mut before = finding("heap-overflow");
        before.foreign_function = None;
        before.stacks = Stacks::default();
        before.suppressed = true;
        let mut findings = [
            finding("leak"),
            finding("leak"),
            finding("double-free"),
            before,
        ];
        let mut limits = Limits::default();
        rules.apply(&mut findings, &mut limits);
        assert!(findings.iter().all(|finding| finding.suppressed));
        let used = |rule: &str, findings| SuppressionUse {
            rule: rule.to_owned(),
            findings,
            blocks: 2 * findings,
            bytes: 30 * findings,
        };
        assert_eq!(
            limits.suppressions_used,
            [used("leak:Dataset (s:2)", 2), used("*:close (s:3)", 1)]
        );
        assert_eq!(
            limits.suppressions_unused,
            ["leak:nothing (s:1)", "double-free:zzz (s:4)"]
        );
    }

    #[test]
    fn applying_rules_again_changes_nothing() {
        let rules = Suppressions::parse("leak:Dataset\nleak:nothing", "s").unwrap();
        let child = Report {
            findings: vec![finding("leak")],
            ..Report::default()
        };
        let mut report = Report {
            findings: vec![finding("leak")],
            children: vec![child],
            ..Report::default()
        };
        rules.apply_to_report(&mut report);
        assert!(
            report
                .processes()
                .iter()
                .all(|report| report.findings[0].suppressed)
        );
        let once = report.clone();
        rules.apply_to_report(&mut report);
        assert_eq!(report, once);
        let other = Suppressions::parse("*:zzz", "other").unwrap();
        other.apply_to_report(&mut report);
        assert_eq!(
            report.limits.suppressions_used,
            once.limits.suppressions_used
        );
        assert_eq!(
            report.limits.suppressions_unused,
            ["leak:nothing (s:2)", "*:zzz (other:1)"]
        );
    }

    #[test]
    fn faulty_lines_are_named_with_advice() {
        assert_eq!(
            refusal("leak:x\nget_shared_memory"),
            "supp.txt:2: no colon in `get_shared_memory`; write kind:pattern, such as \
             leak:get_shared_memory"
        );
        assert_eq!(
            refusal("leaks:x"),
            "supp.txt:1: unknown kind `leaks`; did you mean leak?"
        );
        assert_eq!(
            refusal("\nDouble_Free:x"),
            "supp.txt:2: unknown kind `Double_Free`; did you mean double-free?"
        );
        assert_eq!(
            refusal("race:x"),
            "supp.txt:1: unknown kind `race`; the kinds are leak, double-free, invalid-free, \
             mismatched-free, use-after-free, heap-overflow, heap-underflow, realloc-after-free, \
             size-overflow, truncated-pointer, and * for all"
        );
        for line in ["leak:", "leak:  ", "leak:^$"] {
            assert!(refusal(line).contains("has no pattern"), "{line}");
        }
        let long = format!("leak:{}", "x".repeat(PATTERN_LENGTH_MAX + 1));
        assert_eq!(
            refusal(&long),
            "supp.txt:1: the pattern is longer than 1000 characters"
        );
        let many = "leak:x\n".repeat(RULE_COUNT_MAX + 1);
        assert_eq!(
            refusal(&many),
            "supp.txt:10001: more than 10000 rules; use wider patterns"
        );
    }

    #[test]
    fn files_are_loaded_and_faulty_ones_named() {
        let path = std::env::temp_dir().join(format!("heapledger-supp-{}", std::process::id()));
        std::fs::write(&path, "leak:close\n").unwrap();
        let mut rules = Suppressions::load(&path).unwrap();
        rules.extend(Suppressions::parse("*:x", "more").unwrap());
        assert_eq!(rules.rules.len(), 2);
        std::fs::write(&path, b"leak:a\nleak:\xff\n").unwrap();
        let error = Suppressions::load(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(":2: not UTF-8; save the file as UTF-8"),
            "{error}"
        );
        std::fs::remove_file(&path).unwrap();
        let error = Suppressions::load(&path).unwrap_err().to_string();
        assert!(error.contains("cannot read the suppressions"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = Suppressions::parse(&text, "s");
        }

        #[test]
        fn the_function_name_itself_is_always_a_rule(name in "[a-zA-Z_.<>]{1,20}") {
            let mut findings = [finding("leak")];
            findings[0].stacks.allocated.push(python("x.py", 1, &name));
            let rules = Suppressions::parse(&format!("leak:^{name}$"), "s").unwrap();
            rules.apply(&mut findings, &mut Limits::default());
            prop_assert!(findings[0].suppressed);
        }
    }
}
