//! One stack: Python frames first, then native ones, each with what is known of it.

use super::Page;
use crate::report::escape::escaped;
use crate::report::model::{Frame, file_name};
use crate::report::number::counted;

/// Writes the stack, or that it is not known.
pub(super) fn write(page: &mut Page, indent: usize, stack: &[Frame]) {
    let all = page.options.all_frames;
    let shown = stack.iter().filter(|frame| all || !frame.is_internal());
    write_frames(page, indent, shown);
}

/// Writes the stack of a crash: internal frames too, for one dies in them, up to the last one of a
/// library.
pub(super) fn write_crash(page: &mut Page, indent: usize, stack: &[Frame]) {
    let is_others = |frame: &Frame| !frame.is_python() && !frame.is_internal();
    let telling = stack
        .iter()
        .rposition(is_others)
        .map_or(stack.len(), |last| last + 1);
    let shown = stack
        .iter()
        .enumerate()
        .filter(|(index, frame)| *index < telling || frame.is_python());
    write_frames(page, indent, shown.map(|(_, frame)| frame));
}

fn write_frames<'a>(page: &mut Page, indent: usize, shown: impl Iterator<Item = &'a Frame>) {
    let (python, native): (Vec<&Frame>, Vec<&Frame>) = shown.partition(|frame| frame.is_python());
    if python.is_empty() && native.is_empty() {
        page.line(indent, "(not known)");
        return;
    }
    let shown_max = page.options.frame_count_max;
    for (index, frame) in python.iter().take(shown_max).enumerate() {
        page.line(indent, &described(frame));
        if index == 0 {
            quote(page, indent + 4, frame);
        }
    }
    rest(page, indent, "Python frame", python.len());
    for frame in native.iter().take(shown_max) {
        let text = page.paint.faint(&described(frame));
        page.line(indent, &text);
    }
    rest(page, indent, "native frame", native.len());
}

fn rest(page: &mut Page, indent: usize, noun: &str, total: usize) {
    let hidden = total.saturating_sub(page.options.frame_count_max);
    if hidden > 0 {
        page.line(
            indent,
            &format!("... {}", counted(hidden as u64, &format!("further {noun}"))),
        );
    }
}

fn quote(page: &mut Page, indent: usize, frame: &Frame) {
    let Frame::Python { file, line, .. } = frame else {
        return;
    };
    if !page.options.quote_source {
        return;
    }
    if let Some(text) = page.source.line(file, *line) {
        page.line(indent, &escaped(&text));
    }
}

fn described(frame: &Frame) -> String {
    let text = match frame {
        Frame::Python {
            file,
            line,
            function,
        } => {
            let place = if file.is_empty() {
                "unknown file".to_owned()
            } else {
                at(file, *line)
            };
            if function.is_empty() {
                place
            } else {
                format!("{place} in {function}")
            }
        }
        Frame::Native {
            library,
            function,
            file,
            line,
            address,
            ..
        } => {
            let function = match (function.is_empty(), *address) {
                (false, _) => function.clone(),
                (true, 0) => "unknown function".to_owned(),
                (true, address) => format!("{address:#x}"),
            };
            let place = if file.is_empty() {
                String::new()
            } else {
                format!(" at {}", at(file, *line))
            };
            let library = if library.is_empty() {
                String::new()
            } else {
                format!(" ({})", file_name(library))
            };
            format!("native {function}{place}{library}")
        }
    };
    escaped(&text).into_owned()
}

fn at(file: &str, line: u32) -> String {
    if line == 0 {
        file.to_owned()
    } else {
        format!("{file}:{line}")
    }
}
