//! The status every fallible export returns, and the sentence behind the last failure.

#![expect(unsafe_code, reason = "exports")]

use super::barrier::barrier;
use super::pointers::{TextOut, write_text};
use std::cell::RefCell;
use std::ffi::{CStr, c_char};

/// The result of a call to us, never of the program under test. Numbers are never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum HlStatus {
    /// The call did what it says.
    Ok = 0,
    /// A pointer that must not be null is null.
    NullPointer = 1,
    /// An argument has no meaning here; `hl_last_error` says which.
    InvalidArgument = 2,
    /// There is no memory, or the kernel refuses address space.
    OutOfMemory = 3,
    /// The ledger knows nothing of this pointer.
    NotFound = 4,
    /// The text needs more room; its length was written.
    BufferTooSmall = 5,
    /// `struct_size` is not that of any version of the structure.
    StructSize = 6,
    /// An error of the program was recorded: do not carry out the release.
    Finding = 7,
    /// A file could not be read or written; `hl_last_error` says which and why.
    Io = 8,
    /// This build or process cannot do it; `hl_last_error` says why.
    Unsupported = 9,
    /// A limit of the ledger is reached.
    Limit = 10,
    /// A mistake of ours was caught before it reached the caller; nothing was done.
    Panic = 11,
    /// The session is already started, or not started.
    State = 12,
}

impl HlStatus {
    const ALL: [(Self, &'static CStr); 13] = [
        (Self::Ok, c"ok"),
        (
            Self::NullPointer,
            c"a pointer that must not be null is null",
        ),
        (Self::InvalidArgument, c"invalid argument"),
        (Self::OutOfMemory, c"out of memory"),
        (Self::NotFound, c"no block is known at this address"),
        (
            Self::BufferTooSmall,
            c"the buffer is too small for the text",
        ),
        (
            Self::StructSize,
            c"the structure has a size that no version of the interface has",
        ),
        (
            Self::Finding,
            c"an error of the program was recorded: do not carry out the release",
        ),
        (Self::Io, c"a file could not be read or written"),
        (Self::Unsupported, c"not supported here"),
        (Self::Limit, c"a limit is reached"),
        (Self::Panic, c"internal error: nothing was done"),
        (
            Self::State,
            c"the session is already started, or not started",
        ),
    ];
}

/// What is said of a number that is no status.
const UNKNOWN: &CStr = c"unknown status";

thread_local! {
    static LAST_ERROR: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs the body of an export that answers with a status, inside the panic barrier. A failure that
/// says no more than its status leaves the status's own sentence for `hl_last_error`.
pub(super) fn respond(work: impl FnOnce() -> HlStatus) -> HlStatus {
    let sentence = |text: &str| {
        let _ = LAST_ERROR.try_with(|last| last.replace(text.to_owned()));
    };
    let status = barrier(HlStatus::Panic, || {
        sentence("");
        work()
    });
    match status {
        HlStatus::Ok | HlStatus::BufferTooSmall | HlStatus::Finding => {}
        failure => barrier((), || {
            let is_unsaid = LAST_ERROR.try_with(|last| last.borrow().is_empty());
            if is_unsaid.unwrap_or(false) {
                sentence(&text_of(failure as i32).to_string_lossy());
            }
        }),
    }
    status
}

fn text_of(status: i32) -> &'static CStr {
    let known = HlStatus::ALL
        .iter()
        .find(|(known, _)| *known as i32 == status);
    known.map_or(UNKNOWN, |(_, text)| text)
}

/// Keeps the sentence for `hl_last_error` and passes the status on.
pub(super) fn fail(status: HlStatus, sentence: impl Into<String>) -> HlStatus {
    let _ = LAST_ERROR.try_with(|last| last.replace(sentence.into()));
    status
}

/// What a status means, as a constant string. A number that is no status has a string too.
#[unsafe(no_mangle)]
pub extern "C" fn hl_status_string(status: i32) -> *const c_char {
    barrier(UNKNOWN.as_ptr(), || text_of(status).as_ptr())
}

/// What went wrong in this thread's last failing call that said more than its status: a sentence.
///
/// # Safety
/// * `buffer` is null or has `capacity` bytes that the caller may write; `length` is null or a
///   place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_last_error(
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> HlStatus {
    barrier(HlStatus::Panic, || {
        let text = LAST_ERROR
            .try_with(|last| last.borrow().clone())
            .unwrap_or_default();
        // SAFETY: the caller's duties are those of `write_text`.
        unsafe {
            write_text(
                &text,
                TextOut {
                    buffer,
                    capacity,
                    length,
                },
            )
        }
    })
}
