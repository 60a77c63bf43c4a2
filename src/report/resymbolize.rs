//! Names for the native frames of a saved report: on another machine, or later, when debug
//! information is at hand that was not where the report was made.

use super::model::{Finding, Frame, Report};
use super::{fingerprint, message};
use crate::capture::{FileSymbols, SourcePlace};
use std::collections::BTreeMap;

/// A call in a file: path, build id, offset.
type Call = (String, String, u64);
type Places = BTreeMap<Call, Vec<SourcePlace>>;

/// Names native frames anew wherever `symbols` knows their file. `progress` hears how many places of
/// how many have been looked up.
///
/// Fingerprints and the sentences about leaks are made anew where names changed.
pub fn resymbolize(
    report: &mut Report,
    symbols: &mut FileSymbols,
    progress: &mut dyn FnMut(u64, u64),
) {
    let mut places = Places::new();
    collect(report, &mut places);
    let total = places.len() as u64;
    // In the order of files: the symbols of one at a time are in memory.
    for (done, ((path, build_id, offset), found)) in (0..).zip(&mut places) {
        progress(done, total);
        *found = symbols.places(path, build_id, *offset);
    }
    progress(total, total);
    apply(report, &places);
}

fn collect(report: &Report, places: &mut Places) {
    let findings = report.findings.iter();
    let frames = findings.flat_map(|finding| finding.stacks.frames());
    for call in frames.filter_map(call_of) {
        places.entry(call).or_default();
    }
    for child in &report.children {
        collect(child, places);
    }
}

fn apply(report: &mut Report, places: &Places) {
    for finding in &mut report.findings {
        if name_stacks(finding, places) {
            finding.fingerprint = fingerprint::of(finding);
            if finding.is_leak() {
                finding.message = message::leak(finding);
            }
        }
    }
    for child in &mut report.children {
        apply(child, places);
    }
}

/// Whether anything changed.
fn name_stacks(finding: &mut Finding, places: &Places) -> bool {
    let stacks = &mut finding.stacks;
    let mut is_changed = false;
    for stack in [
        &mut stacks.here,
        &mut stacks.released,
        &mut stacks.allocated,
    ] {
        let named = named(stack, places);
        is_changed |= *stack != named;
        *stack = named;
    }
    is_changed
}

/// The stack with every call's frames replaced by what is known of its place.
fn named(stack: &[Frame], places: &Places) -> Vec<Frame> {
    // The frames of one call: those that were inlined, and the function they were inlined into.
    let calls = stack.chunk_by(|one, _| one.is_inlined());
    calls
        .flat_map(|frames| {
            let call = frames.first().and_then(call_of);
            let found = call.and_then(|call| places.get(&call));
            match found.filter(|found| found.iter().any(|it| !it.function.is_empty())) {
                Some(found) => replaced(frames, found),
                None => frames.to_vec(),
            }
        })
        .collect()
}

fn replaced(frames: &[Frame], found: &[SourcePlace]) -> Vec<Frame> {
    let Some(Frame::Native {
        library,
        address,
        build_id,
        offset,
        internal,
        ..
    }) = frames.first()
    else {
        return frames.to_vec();
    };
    let named = found.iter().zip(1..).map(|(place, number)| Frame::Native {
        library: library.clone(),
        function: place.function.clone(),
        file: place.file.clone(),
        line: place.line,
        address: *address,
        build_id: build_id.clone(),
        offset: *offset,
        internal: *internal,
        inlined: number < found.len(),
    });
    named.collect()
}

fn call_of(frame: &Frame) -> Option<Call> {
    match frame {
        Frame::Native {
            library,
            build_id,
            offset,
            ..
        } if *offset != 0 && !library.is_empty() => {
            Some((library.clone(), build_id.clone(), *offset))
        }
        Frame::Native { .. } | Frame::Python { .. } => None,
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::report::fixtures::{native, python};

    fn call(function: &str, offset: u64, inlined: bool) -> Frame {
        Frame::Native {
            library: "/l/x.so".to_owned(),
            function: function.to_owned(),
            file: String::new(),
            line: 0,
            address: 0x1000 + offset,
            build_id: "ab".to_owned(),
            offset,
            internal: false,
            inlined,
        }
    }

    fn place(function: &str) -> SourcePlace {
        SourcePlace {
            function: function.to_owned(),
            ..SourcePlace::default()
        }
    }

    #[test]
    fn each_call_is_named_once_however_often_it_stands_in_the_stack() {
        let stack = [
            call("", 7, false),
            call("", 7, false),
            call("old", 9, true),
            call("older", 9, false),
            python("a.py", 1, "f"),
            native("/l/y.so", "kept", 0),
        ];
        let key = |offset| ("/l/x.so".to_owned(), "ab".to_owned(), offset);
        let places = Places::from([
            (key(7), vec![place("inlined"), place("outer")]),
            (key(9), vec![place("new")]),
        ]);
        let expected = [
            call("inlined", 7, true),
            call("outer", 7, false),
            call("inlined", 7, true),
            call("outer", 7, false),
            call("new", 9, false),
            python("a.py", 1, "f"),
            native("/l/y.so", "kept", 0),
        ];
        assert_eq!(named(&stack, &places), expected);
    }

    #[test]
    fn what_is_not_known_stays_and_progress_is_told() {
        let mut finding = Finding {
            kind: "leak".to_owned(),
            ..Finding::default()
        };
        finding.stacks.allocated = vec![call("f", 7, false)];
        let mut report = Report {
            findings: vec![finding],
            ..Report::default()
        };
        let before = report.clone();
        let mut heard = Vec::new();
        let mut symbols = FileSymbols::under(Some("/nowhere".into()));
        resymbolize(&mut report, &mut symbols, &mut |done, total| {
            heard.push((done, total));
        });
        assert_eq!(report, before);
        assert_eq!(heard, [(0, 1), (1, 1)]);
    }
}
