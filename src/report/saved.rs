//! A saved report, shown again: the same words as on the day it was written.

use super::json::{self, ReadError};
use super::suppress::Suppressions;
use super::text::{self, TextOptions};

/// The two forms of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For programs.
    Json,
    /// For people.
    Text(TextOptions),
}

/// Reads a report, hides what the rules name, and writes it in the form asked for.
///
/// # Errors
/// The bytes are no report of a version this library reads.
pub fn render_saved(
    bytes: &[u8],
    rules: &Suppressions,
    format: Format,
) -> Result<String, ReadError> {
    let mut report = json::read(bytes)?;
    rules.apply_to_report(&mut report);
    Ok(match format {
        Format::Json => json::write(&report),
        Format::Text(options) => text::render(&report, options),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use crate::report::fixtures::{Program, leak};
    use crate::report::translate::findings_to_model;

    #[test]
    fn a_saved_report_is_shown_as_it_was_and_rules_may_be_added() {
        let report = Report {
            findings: findings_to_model(&[leak()], &Program),
            ..Report::default()
        };
        let saved = json::write(&report);
        let shown =
            |rules: &Suppressions, format| render_saved(saved.as_bytes(), rules, format).unwrap();
        let none = Suppressions::default();
        assert_eq!(shown(&none, Format::Json), saved);
        let text = Format::Text(TextOptions::default());
        assert_eq!(
            shown(&none, text),
            text::render(&report, TextOptions::default())
        );
        let rules = Suppressions::parse("leak:load", "s").unwrap();
        assert!(shown(&rules, text).starts_with("heapledger: no findings (1 suppressed)\n"));
        assert!(shown(&rules, Format::Json).contains("\"suppressed\":true"));
    }

    #[test]
    fn children_and_what_is_not_known_are_kept() {
        let saved = r#"{"schema":"heapledger.report","version":1,"later":7,"findings":[
            {"kind":"leak","stacks":{"allocated":[{"language":"python","function":"f"}]}}],
            "children":[{"schema":"heapledger.report","version":1,"process":{"pid":9}}]}"#;
        let rules = Suppressions::parse("leak:^f$", "rules").unwrap();
        let shown = |format| render_saved(saved.as_bytes(), &rules, format).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&shown(Format::Json)).unwrap();
        assert_eq!(whole["later"], 7);
        assert_eq!(whole["children"][0]["process"]["pid"], 9);
        assert_eq!(whole["findings"][0]["suppressed"], true);
        let text = shown(Format::Text(TextOptions::default()));
        assert!(
            text.starts_with("heapledger: no findings, in 2 processes (1 suppressed)\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        let rules = Suppressions::default();
        assert!(render_saved(b"[]", &rules, Format::Json).is_err());
    }
}
