//! Naming the native frames of saved reports.

#![expect(unsafe_code, reason = "exports with pointers")]

use super::HlStatus;
use super::pointers::{TextOut, json_bytes, optional_text, write_text};
use super::status::{fail, respond};
use crate::capture::FileSymbols;
use crate::report::{json, resymbolize};
use std::ffi::{c_char, c_void};

/// Hears how many places in code, of how many, have been looked up.
pub type HlProgressCallback =
    Option<unsafe extern "C" fn(done: u64, total: u64, context: *mut c_void)>;

/// Reads a saved JSON report of `json_length` bytes, names its native frames anew from the files of
/// this machine or, unless `root` is null, of those under that folder, and writes it as JSON.
/// `progress` may be null. `HL_INVALID_ARGUMENT` when it is no report; `hl_last_error` says why.
///
/// # Safety
/// * `json` is null or has `json_length` bytes; `root` is null or ends with NUL; `progress` is null or
///   may be called with `context` until this returns; otherwise as for `hl_report_json`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_report_symbolize(
    json: *const c_char,
    json_length: usize,
    root: *const c_char,
    progress: HlProgressCallback,
    context: *mut c_void,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    respond(|| {
        // SAFETY: the caller vouches for `json_length` bytes.
        let source = unsafe { json_bytes(json, json_length) };
        let report = source.and_then(|source| {
            json::read(source).map_err(|error| fail(HlStatus::InvalidArgument, error.to_string()))
        });
        // SAFETY: the caller vouches for the string.
        let root = unsafe { optional_text(root, "root") };
        let (mut report, root) = match (report, root) {
            (Ok(report), Ok(root)) => (report, root.map(Into::into)),
            (Err(status), _) | (_, Err(status)) => return status,
        };
        let mut tell = |done, total| {
            if let Some(progress) = progress {
                // SAFETY: the caller vouches for the function and its context.
                unsafe { progress(done, total, context) };
            }
        };
        resymbolize(&mut report, &mut FileSymbols::under(root), &mut tell);
        let out = TextOut {
            buffer,
            capacity,
            length,
        };
        // SAFETY: the caller's duties are the same.
        unsafe { write_text(&json::write(&report), out) }
    })
}
