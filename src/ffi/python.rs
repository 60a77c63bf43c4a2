//! What the Python package needs: finding the interpreter, checking the reader, supplying frames.

#![expect(unsafe_code, reason = "exports with pointers")]

use super::HlStatus;
use super::pointers::{TextOut, bytes, text, write, write_text};
use super::status::{fail, respond};
use crate::capture::{PythonStatus, SuppliedFrame};
use crate::ledger::StackId;
use crate::report::model::Frame;
use crate::tracker::tracker;
use serde::Serialize;
use std::ffi::c_char;

/// Frames that one call may supply.
const SUPPLIED_FRAME_COUNT_MAX: usize = 1_024;

/// One Python frame, innermost first in an array.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HlSuppliedFrame {
    /// The file; null is an empty name.
    pub file: *const c_char,
    /// The qualified name of the function; null is an empty name.
    pub function: *const c_char,
    /// The line, counted from 1.
    pub line: u32,
    /// Must be zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<HlSuppliedFrame>() == 24, "no hidden padding");

#[derive(Serialize)]
struct Connection {
    status: &'static str,
    version: Option<String>,
    free_threaded: Option<bool>,
    reason: Option<String>,
}

/// Finds the interpreter of this process and begins to read its frames; harmless to repeat. Writes
/// JSON: `{"status": "connected" | "not-python" | "unsupported" | "turned-off", "version",
/// "free_threaded", "reason"}`.
///
/// # Safety
/// * `buffer` is null or has `capacity` bytes; `length` is null or a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_python_connect(
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    respond(|| {
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        let json = serde_json::to_string(&describe(tracker.capture().connect_python()));
        // SAFETY: the caller's duties are those of `write_text`.
        unsafe {
            write_text(
                &json.unwrap_or_default(),
                TextOut {
                    buffer,
                    capacity,
                    length,
                },
            )
        }
    })
}

fn describe(status: PythonStatus) -> Connection {
    let blank = Connection {
        status: "",
        version: None,
        free_threaded: None,
        reason: None,
    };
    match status {
        PythonStatus::Connected {
            version,
            free_threaded,
        } => Connection {
            status: "connected",
            version: Some(version.to_string()),
            free_threaded: Some(free_threaded),
            ..blank
        },
        PythonStatus::NotPython => Connection {
            status: "not-python",
            ..blank
        },
        PythonStatus::Unsupported { reason } => Connection {
            status: "unsupported",
            reason: Some(reason.to_owned()),
            ..blank
        },
        PythonStatus::TurnedOff => Connection {
            status: "turned-off",
            ..blank
        },
    }
}

/// Writes the Python frames of this thread as the native reader sees them, innermost first: a JSON
/// array of frames as in a report. For comparing with `sys._getframe`.
///
/// # Safety
/// * As for `hl_python_connect`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_python_read_frames(
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    respond(|| {
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        let frames = tracker
            .capture()
            .read_python_frames()
            .into_iter()
            .map(Frame::from);
        let json = serde_json::to_string(&frames.collect::<Vec<_>>()).unwrap_or_default();
        // SAFETY: the caller's duties are those of `write_text`.
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

/// Turns the native reader off for good: its self-check failed. Frames come from
/// `hl_set_supplied_stack` from now on.
#[unsafe(no_mangle)]
pub extern "C" fn hl_python_turn_off() -> HlStatus {
    respond(|| {
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        tracker.capture().turn_off_python_reader();
        tracker.session().note_trouble(
            "the native reader of Python frames failed its self-check: the Python package supplies \
             frames for our own functions instead",
        );
        HlStatus::Ok
    })
}

/// Leaves frames out whose file begins with `prefix`: a package that is not the user's code.
///
/// # Safety
/// * `prefix` is null or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_python_hide_directory(prefix: *const c_char) -> HlStatus {
    respond(|| {
        // SAFETY: the caller vouches for the string.
        let prefix = match unsafe { text(prefix, "prefix") } {
            Ok(prefix) if !prefix.is_empty() => prefix,
            Ok(_) => {
                return fail(
                    HlStatus::InvalidArgument,
                    "an empty prefix would hide everything",
                );
            }
            Err(status) => return status,
        };
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        tracker.capture().hide_python_directory(prefix.as_bytes());
        HlStatus::Ok
    })
}

/// Stores a stack of `count` Python frames, innermost first, and gives it a number. `HL_LIMIT`
/// when the table of stacks is full.
///
/// # Safety
/// * `frames` is null or an array of `count` frames whose strings end with NUL; `stack` is null or
///   a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_supply_stack(
    frames: *const HlSuppliedFrame,
    count: usize,
    stack: *mut u32,
) -> HlStatus {
    respond(|| {
        if stack.is_null() || (frames.is_null() && count != 0) {
            return HlStatus::NullPointer;
        }
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        let kept = if frames.is_null() {
            0
        } else {
            count.min(SUPPLIED_FRAME_COUNT_MAX)
        };
        let frames: Vec<SuppliedFrame<'_>> = (0..kept)
            .map(|index| {
                // SAFETY: `index` is below `count`, so this stays inside the caller's array.
                let frame = unsafe { frames.add(index) };
                // SAFETY: as above; copied, because the array may be packed.
                let frame = unsafe { frame.read_unaligned() };
                SuppliedFrame {
                    // SAFETY: the caller vouches for the string.
                    file: unsafe { bytes(frame.file) }.unwrap_or_default(),
                    // SAFETY: the caller vouches for the string.
                    function: unsafe { bytes(frame.function) }.unwrap_or_default(),
                    line: frame.line,
                }
            })
            .collect();
        let number = tracker.capture().supply_stack(&frames);
        if !number.is_known() && !frames.is_empty() {
            return fail(HlStatus::Limit, "the table of stacks is full");
        }
        // SAFETY: not null, so it is a place for one number.
        unsafe { write(stack, number.0) }
    })
}

/// Sets the stack that the next events of this thread get while the native reader is off; 0 clears
/// it.
#[unsafe(no_mangle)]
pub extern "C" fn hl_set_supplied_stack(stack: u32) -> HlStatus {
    respond(|| {
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        tracker.capture().set_supplied(StackId(stack));
        HlStatus::Ok
    })
}
