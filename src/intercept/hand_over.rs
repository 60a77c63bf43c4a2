//! Memory that the C library allocates on its caller's behalf: `strdup`, `getline`, `asprintf`.
//!
//! What libc allocates it mostly keeps (locales, time zones, stdio buffers), and that is nobody's
//! leak. What these functions allocate is the caller's to release. Their entries note where they
//! were called from; an allocation by libc is handed over while such a call goes on: while the
//! stack still holds its return address. libc's own use of `strdup` passes no slot and is not noted.

#![expect(unsafe_code, reason = "follows a thread-local pointer to the stack")]

use super::entry::Frame;
use super::stack;
use crate::memory::FrameAddress;
use crate::memory::thread_local::{Word, get};

/// Who called the function that hands over, if such a call is going on.
#[inline]
pub(super) fn in_progress(frame: Frame) -> Option<FrameAddress> {
    let place = get(Word::HandOverFrame);
    if place <= frame.stack_pointer() || !stack::is_still_mapped(place, frame.stack_pointer()) {
        return None;
    }
    let expected = get(Word::HandOverReturn);
    let place = std::ptr::with_exposed_provenance::<usize>(place);
    // SAFETY: an entry on this thread left its stack pointer there, and the place is still mapped,
    // whatever it holds now.
    let held = unsafe { place.read_volatile() };
    (held == expected).then(|| FrameAddress::from_return_address(expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::thread_local::set;

    #[test]
    fn a_call_goes_on_while_the_stack_holds_its_return_address() {
        let mut stack = [0_usize; 4];
        stack[2] = 0x4321;
        set(
            Word::HandOverFrame,
            (&raw const stack[2]).expose_provenance(),
        );
        set(Word::HandOverReturn, 0x4321);
        let caller = FrameAddress::from_return_address(0x4321);
        assert_eq!(in_progress(Frame::of_place(&stack[0])), Some(caller));
        assert_eq!(
            in_progress(Frame::of_place(&stack[3])),
            None,
            "it has returned"
        );
        stack[2] = 0x9999;
        assert_eq!(
            in_progress(Frame::of_place(&stack[0])),
            None,
            "another call is there now"
        );
        set(Word::HandOverFrame, 0);
        set(Word::HandOverReturn, 0);
    }
}
