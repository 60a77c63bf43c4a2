//! Results that ctypes turns into Python text: `restype = c_char_p` copies the bytes, and nobody has
//! the pointer any more.
//!
//! The foreign call leaves word of the block it returned and of the Python instruction that made it.
//! When ctypes converts that pointer while the same instruction is being executed, it is the result;
//! `c_char_p(pointer).value`, where Python still has the pointer, is another instruction.

use super::entry::Frame;
use super::errno::KeptErrno;
use super::functions::Function;
use super::real::Real;
use super::targets::Variant;
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
    _frame: Frame,
    variant: Variant,
) -> usize {
    look_at(text);
    Real::of(Function::BytesFromText, variant).call2(text, length)
}

/// `PyObject *PyUnicode_FromWideChar(const wchar_t *text, Py_ssize_t length)`
pub(super) extern "C-unwind" fn text_from_wide(
    text: usize,
    length: usize,
    _frame: Frame,
    variant: Variant,
) -> usize {
    look_at(text);
    Real::of(Function::TextFromWide, variant).call2(text, length)
}

/// Leaves word of a block that a foreign call returned to Python.
pub(super) fn expect(tracker: &Tracker, block: Address) {
    if let Some((place, word)) = here(tracker, block) {
        place.store(word, Ordering::Relaxed);
    }
}

/// Looks at a text that ctypes converts.
fn look_at(text: usize) {
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
