//! Reports and other texts.

#![expect(unsafe_code, reason = "exports with pointers")]

use super::HlStatus;
use super::pointers::{TextOut, json_bytes, optional_text, text, write_text};
use super::query::period;
use super::status::{fail, respond};
use crate::detect::Finding;
use crate::memory::Address;
use crate::memory::lock::Lock;
use crate::report::{
    Format, Report, Suppressions, TextOptions, assemble, files, json, render_saved,
    text as for_people,
};
use crate::tracker::left_behind::LeftOut;
use crate::tracker::snapshot::Mark;
use crate::tracker::{Tracker, tracker};
use std::ffi::{c_char, c_void};
use std::path::Path;

static SUPPRESSIONS: Lock<Option<Suppressions>> = Lock::new(None);

/// Adds the rules of a file to those in force.
pub(super) fn load_suppressions(path: &str) -> Result<(), String> {
    let rules = Suppressions::load(Path::new(path)).map_err(|error| error.to_string())?;
    SUPPRESSIONS.lock().get_or_insert_default().extend(rules);
    Ok(())
}

fn suppressions() -> Suppressions {
    SUPPRESSIONS.lock().clone().unwrap_or_default()
}

pub(super) fn finding_json(tracker: &Tracker, finding: &Finding) -> String {
    json::write_finding(&assemble::finding(tracker, finding, &suppressions()))
}

/// The form of a report that a number of the interface means: 0 JSON, 1 text, 2 text with all
/// frames.
fn format_of(number: u32) -> Result<Format, HlStatus> {
    match number {
        0 => Ok(Format::Json),
        1 => Ok(Format::Text(TextOptions::default())),
        2 => Ok(Format::Text(TextOptions {
            all_frames: true,
            frame_count_max: usize::MAX,
            ..TextOptions::default()
        })),
        _ => Err(fail(
            HlStatus::InvalidArgument,
            format!(
                "there is no format {number}: 0 is JSON, 1 is text, 2 is text with internal frames"
            ),
        )),
    }
}

pub(super) fn report(tracker: &Tracker, format: Format) -> String {
    written(&whole(tracker, &mut |_, _| {}), format)
}

/// The report of this process, with the suppressions in force; see [`assemble::report`].
pub(super) fn whole(tracker: &Tracker, progress: &mut dyn FnMut(u64, u64)) -> Report {
    assemble::report(tracker, &suppressions(), progress)
}

pub(super) fn written(report: &Report, format: Format) -> String {
    match format {
        Format::Json => json::write(report),
        Format::Text(options) => for_people::render(report, options),
    }
}

/// Reads the rules of a suppressions file and adds them to those in force. `HL_IO` when it cannot
/// be read or has a line that is no rule; `hl_last_error` names file, line and mistake.
///
/// # Safety
/// * `path` is null or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_suppressions_load(path: *const c_char) -> HlStatus {
    respond(|| {
        // SAFETY: the caller vouches for the string.
        match unsafe { text(path, "path") } {
            Ok(path) => match load_suppressions(path) {
                Ok(()) => HlStatus::Ok,
                Err(sentence) => fail(HlStatus::Io, sentence),
            },
            Err(status) => status,
        }
    })
}

/// Writes the report of this process as JSON (`docs/abi.md` describes it).
///
/// # Safety
/// * `buffer` is null or has `capacity` bytes; `length` is null or a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_report_json(
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    let out = TextOut {
        buffer,
        capacity,
        length,
    };
    // SAFETY: the caller's duties are the same.
    respond(|| unsafe { answer(out, |tracker| report(tracker, Format::Json)) })
}

/// Writes the report of this process as text for people.
///
/// # Safety
/// * As for `hl_report_json`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_report_text(
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    let out = TextOut {
        buffer,
        capacity,
        length,
    };
    // SAFETY: the caller's duties are the same.
    respond(|| unsafe {
        answer(out, |tracker| {
            report(tracker, Format::Text(TextOptions::default()))
        })
    })
}

/// Writes the report of this process to a file; `%p` in `path` stands for the process's number. The
/// file appears when it is complete, readable by its owner alone. `format`: 0 JSON, 1 text, 2 text
/// with the frames of the interpreter and of heapledger.
///
/// # Safety
/// * `path` is null or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_report_write(path: *const c_char, format: u32) -> HlStatus {
    respond(|| {
        // SAFETY: the caller vouches for the string.
        let path = match unsafe { text(path, "path") } {
            Ok(path) => files::expand(path),
            Err(status) => return status,
        };
        let format = match format_of(format) {
            Ok(format) => format,
            Err(status) => return status,
        };
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        match files::write_whole(Path::new(&path), report(tracker, format).as_bytes()) {
            Ok(()) => HlStatus::Ok,
            Err(error) => fail(HlStatus::Io, format!("{path} cannot be written: {error}")),
        }
    })
}

/// Writes the leaks since `mark` (0: since the start) as a JSON array of findings.
///
/// # Safety
/// * As for `hl_report_json`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_leaks_json(
    since: u64,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    let out = TextOut {
        buffer,
        capacity,
        length,
    };
    // SAFETY: the caller's duties are the same.
    respond(|| unsafe {
        answer(out, |tracker| {
            array(tracker, &tracker.leaks(period(since, 0)))
        })
    })
}

/// Writes what was allocated after the mark `since` (0: since the start) and not after the mark `until`
/// (0: until now) and is live, as a JSON object: `findings`, most bytes first, and `left_out`. Of
/// what nothing keeps only the first `lost_max` findings are told in full, of what something keeps the
/// first `kept_max`; `left_out` adds up the others: `{"lost": {"findings", "blocks", "bytes"}, "kept":
/// {...}}`.
///
/// # Safety
/// * As for `hl_report_json`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_leaks_between_json(
    since: u64,
    until: u64,
    lost_max: u64,
    kept_max: u64,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    let out = TextOut {
        buffer,
        capacity,
        length,
    };
    // SAFETY: the caller's duties are the same.
    respond(|| unsafe {
        answer(out, |tracker| {
            let leaks = tracker.largest_leaks(period(since, until), lost_max, kept_max);
            let told = array(tracker, &leaks.told);
            let (lost, kept) = (sums(leaks.lost_left_out), sums(leaks.kept_left_out));
            format!(r#"{{"findings":{told},"left_out":{{"lost":{lost},"kept":{kept}}}}}"#)
        })
    })
}

fn sums(left_out: LeftOut) -> String {
    let LeftOut {
        findings,
        blocks,
        bytes,
    } = left_out;
    serde_json::json!({"findings": findings, "blocks": blocks, "bytes": bytes}).to_string()
}

/// Writes the findings first seen after `mark` (0: since the start), leaks not included, as a JSON
/// array.
///
/// # Safety
/// * As for `hl_report_json`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_findings_json(
    since: u64,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    let out = TextOut {
        buffer,
        capacity,
        length,
    };
    // SAFETY: the caller's duties are the same.
    respond(|| unsafe {
        answer(out, |tracker| {
            array(
                tracker,
                &tracker.findings().since(Mark::from_number(since).finding),
            )
        })
    })
}

fn array(tracker: &Tracker, found: &[Finding]) -> String {
    json::write_findings(&assemble::findings(tracker, found, &suppressions()))
}

/// Writes what is known of the block that `pointer` starts or lies in as JSON: `{"address", "size",
/// "offset", "state", "family", "handed_to_python", "foreign_function", "stacks": {"allocated",
/// "released"}}`. `HL_NOT_FOUND` when the ledger knows of none.
///
/// # Safety
/// * As for `hl_report_json`; `pointer` may be anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_describe_json(
    pointer: *const c_void,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    respond(|| {
        let pointer = Address::new(pointer.addr());
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        let Some(record) = tracker.block_at(pointer) else {
            return HlStatus::NotFound;
        };
        let offset = pointer.bytes_after(record.address).unwrap_or(0);
        let json = assemble::block(tracker, &record, offset).to_string();
        // SAFETY: the caller's duties are the same.
        unsafe {
            write_text(
                &json,
                TextOut {
                    buffer,
                    capacity,
                    length,
                },
            )
        }
    })
}

/// Reads a saved JSON report of `json_length` bytes and writes it as JSON (`format` 0), text (1) or
/// text with internal frames (2), with the suppressions of a file applied if `suppressions_path` is not null.
/// `HL_INVALID_ARGUMENT` when it is no report; `hl_last_error` says why.
///
/// # Safety
/// * `json` is null or has `json_length` bytes; `suppressions_path` is null or ends with NUL;
///   otherwise as for `hl_report_json`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_report_render(
    json: *const c_char,
    json_length: usize,
    suppressions_path: *const c_char,
    format: u32,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    respond(|| {
        // SAFETY: the caller vouches for `json_length` bytes.
        let rendered = unsafe { json_bytes(json, json_length) }.and_then(|json| {
            // SAFETY: the caller vouches for the string.
            let rules = match unsafe { optional_text(suppressions_path, "suppressions_path") }? {
                Some(path) => Suppressions::load(Path::new(path))
                    .map_err(|error| fail(HlStatus::Io, error.to_string()))?,
                None => Suppressions::default(),
            };
            render_saved(json, &rules, format_of(format)?)
                .map_err(|error| fail(HlStatus::InvalidArgument, error.to_string()))
        });
        match rendered {
            // SAFETY: the caller's duties are the same.
            Ok(text) => unsafe {
                write_text(
                    &text,
                    TextOut {
                        buffer,
                        capacity,
                        length,
                    },
                )
            },
            Err(status) => status,
        }
    })
}

/// Makes a text from the tracker and writes it.
///
/// # Safety
/// * As for `write_text`.
unsafe fn answer(out: TextOut, make: impl FnOnce(&Tracker) -> String) -> HlStatus {
    match tracker() {
        // SAFETY: the caller's duties are the same.
        Some(tracker) => unsafe { write_text(&make(tracker), out) },
        None => HlStatus::OutOfMemory,
    }
}
