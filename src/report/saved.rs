//! A saved report, written out again: as JSON or as text, with suppressions applied.

use super::json::{self, ReadError};
use super::text::{self, TextOptions};
use super::{Report, Suppressions};
use serde_json::{Map, Value};

/// The key under which the command line keeps the reports of child processes.
const CHILDREN: &str = "children";

/// Renders a saved report. In text the reports of child processes are added up with it; in JSON
/// everything that the saved one has and this version does not know stays where it was.
///
/// # Errors
/// See [`ReadError`].
pub fn render_saved(
    saved: &[u8],
    rules: &Suppressions,
    as_text: bool,
) -> Result<String, ReadError> {
    let mut report = json::read(saved)?;
    rules.apply(&mut report.findings, &mut report.limits);
    let children = children(saved, rules)?;
    if as_text {
        let mut reports = vec![report];
        reports.extend(children);
        return Ok(text::render_many(&reports, TextOptions::default()));
    }
    let mut whole: Map<String, Value> =
        serde_json::from_slice(saved).map_err(ReadError::Malformed)?;
    if let Value::Object(known) = serde_json::to_value(&report).map_err(ReadError::Malformed)? {
        whole.extend(known);
    }
    if !children.is_empty() {
        let children = serde_json::to_value(&children).map_err(ReadError::Malformed)?;
        whole.insert(CHILDREN.to_owned(), children);
    }
    serde_json::to_string(&whole).map_err(ReadError::Malformed)
}

fn children(saved: &[u8], rules: &Suppressions) -> Result<Vec<Report>, ReadError> {
    let whole: Value = serde_json::from_slice(saved).map_err(ReadError::Malformed)?;
    let Some(Value::Array(children)) = whole.get(CHILDREN) else {
        return Ok(Vec::new());
    };
    let read = |child: &Value| {
        let mut report = json::read(child.to_string().as_bytes())?;
        rules.apply(&mut report.findings, &mut report.limits);
        Ok(report)
    };
    children.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"{"schema":"heapledger.report","version":1,"later":7,"findings":[
        {"kind":"leak","blocks":2,"bytes":20,"count":2,"message":"m",
         "stacks":{"allocated":[{"language":"python","file":"a.py","line":1,"function":"f"}]}}],
        "children":[{"schema":"heapledger.report","version":1,"process":{"pid":9},"findings":[]}]}"#;

    fn render(as_text: bool) -> String {
        let rules = Suppressions::parse("leak:a.py:f\n", "rules").expect("one rule");
        render_saved(SAVED.as_bytes(), &rules, as_text).expect("a report")
    }

    #[test]
    fn json_keeps_what_it_does_not_know_and_marks_what_is_suppressed() {
        let whole: Value = serde_json::from_str(&render(false)).expect("JSON");
        assert_eq!(whole["later"], 7);
        assert_eq!(whole["children"][0]["process"]["pid"], 9);
        assert_eq!(whole["findings"][0]["suppressed"], true);
    }

    #[test]
    fn text_is_about_all_processes() {
        assert!(render(true).contains("2 processes"), "{}", render(true));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for wrong in [
            "",
            "[]",
            "{}",
            "{\"schema\":\"heapledger.report\",\"version\":2}",
        ] {
            assert!(render_saved(wrong.as_bytes(), &Suppressions::default(), true).is_err());
        }
    }
}
