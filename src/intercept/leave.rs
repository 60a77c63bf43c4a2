//! `_exit` and `_Exit`: the last moment to write a report, for no destructor follows.

use super::entry::Frame;
use super::functions::Function;
use super::real::Real;
use super::targets::Variant;
use crate::memory::reentry::OurOwnWork;
use crate::tracker;
use std::sync::OnceLock;

static LAST_WORDS: OnceLock<fn()> = OnceLock::new();

/// Has `last_words` called before a process that uses `_exit` ends. The first caller decides.
pub fn set_last_words(last_words: fn()) {
    let _ = LAST_WORDS.set(last_words);
}

/// `void _exit(int status)`
pub(super) extern "C-unwind" fn exit_at_once(status: usize, _frame: Frame, variant: Variant) {
    speak();
    Real::of(Function::ExitAtOnce, variant).call1(status);
}

/// `void _Exit(int status)`
pub(super) extern "C-unwind" fn exit_at_once_c99(status: usize, _frame: Frame, variant: Variant) {
    speak();
    Real::of(Function::ExitAtOnceC99, variant).call1(status);
}

/// A child of `vfork` shares our memory with its parent, which is still going on: it says nothing.
pub(super) fn speak() {
    let Some(tracker) = tracker::existing() else {
        return;
    };
    if !tracker.session().is_this_process() {
        return;
    }
    let _ours = OurOwnWork::begin();
    if let Some(last_words) = LAST_WORDS.get() {
        last_words();
    }
}
