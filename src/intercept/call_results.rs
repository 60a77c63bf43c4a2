//! What a foreign call gave to Python: a pointer it returned, and pointers it stored through
//! out-parameters.

use std::ptr::NonNull;

use super::errno::KeptErrno;
use super::ffi_layout::{Arguments, CallInterface, Value, kind, word_at};
use super::foreign_notes::{ForeignNotes, NOTED_BLOCK_COUNT_MAX};
use super::truncation::{self, CutCall};
use super::{chunk, conversion, python};
use crate::capture::foreign;
use crate::ledger::BlockState;
use crate::ledger::record::flag;
use crate::memory::Address;
use crate::memory::peek::{self, peek};
use crate::memory::reentry::OurOwnWork;
use crate::tracker::{self, Tracker};

/// Arguments looked at; a call with more has its out-parameters, if any, among the first.
const ARGUMENT_COUNT_MAX: usize = 32;
/// Bytes of a returned structure that are searched for pointers.
const STRUCTURE_BYTE_MAX: usize = 128;
/// Bytes that are read through an out-parameter: a pointer, or a structure beginning with some.
const OUT_BYTE_MAX: usize = 64;
/// Words looked at of the structures that a call was given by value.
const STRUCTURE_WORD_COUNT_MAX: usize = 64;
/// Bytes of the largest object that the interpreter takes from arenas of its own.
const SMALL_OBJECT_BYTE_MAX: usize = 512;
const WORD: usize = size_of::<usize>();
const PAGE: usize = super::page_kinds::PAGE;

/// A call that has just returned, and is still noted as being in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Returned {
    /// How it was made.
    pub(super) interface: NonNull<CallInterface>,
    /// The function called.
    pub(super) function: usize,
    /// Where libffi stored the result; zero without one.
    pub(super) result: usize,
    /// The array of places of arguments.
    pub(super) arguments: usize,
}

impl Returned {
    /// Looks at what the call gave.
    #[inline]
    pub(super) fn look(self, notes: &ForeignNotes) {
        let value = Value::result(self.interface, self.result);
        let allocated = notes.block_count() > 0;
        if allocated || value.may_be_pointer() {
            self.look_closer(value, notes);
        }
    }

    fn look_closer(self, value: Value, notes: &ForeignNotes) {
        let _errno = KeptErrno::keep();
        let _ours = OurOwnWork::begin();
        let Some(tracker) = tracker::existing() else {
            return;
        };
        if value.may_be_pointer() {
            let block = Address::new(word_at(self.result));
            if mark_result(tracker, block, notes) {
                conversion::expect(tracker, block);
            }
        }
        if notes.block_count() == 0 {
            return;
        }
        let arguments = Arguments::of(self.interface, self.arguments);
        let pointers: Vec<usize> = arguments.pointers().take(ARGUMENT_COUNT_MAX).collect();
        let results = Results { tracker, notes };
        for &pointer in &pointers {
            results.look_behind(pointer);
        }
        if value.kind == kind::STRUCTURE {
            results.look_inside(self.result, value.byte_count.min(STRUCTURE_BYTE_MAX));
        } else if value.is_half_word() {
            let inside = arguments.structure_words().take(STRUCTURE_WORD_COUNT_MAX);
            let pointers: Vec<usize> = pointers.into_iter().chain(inside).collect();
            let call = CutCall {
                function: self.function,
                notes,
                pointers: &pointers,
            };
            truncation::look_at_result(tracker, call, word_at(self.result));
        }
    }
}

/// Notes that Python gets a block as the result of the call in progress; `false` when it is none.
pub(super) fn mark_result(tracker: &Tracker, block: Address, notes: &ForeignNotes) -> bool {
    // What the call resized in place counts as made anew.
    if notes.blocks().contains(&block) {
        tracker.mark_handed_to_python(block)
    } else {
        tracker.mark_returned_to_python(block, foreign::current())
    }
}

/// Looks at the arguments of a call that is about to be made, when a cut pointer may be among them.
pub(super) fn look_at_arguments(interface: NonNull<CallInterface>, arguments: usize) {
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    if let Some(tracker) = tracker::existing() {
        let arguments = Arguments::of(interface, arguments);
        for value in arguments.pointers_and_half_words().take(ARGUMENT_COUNT_MAX) {
            truncation::look_at_argument(tracker, value);
        }
    }
}

/// Finds blocks of a call in what it gave.
pub(super) struct Results<'call> {
    /// Who marks them.
    pub(super) tracker: &'call Tracker,
    /// What was noted during the call.
    pub(super) notes: &'call ForeignNotes,
}

impl Results<'_> {
    /// Looks at what the program let the function fill in. What the library keeps in memory of its
    /// own is not handed over.
    pub(super) fn look_behind(&self, pointer: usize) {
        if pointer < PAGE || self.tracker.ledger().find(Address::new(pointer)).is_some() {
            return;
        }
        let mut bytes = [0; OUT_BYTE_MAX];
        let on_page = PAGE - pointer % PAGE;
        let length = if on_page < OUT_BYTE_MAX {
            on_page.max(WORD)
        } else {
            OUT_BYTE_MAX
        };
        let Some(bytes) = bytes.get_mut(..length) else {
            return;
        };
        // The program may have passed anything: a number, a pointer to code.
        if !peek(Address::new(pointer), bytes) {
            return;
        }
        let given_in = |bytes| {
            let words = peek::words(bytes).map(Address::new);
            words.filter(|&block| self.is_of_call(block))
        };
        // Whose memory it is costs more to find out, and matters only now.
        if given_in(bytes).next().is_none() || self.is_of_library(pointer) {
            return;
        }
        // A short text may end where another object begins.
        let own = chunk::bytes_before_next_chunk(pointer, length);
        for block in given_in(bytes.get(..own).unwrap_or_default()) {
            self.tracker.mark_handed_to_python(block);
        }
    }

    /// Whether a place that a call was given is the library's memory: inside a block on record that is
    /// not the interpreter's, or an object from before the session, which is told by its size: objects
    /// of ctypes as small as that do not come from glibc.
    fn is_of_library(&self, place: usize) -> bool {
        let around = self.tracker.ledger().held_around(Address::new(place));
        match around.filter(|block| block.state == BlockState::Live) {
            Some(block) => block.flags & flag::INTERPRETERS_OWN == 0,
            None => {
                !python::has_small_objects_from_glibc()
                    && chunk::is_small_in_main_arena(place, SMALL_OBJECT_BYTE_MAX)
            }
        }
    }

    /// Looks for pointers in a structure that libffi stored.
    fn look_inside(&self, start: usize, byte_count: usize) {
        let end = start + byte_count;
        for place in (start.next_multiple_of(WORD)..end).step_by(WORD) {
            if place + WORD <= end {
                self.mark(word_at(place));
            }
        }
    }

    fn mark(&self, value: usize) {
        let block = Address::new(value);
        if self.is_of_call(block) {
            self.tracker.mark_handed_to_python(block);
        }
    }

    fn is_of_call(&self, block: Address) -> bool {
        self.notes.blocks().contains(&block) || self.may_be_forgotten(block)
    }

    /// Whether the block was recorded during the call, as far as can be told, and the notes had no
    /// room for it.
    fn may_be_forgotten(&self, block: Address) -> bool {
        self.notes.block_count() > NOTED_BLOCK_COUNT_MAX
            && self
                .tracker
                .ledger()
                .find(block)
                .and_then(|found| found.read())
                .is_some_and(|record| {
                    let capture = self.tracker.capture();
                    capture.is_in_foreign_function(record.allocated, foreign::current())
                })
    }
}
