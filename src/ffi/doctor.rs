//! What can be intercepted, and why not.

#![expect(unsafe_code, reason = "an export with pointers")]

use super::HlStatus;
use super::pointers::{TextOut, write_text};
use super::status::{fail, respond};
use crate::intercept;
use std::ffi::c_char;

/// Writes what is intercepted at this moment, and why not, as a JSON object: `active` (whether a
/// session receives calls now), `c_library`, `functions` (`name`, `role`, `slot_count`,
/// `real_function_count`, `is_standard`), `foreign_calls` (`path`: "`ffi_call`", "`tp_call`" or "none",
/// and `reason`), `objects`, `slots_left_alone`, and `troubles`, sentences that are none when all is
/// well. Readers pass over keys they do not know.
///
/// # Safety
/// * `buffer` is null or has `capacity` bytes; `length` is null or a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_doctor_json(
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    let out = TextOut {
        buffer,
        capacity,
        length,
    };
    respond(|| match serde_json::to_string(&intercept::doctor()) {
        // SAFETY: the caller's duties are the same.
        Ok(json) => unsafe { write_text(&json, out) },
        Err(error) => fail(HlStatus::Unsupported, error.to_string()),
    })
}
