//! Where processes crashed: before the findings, for it is what their reader asks first.

use super::{Page, stack};
use crate::report::crash;
use crate::report::escape::escaped;
use crate::report::model::Report;

const INDENT: usize = 3;

/// Writes where each of them crashed that did.
pub(super) fn write(page: &mut Page, reports: &[&Report]) {
    for report in reports {
        let Some(heading) = crash::heading(report) else {
            continue;
        };
        page.blank();
        let heading = format!("{}:", escaped(&heading));
        page.line(0, &page.paint.alarm(&heading));
        let crash = report.process.crash.as_ref();
        stack::write_crash(page, INDENT, crash.map_or(&[], |crash| &crash.stack));
        if let Some(hint) = crash::hint(report) {
            page.line(INDENT, &format!("hint: {}", escaped(&hint)));
        }
    }
}
