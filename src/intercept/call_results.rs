//! What a foreign call gave to Python: a pointer it returned, pointers it stored through
//! out-parameters, and pointers that were cut to 32 bits on the way.

#![expect(
    unsafe_code,
    reason = "reads libffi's description of a call, and its result"
)]

use std::ptr::NonNull;

use super::errno::KeptErrno;
use super::foreign_notes::ForeignNotes;
use crate::capture::EventPlace;
use crate::memory::Address;
use crate::memory::peek::peek;
use crate::memory::reentry::OurOwnWork;
use crate::tracker::{self, Tracker};

/// Arguments looked at; a call with more has its out-parameters, if any, among the first.
const ARGUMENT_COUNT_MAX: usize = 32;
/// Bytes of a structure, returned or filled in, that are searched for pointers.
const STRUCTURE_BYTE_MAX: usize = 128;
/// Bytes that are read through an out-parameter: a pointer, or a structure beginning with some.
const OUT_BYTE_MAX: usize = 64;
const WORD: usize = size_of::<usize>();
const PAGE: usize = super::page_kinds::PAGE;

/// libffi's `ffi_cif`, as far as it is the same everywhere.
#[derive(Debug)]
#[repr(C)]
pub(super) struct CallInterface {
    abi: u32,
    argument_count: u32,
    argument_types: *const *const ValueType,
    result_type: *const ValueType,
}

/// libffi's `ffi_type`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct ValueType {
    byte_count: usize,
    alignment: u16,
    kind: u16,
    elements: *const *const ValueType,
}

/// `FFI_TYPE_*`.
mod kind {
    pub(super) const INT: u16 = 1;
    pub(super) const UINT32: u16 = 9;
    pub(super) const SINT32: u16 = 10;
    pub(super) const UINT64: u16 = 11;
    pub(super) const SINT64: u16 = 12;
    pub(super) const STRUCTURE: u16 = 13;
    pub(super) const POINTER: u16 = 14;
}

/// Looks at a call that has just returned, and is still noted as being in progress.
#[inline]
pub(super) fn look(
    interface: *const CallInterface,
    result: usize,
    arguments: usize,
    notes: NonNull<ForeignNotes>,
) {
    // SAFETY: the caller keeps the notes on its stack; the call is over, so nobody adds to them.
    let notes = unsafe { notes.as_ref() };
    // SAFETY: libffi has just made the call by this description.
    let interface = unsafe { &*interface };
    // SAFETY: as above.
    let result_type = unsafe { *interface.result_type };
    let allocated = notes.block_count() > 0;
    let may_be_pointer = matches!(
        result_type.kind,
        kind::POINTER | kind::UINT64 | kind::SINT64
    ) && result != 0;
    if !allocated && !may_be_pointer {
        return;
    }
    let _errno = KeptErrno::keep();
    let _ours = OurOwnWork::begin();
    let Some(tracker) = tracker::existing() else {
        return;
    };
    if may_be_pointer {
        tracker.mark_handed_to_python(Address::new(word_at(result)));
    }
    if allocated {
        let results = Results { tracker, notes };
        results.look_at_value(result_type, result);
        results.look_at_arguments(interface, arguments);
    }
}

/// A word that libffi stored.
fn word_at(place: usize) -> usize {
    let place = std::ptr::with_exposed_provenance::<usize>(place);
    // SAFETY: libffi widens every result to at least a word, and every argument that is a pointer
    // is one.
    unsafe { place.read_unaligned() }
}

struct Results<'call> {
    tracker: &'call Tracker,
    notes: &'call ForeignNotes,
}

impl Results<'_> {
    /// Structures that hold pointers, and pointers cut to 32 bits.
    fn look_at_value(&self, result_type: ValueType, result: usize) {
        match result_type.kind {
            kind::STRUCTURE if result != 0 => {
                let byte_count = result_type.byte_count.min(STRUCTURE_BYTE_MAX);
                let first = result.next_multiple_of(WORD);
                for place in (first..)
                    .step_by(WORD)
                    .take_while(|at| at + WORD <= result + byte_count)
                {
                    self.mark(word_at(place));
                }
            }
            kind::INT | kind::SINT32 | kind::UINT32 if result != 0 => {
                self.look_for_truncation(word_at(result));
            }
            _ => {}
        }
    }

    fn look_for_truncation(&self, value: usize) {
        const LOW: usize = 0xffff_ffff;
        let low = value & LOW;
        let cut =
            self.notes.blocks().iter().find(|block| {
                block.get() > LOW && block.get() & LOW == low && self.is_live(**block)
            });
        if let Some(&block) = cut {
            self.tracker
                .report_truncated_pointer(block, low, EventPlace::UNKNOWN);
        }
    }

    fn is_live(&self, block: Address) -> bool {
        self.tracker.requested_size(block).is_some()
    }

    fn look_at_arguments(&self, interface: &CallInterface, arguments: usize) {
        let count = usize::try_from(interface.argument_count).unwrap_or_default();
        for index in 0..count.min(ARGUMENT_COUNT_MAX) {
            // SAFETY: libffi has just made the call by this array of `argument_count` types.
            let place = unsafe { interface.argument_types.add(index) };
            // SAFETY: as above.
            let argument_type = unsafe { *place };
            // SAFETY: as above.
            if unsafe { (*argument_type).kind } == kind::POINTER {
                let value = word_at(arguments + index * WORD);
                self.look_behind(word_at(value));
            }
        }
    }

    /// Looks at what the program let the function fill in. A block that the ledger knows is the
    /// library's own: what the library keeps there is not handed over.
    fn look_behind(&self, pointer: usize) {
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
        if peek(Address::new(pointer), bytes) {
            for word in bytes
                .chunks_exact(WORD)
                .filter_map(|word| word.try_into().ok())
            {
                self.mark(usize::from_ne_bytes(word));
            }
        }
    }

    fn mark(&self, value: usize) {
        let block = Address::new(value);
        if self.notes.blocks().contains(&block) {
            self.tracker.mark_handed_to_python(block);
        }
    }
}
