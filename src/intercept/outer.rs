//! Only the outermost function counts: `operator new` calling `malloc` is one block of family new.
//!
//! While a real function runs on our behalf, a thread-local word holds the stack pointer of the
//! intercepted call. A call that reaches us from further down the stack is part of it. A word left
//! behind by `longjmp` is above nothing any more as soon as the stack is that short again.

use super::entry::Frame;
use crate::memory::thread_local::{Word, get, set};

/// Marks calls from now on as part of this one; ends with its scope, also by an exception.
#[derive(Debug)]
pub(super) struct Outer {
    before: usize,
}

impl Outer {
    /// Begins the part of a call that the real function does.
    #[inline]
    pub(super) fn begin(frame: Frame) -> Self {
        let before = get(Word::OuterFunction);
        set(Word::OuterFunction, frame.stack_pointer());
        Self { before }
    }
}

impl Drop for Outer {
    #[inline]
    fn drop(&mut self) {
        set(Word::OuterFunction, self.before);
    }
}

/// Whether a call is made by a real function that runs on our behalf.
#[inline]
pub(super) fn is_part_of_another_call(frame: Frame) -> bool {
    match get(Word::OuterFunction) {
        0 => false,
        outer if frame.stack_pointer() < outer => true,
        _ => {
            set(Word::OuterFunction, 0);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_from_deeper_in_the_stack_are_part_and_others_end_a_stale_mark() {
        let places = [0_usize; 3];
        let [below, at, above] = &places;
        let frame = Frame::of_place;
        assert!(!is_part_of_another_call(frame(below)));
        {
            let _outer = Outer::begin(frame(at));
            assert!(is_part_of_another_call(frame(below)));
            let inner = Outer::begin(frame(below));
            drop(inner);
            assert!(
                is_part_of_another_call(frame(below)),
                "the outer mark is back"
            );
        }
        assert!(!is_part_of_another_call(frame(below)));
        set(Word::OuterFunction, frame(at).stack_pointer());
        assert!(!is_part_of_another_call(frame(above)), "left by longjmp");
        assert!(!is_part_of_another_call(frame(below)), "and forgotten");
    }
}
