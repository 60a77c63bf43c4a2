//! The JSON report: writing it, and reading a saved one that anybody may have edited.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::model::{Finding, Report, SCHEMA, VERSION};

/// Why a text is not a report. Displays as one sentence.
#[derive(Debug)]
pub enum ReadError {
    /// Not JSON, or a field of the wrong type; with line and column.
    Malformed(serde_json::Error),
    /// JSON of something else.
    Schema(String),
    /// A report of a version that this library does not know.
    Version(u64),
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(formatter, "not a readable report: {error}"),
            Self::Schema(found) if found.is_empty() => {
                write!(
                    formatter,
                    "not a report: no \"schema\" that says \"{SCHEMA}\""
                )
            }
            Self::Schema(found) => {
                write!(
                    formatter,
                    "not a report: its schema is \"{}\"",
                    super::escape::escaped(found)
                )
            }
            Self::Version(found) => write!(
                formatter,
                "a report of version {found}; this heapledger reads version {VERSION}"
            ),
        }
    }
}

impl std::error::Error for ReadError {}

/// The report as JSON, in one line.
#[must_use]
pub fn write(report: &Report) -> String {
    to_text(report)
}

/// A JSON array of findings.
#[must_use]
pub fn write_findings(findings: &[Finding]) -> String {
    to_text(findings)
}

/// One finding as a JSON object.
#[must_use]
pub fn write_finding(finding: &Finding) -> String {
    to_text(finding)
}

/// Reads a saved report. Fields of a newer minor edition are accepted.
///
/// # Errors
/// The text is not JSON, not a report, or of another version; never a panic, whatever the bytes.
pub fn read(bytes: &[u8]) -> Result<Report, ReadError> {
    // The head first, so that another version is called that, and not a wrong type in its depth.
    let head: Head = serde_json::from_slice(bytes).map_err(ReadError::Malformed)?;
    check(&head.schema, head.version)?;
    let report: Report = serde_json::from_slice(bytes).map_err(ReadError::Malformed)?;
    for process in report.processes() {
        check(&process.schema, u64::from(process.version))?;
    }
    Ok(report)
}

fn check(schema: &str, version: u64) -> Result<(), ReadError> {
    if schema != SCHEMA {
        return Err(ReadError::Schema(schema.to_owned()));
    }
    if version != u64::from(VERSION) {
        return Err(ReadError::Version(version));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    schema: String,
    #[serde(default)]
    version: u64,
    #[serde(flatten)]
    _rest: IgnoredAny,
}

/// Every value of the model can be written: its maps have text keys, and writing to memory cannot
/// fail. Should that ever change, an empty text is the lesser evil in a process that is ending.
fn to_text<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::report::strategies::report;

    fn refusal(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_report_is_read_back() {
        let report = Report::default();
        assert_eq!(read(write(&report).as_bytes()).unwrap(), report);
    }

    #[test]
    fn other_documents_are_refused_by_name() {
        assert_eq!(
            refusal("{}"),
            "not a report: no \"schema\" that says \"heapledger.report\""
        );
        assert_eq!(
            refusal(r#"{"schema":"memray\u001b","version":1}"#),
            "not a report: its schema is \"memray\\u{1b}\""
        );
        assert_eq!(
            refusal(r#"{"schema":"heapledger.report","version":2,"findings":"moved"}"#),
            "a report of version 2; this heapledger reads version 1"
        );
        assert_eq!(
            refusal(r#"{"schema":"heapledger.report"}"#),
            "a report of version 0; this heapledger reads version 1"
        );
    }

    #[test]
    fn children_are_reports_too() {
        let of = |child: &str| {
            format!(r#"{{"schema":"heapledger.report","version":1,"children":[{child}]}}"#)
        };
        let child = r#"{"schema":"heapledger.report","version":1,"process":{"pid":9}}"#;
        let report = read(of(&of(child)).as_bytes()).unwrap();
        assert_eq!(
            report.processes().last().map(|child| child.process.pid),
            Some(9)
        );
        assert_eq!(
            refusal(&of(r#"{"schema":"heapledger.report","version":3}"#)),
            "a report of version 3; this heapledger reads version 1"
        );
        assert!(refusal(&of(r#"{"schema":"x","version":1}"#)).starts_with("not a report"));
        assert!(refusal(&of("{}")).contains("missing field `schema`"));
    }

    #[test]
    fn fields_of_another_edition_are_accepted() {
        let text = r#"{"schema":"heapledger.report","version":1,"tomorrow":[1],
            "process":{"pid":7,"cgroup":"a"},"limits":{"maps_dropped":3},
            "findings":[{"kind":"leak","severity":9,
                         "stacks":{"moved":[],"here":[{"language":"python","column":3}]}}]}"#;
        let report = read(text.as_bytes()).unwrap();
        assert_eq!(report.process.pid, 7);
        assert_eq!(report.process.more.get("cgroup"), Some(&"a".into()));
        assert_eq!(report.limits.more.get("maps_dropped"), Some(&3.into()));
        assert_eq!(
            report
                .findings
                .first()
                .map(|finding| finding.stacks.here.len()),
            Some(1)
        );
    }

    #[test]
    fn numbers_of_any_size_stay_as_they_are() {
        let text = r#"{"schema":"heapledger.report","version":1,
            "stats":{"weight":3e50,"share":0.1},"process":{"duration_s":0.3}}"#;
        let written = write(&read(text.as_bytes()).unwrap());
        assert!(written.contains("3e+50"), "{written}");
        assert_eq!(write(&read(written.as_bytes()).unwrap()), written);
    }

    #[test]
    fn hostile_documents_are_refused() {
        let whole = |findings: &str| {
            format!(r#"{{"schema":"heapledger.report","version":1,"findings":{findings}}}"#)
        };
        let deep = "[".repeat(1_000_000);
        for text in [
            String::new(),
            "null".to_owned(),
            "[]".to_owned(),
            "\u{0}".to_owned(),
            deep.clone(),
            "{\"a\":".repeat(1_000_000),
            whole(&deep),
            whole("{}"),
            whole("[1]"),
            whole(r#"[{"kind":1}]"#),
            whole(r#"[{"count":1e400}]"#),
            whole(r#"[{"count":-1}]"#),
            whole(r#"[{"count":18446744073709551616}]"#),
            whole(r#"[{"count":1.5}]"#),
            whole(r#"[{"block":{"offset":9223372036854775808}}]"#),
            whole(r#"[{"stacks":{"here":[{"language":"cobol"}]}}]"#),
            whole(r#"[{"stacks":{"here":[{"file":"a.py"}]}}]"#),
            whole(r#"[{"stacks":{"here":[{"language":"python","line":4294967296}]}}]"#),
            whole(r#"[{"kind":"a","kind":"b"}]"#),
            whole(r#"[{"kind":"\ud800"}]"#),
        ] {
            assert!(
                read(text.as_bytes()).is_err(),
                "{}",
                text.chars().take(200).collect::<String>()
            );
        }
        assert!(read(b"{\"schema\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_truncated_report_is_refused_at_every_length() {
        let text = write(&Report {
            findings: vec![Finding::default()],
            ..Report::default()
        });
        for length in 0..text.len() {
            assert!(
                read(text.as_bytes().get(..length).unwrap()).is_err(),
                "{length}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_report_is_read_back(report in report()) {
            prop_assert_eq!(read(write(&report).as_bytes()).unwrap(), report);
        }

        #[test]
        fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_damaged_report_is_read_or_refused(report in report(), at in any::<usize>(), byte: u8) {
            let mut bytes = write(&report).into_bytes();
            let place = at % bytes.len();
            *bytes.get_mut(place).unwrap() = byte;
            let _ = read(&bytes);
        }
    }
}
