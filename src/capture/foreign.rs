//! The foreign call in progress on this thread: the function that Python called through ctypes or
//! cffi.
//!
//! Interception calls [`enter`] before the call and [`leave`] after it. A call may also be left by
//! `longjmp` or a C++ exception, without [`leave`]; so a call counts as in progress only while the
//! stack pointer is below the one it began at.

use super::hash::halves;
use super::site_table::SiteId;
use crate::memory::Address;
use crate::memory::thread_local::{Word, get, set};

/// The number of a foreign function ([`super::Capture::intern_foreign_function`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct ForeignFunctionId(pub(super) SiteId);

impl ForeignFunctionId {
    /// Not in a foreign call.
    pub const NONE: Self = Self(SiteId::NONE);

    /// Whether there is a foreign call.
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0.is_known()
    }
}

/// A foreign call in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForeignCall {
    /// The function called.
    pub function: ForeignFunctionId,
    /// A number that no other call on this thread has, nor this one after a call nested in it.
    pub sequence: usize,
    /// The stack pointer at which the call began.
    pub stack_pointer: Address,
}

/// The interpreter's state of a thread, as an address; null when not known.
///
/// Asking the interpreter for it is a call. As long as a foreign call is in progress on a thread
/// that Python code made, the state stays: Python goes on with it afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadState(pub(super) Address);

impl ThreadState {
    /// Not known: a thread without Python code may be given a state at any time.
    pub const UNKNOWN: Self = Self(Address::NULL);
}

/// What was in progress before a call; given back to [`leave`].
#[derive(Debug)]
#[must_use = "the outer call is restored by `leave`"]
pub struct OuterCall {
    function: usize,
    stack_pointer: usize,
    thread_state: usize,
}

/// Notes that this thread begins to call `function`; `stack_pointer` is that of the caller.
#[inline]
pub fn enter(
    function: ForeignFunctionId,
    stack_pointer: Address,
    thread_state: ThreadState,
) -> OuterCall {
    let outer = OuterCall {
        function: get(Word::ForeignFunction),
        stack_pointer: get(Word::ForeignStackPointer),
        thread_state: get(Word::ForeignThreadState),
    };
    set(Word::ForeignFunction, function.0.0 as usize);
    set(Word::ForeignStackPointer, stack_pointer.get());
    set(Word::ForeignThreadState, thread_state.0.get());
    next_sequence();
    outer
}

/// Notes that the call ended, and what it interrupted goes on.
#[expect(
    clippy::needless_pass_by_value,
    reason = "an outer call is restored once"
)]
#[inline]
pub fn leave(outer: OuterCall) {
    set(Word::ForeignFunction, outer.function);
    set(Word::ForeignStackPointer, outer.stack_pointer);
    set(Word::ForeignThreadState, outer.thread_state);
    // The outer call goes on under a new number: the old one is never used again, so whoever
    // remembers something by sequence number at worst computes it once more.
    next_sequence();
}

/// The foreign function being executed on this thread.
#[inline]
#[must_use]
pub fn current() -> ForeignFunctionId {
    call_in_progress().map_or(ForeignFunctionId::NONE, |call| call.function)
}

/// The foreign call in progress on this thread.
#[inline]
#[must_use]
pub fn call_in_progress() -> Option<ForeignCall> {
    // What `enter` stored there has 32 bits.
    let (function, _) = halves(get(Word::ForeignFunction) as u64);
    if function == 0 {
        return None;
    }
    let here = 0_u8;
    let stack_pointer = Address::new(get(Word::ForeignStackPointer));
    if Address::of(&raw const here) >= stack_pointer {
        return None;
    }
    Some(ForeignCall {
        function: ForeignFunctionId(SiteId(function)),
        sequence: get(Word::ForeignSequence),
        stack_pointer,
    })
}

/// The interpreter's state of this thread, while a foreign call is in progress whose caller knew it.
#[inline]
pub(super) fn thread_state() -> Option<Address> {
    let state = get(Word::ForeignThreadState);
    let here = 0_u8;
    let began = get(Word::ForeignStackPointer);
    (state != 0 && Address::of(&raw const here).get() < began).then(|| Address::new(state))
}

/// A number that changes with every foreign call of this thread.
#[must_use]
pub fn sequence() -> usize {
    get(Word::ForeignSequence)
}

#[inline]
fn next_sequence() {
    set(
        Word::ForeignSequence,
        get(Word::ForeignSequence).wrapping_add(1),
    );
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn id(number: u32) -> ForeignFunctionId {
        ForeignFunctionId(SiteId(number))
    }

    /// Above every frame of the test.
    fn outer_stack_pointer() -> Address {
        let here = 0_u8;
        Address::of(&raw const here).offset_by(64 << 10)
    }

    #[test]
    fn nested_calls_restore_the_outer_one_under_a_new_sequence_number() {
        assert_eq!(current(), ForeignFunctionId::NONE);
        let nothing = enter(id(5), outer_stack_pointer(), ThreadState::UNKNOWN);
        let first = call_in_progress().expect("inside a call");
        assert_eq!(first.function, id(5));
        let five = enter(id(6), outer_stack_pointer(), ThreadState::UNKNOWN);
        assert_eq!(current(), id(6));
        assert_ne!(
            call_in_progress().expect("inside a call").sequence,
            first.sequence
        );
        leave(five);
        let again = call_in_progress().expect("still inside the outer call");
        assert_eq!(again.function, id(5));
        assert_ne!(again.sequence, first.sequence);
        leave(nothing);
        assert_eq!(call_in_progress(), None);
    }

    #[test]
    fn a_call_left_by_longjmp_is_not_in_progress() {
        let here = 0_u8;
        let below = Address::new(Address::of(&raw const here).get() - (64 << 10));
        let nothing = enter(id(5), below, ThreadState::UNKNOWN);
        assert_eq!(current(), ForeignFunctionId::NONE);
        leave(nothing);
    }
}
