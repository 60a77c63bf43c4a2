//! What is noted during a foreign call, on the stack of whoever makes it: which blocks were recorded
//! meanwhile.
//!
//! A call can be left without our seeing it (`longjmp`), and a greenlet may swap the stack under
//! it. So a call counts only while the stack still holds, where the call began, the return address
//! it began with.

#![expect(unsafe_code, reason = "follows thread-local pointers to the stack")]

use std::ptr::NonNull;

use super::entry::Frame;
use super::ffi_layout::CallInterface;
use super::stack;
use crate::capture::foreign::{self, ForeignFunctionId, OuterCall, ThreadState};
use crate::memory::Address;
use crate::memory::thread_local::{Word, get, set};

/// Blocks of one call that are remembered: the first, for an object comes before its parts, and
/// the newest.
pub(super) const NOTED_BLOCK_COUNT_MAX: usize = 16;
const FIRST_BLOCK_COUNT: usize = NOTED_BLOCK_COUNT_MAX / 2;

/// The stack pointer of a call that lasts as long as its thread.
const WHOLE_THREAD: usize = usize::MAX;

/// Notes on one foreign call.
#[derive(Debug)]
pub(super) struct ForeignNotes {
    /// Whether the function called is one of those we intercept: then the machinery of foreign
    /// calls is its caller.
    is_direct: bool,
    /// The Python frame that made the call; zero when not known or when none did.
    python_frame: usize,
    /// The function called, when the call was seen at the type of its object.
    made_by_type: usize,
    /// How the call is made, and the array of places of its arguments; both outlive the call.
    given: Option<(NonNull<CallInterface>, usize)>,
    block_count: usize,
    blocks: [Address; NOTED_BLOCK_COUNT_MAX],
}

impl ForeignNotes {
    /// Notes on a call that is about to be made.
    pub(super) fn new(is_direct: bool, python_frame: usize) -> Self {
        Self {
            is_direct,
            python_frame,
            made_by_type: 0,
            given: None,
            block_count: 0,
            blocks: [Address::NULL; NOTED_BLOCK_COUNT_MAX],
        }
    }

    /// The same for a call of `function` that was seen at the type of its object.
    pub(super) fn made_by_type(self, function: usize) -> Self {
        Self {
            made_by_type: function,
            ..self
        }
    }

    /// The same for a call whose arguments are known.
    pub(super) fn of_arguments(self, interface: NonNull<CallInterface>, places: usize) -> Self {
        Self {
            given: Some((interface, places)),
            ..self
        }
    }

    /// What the call was given, when it is known.
    pub(super) fn given(&self) -> Option<(NonNull<CallInterface>, usize)> {
        self.given
    }

    /// Whether these are the notes on a call of `function` that was seen at the type already.
    pub(super) fn is_of_type_call(&self, function: usize) -> bool {
        self.made_by_type == function
    }

    /// Whether the function called is one of those we intercept.
    pub(super) fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// The Python frame that made the call; zero when not known or when none did.
    pub(super) fn python_frame(&self) -> usize {
        self.python_frame
    }

    /// How many blocks were recorded during the call.
    pub(super) fn block_count(&self) -> usize {
        self.block_count
    }

    /// The first and the newest blocks recorded during the call.
    pub(super) fn blocks(&self) -> &[Address] {
        self.blocks.get(..self.block_count).unwrap_or(&self.blocks)
    }

    /// Notes a block.
    #[inline]
    pub(super) fn note_block(&mut self, block: Address) {
        let place = match self.block_count.checked_sub(FIRST_BLOCK_COUNT) {
            None => self.block_count,
            Some(later) => FIRST_BLOCK_COUNT + later % (NOTED_BLOCK_COUNT_MAX - FIRST_BLOCK_COUNT),
        };
        self.blocks[place] = block;
        self.block_count = self.block_count.saturating_add(1);
    }
}

/// A foreign call in progress: ends with its scope, also when an exception or the end of the thread
/// unwinds through it.
#[derive(Debug)]
pub(super) struct ForeignCall {
    outer_notes: usize,
    outer_return: usize,
    outer: Option<OuterCall>,
}

impl ForeignCall {
    /// Begins a call of `function` made from `frame`; the notes outlive it.
    pub(super) fn begin(
        notes: NonNull<ForeignNotes>,
        function: ForeignFunctionId,
        frame: Frame,
        thread_state: ThreadState,
    ) -> Self {
        let (began, return_address) = (frame.stack_pointer(), frame.caller().return_address());
        let outer = foreign::enter(function, Address::new(began), thread_state);
        Self::note(notes, return_address, outer)
    }

    /// Makes the rest of this thread part of a call of `function`.
    pub(super) fn begin_thread(notes: NonNull<ForeignNotes>, function: ForeignFunctionId) -> Self {
        let began = Address::new(WHOLE_THREAD);
        Self::note(
            notes,
            0,
            foreign::enter(function, began, ThreadState::UNKNOWN),
        )
    }

    #[inline]
    fn note(notes: NonNull<ForeignNotes>, return_address: usize, outer: OuterCall) -> Self {
        let (outer_notes, outer_return) = (get(Word::ForeignNotes), get(Word::ForeignReturn));
        set(Word::ForeignReturn, return_address);
        set(Word::ForeignNotes, notes.as_ptr().expose_provenance());
        Self {
            outer_notes,
            outer_return,
            outer: Some(outer),
        }
    }
}

impl Drop for ForeignCall {
    #[inline]
    fn drop(&mut self) {
        set(Word::ForeignNotes, self.outer_notes);
        set(Word::ForeignReturn, self.outer_return);
        if let Some(outer) = self.outer.take() {
            foreign::leave(outer);
        }
    }
}

/// The notes on a foreign call that was going on when an intercepted call began: kept no longer
/// than that call lasts, on its thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct OngoingCall(NonNull<ForeignNotes>);

impl OngoingCall {
    /// The foreign call that this thread is executing, if it is.
    #[inline]
    pub(super) fn find(frame: Frame) -> Option<Self> {
        let place = get(Word::ForeignNotes);
        if place == 0 {
            return None;
        }
        if !is_going_on(frame) {
            forget();
            return None;
        }
        let notes = std::ptr::with_exposed_provenance_mut::<ForeignNotes>(place);
        NonNull::new(notes).map(Self)
    }

    /// Lets `look` see the notes.
    #[inline]
    pub(super) fn with_notes<T>(mut self, look: impl FnOnce(&mut ForeignNotes) -> T) -> T {
        // SAFETY: the call is going on, so the frame that began it still holds the notes, and this
        // thread is the only one to look at them; `look` does not come back here.
        look(unsafe { self.0.as_mut() })
    }
}

/// Lets `look` see the notes on the foreign call that this thread is executing, if it is.
#[inline]
pub(super) fn with_notes<T>(frame: Frame, look: impl FnOnce(&mut ForeignNotes) -> T) -> Option<T> {
    OngoingCall::find(frame).map(|call| call.with_notes(look))
}

/// Whether the place where the call began still holds the return address of that call.
#[inline]
fn is_going_on(frame: Frame) -> bool {
    let began = get(Word::ForeignStackPointer);
    if began == WHOLE_THREAD {
        return true;
    }
    if began <= frame.stack_pointer() || !stack::is_still_mapped(began, frame.stack_pointer()) {
        return false;
    }
    let place = std::ptr::with_exposed_provenance::<usize>(began);
    // SAFETY: a frame of this thread began at this place, and it is still mapped, whatever it holds
    // now.
    unsafe { place.read_volatile() == get(Word::ForeignReturn) }
}

#[cold]
fn forget() {
    set(Word::ForeignNotes, 0);
    set(Word::ForeignFunction, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_seen_only_while_the_call_goes_on() {
        let mut stack = [0_usize; 4];
        stack[2] = 0x1234;
        let mut notes = ForeignNotes::new(false, 7);
        {
            let place = NonNull::from(&mut notes);
            let began = Frame::of_place(&stack[2]);
            let call =
                ForeignCall::begin(place, ForeignFunctionId::NONE, began, ThreadState::UNKNOWN);
            let inside = Frame::of_place(&stack[0]);
            let seen = with_notes(inside, |notes| {
                notes.note_block(Address::new(64));
                notes.python_frame()
            });
            assert_eq!(seen, Some(7));
            let shorter = Frame::of_place(&stack[3]);
            assert!(with_notes(shorter, |_| ()).is_none(), "the call was left");
            assert!(with_notes(inside, |_| ()).is_none(), "and is forgotten");
            drop(call);
        }
        assert_eq!(notes.blocks(), [Address::new(64)]);
    }

    #[test]
    fn a_reused_stack_ends_a_call() {
        let mut stack = [0_usize; 4];
        stack[2] = 0x1234;
        let mut notes = ForeignNotes::new(false, 0);
        let began = Frame::of_place(&stack[2]);
        let call = ForeignCall::begin(
            NonNull::from(&mut notes),
            ForeignFunctionId::NONE,
            began,
            ThreadState::UNKNOWN,
        );
        stack[2] = 0x5678;
        let inside = Frame::of_place(&stack[0]);
        assert!(with_notes(inside, |_| ()).is_none());
        drop(call);
    }

    #[test]
    fn only_the_first_and_the_newest_blocks_are_kept() {
        let mut notes = ForeignNotes::new(false, 0);
        for number in 1..=NOTED_BLOCK_COUNT_MAX + 1 {
            notes.note_block(Address::new(number * 32));
        }
        assert_eq!(notes.block_count(), NOTED_BLOCK_COUNT_MAX + 1);
        assert_eq!(notes.blocks().len(), NOTED_BLOCK_COUNT_MAX);
        let has = |number: usize| notes.blocks().contains(&Address::new(number * 32));
        assert!((1..=FIRST_BLOCK_COUNT).all(has), "the first stay");
        assert!(
            !has(FIRST_BLOCK_COUNT + 1),
            "the oldest of the others made room"
        );
        assert!(has(NOTED_BLOCK_COUNT_MAX + 1), "for the newest");
    }
}
