//! Memory that is copied into Python text: by `string_at`, `.value`, `.raw`, slices, `ffi.string`, `ndarray.tobytes`,
//! and of results with `restype = c_char_p`.
//!
//! What is copied must lie in a live block, if it lies in one that is on record. And of a result
//! nobody has the pointer any more. The foreign call leaves word of the block it returned and of the Python instruction that made it.
//! When ctypes converts that pointer while the same instruction is being executed, it is the result;
//! `c_char_p(pointer).value`, where Python still has the pointer, is another instruction.

use super::copying::look_at_span;
use super::entry::Frame;
use super::errno::KeptErrno;
use super::functions::Function;
use super::gate;
use super::real::Real;
use super::targets::Variant;
use crate::detect::finding::Access;
use crate::memory::Address;
use crate::memory::reentry::{OurOwnWork, is_our_own_work};
use crate::tracker::{self, Tracker};
use std::sync::atomic::{AtomicU64, Ordering};

/// Results waiting to be converted; each thread has its own, unless two fall on one place, and then
/// a hint is missing.
const WAITING_COUNT_MAX: usize = 64;

static WAITING: [AtomicU64; WAITING_COUNT_MAX] = [const { AtomicU64::new(0) }; WAITING_COUNT_MAX];

/// `PyObject *PyBytes_FromStringAndSize(const char *text, Py_ssize_t length)`
pub(super) extern "C-unwind" fn bytes_from_text(
    text: usize,
    length: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    look_at(text, length, frame);
    Real::of(Function::BytesFromText, variant).call2(text, length)
}

/// `PyObject *PyUnicode_FromWideChar(const wchar_t *text, Py_ssize_t length)`
pub(super) extern "C-unwind" fn text_from_wide(
    text: usize,
    length: usize,
    frame: Frame,
    variant: Variant,
) -> usize {
    look_at(
        text,
        length.saturating_mul(size_of::<libc::wchar_t>()),
        frame,
    );
    Real::of(Function::TextFromWide, variant).call2(text, length)
}

/// Leaves word of a block that a foreign call returned to Python.
pub(super) fn expect(tracker: &Tracker, block: Address) {
    if let Some((place, word)) = here(tracker, block) {
        place.store(word, Ordering::Relaxed);
    }
}

/// Looks at a text that is converted.
fn look_at(text: usize, byte_count: usize, frame: Frame) {
    // A negative length is the interpreter's to refuse.
    if isize::try_from(byte_count).is_ok() {
        look_at_span(text, byte_count, Access::Read, || gate::place_for(frame));
    }
    if text == 0 || is_our_own_work() {
        return;
    }
    let Some(tracker) = tracker::existing() else {
        return;
    };
    let block = Address::new(text);
    let Some((place, word)) = here(tracker, block) else {
        return;
    };
    if place.load(Ordering::Relaxed) == word {
        place.store(0, Ordering::Relaxed);
        let _errno = KeptErrno::keep();
        let _ours = OurOwnWork::begin();
        tracker.note_copied_result(block);
    }
}

/// The place of the running Python frame, and the word that stands there for a block and the
/// present instruction.
fn here(tracker: &Tracker, block: Address) -> Option<(&'static AtomicU64, u64)> {
    let (frame, instruction) = tracker.capture().top_python_place()?;
    let place = WAITING.get((frame >> 4) % WAITING_COUNT_MAX)?;
    Some((place, instruction.rotate_left(32) ^ block.get() as u64))
}
