//! The part of a stack that may be read: from the frame that unwinding begins at to the stack's end.

#![expect(unsafe_code, reason = "reads words of the thread's own stack")]

use crate::memory::pages::PAGE;
use crate::memory::thread_local::{Word, get};
use crate::memory::{Address, peek};

const WORD: usize = size_of::<usize>();
/// How far a stack that the program made itself is read.
const OTHER_STACK_BYTE_MAX: usize = 256 << 10;

/// The readable part of the stack that a frame of the calling thread lies in.
#[derive(Clone, Copy, Debug)]
pub(super) struct StackWindow {
    start: usize,
    end: usize,
    limit: usize,
}

impl StackWindow {
    /// The window above `stack_pointer`, which a frame of the calling thread has now.
    ///
    /// The thread's own stack is mapped from any of its frames to its end. Of another stack (a
    /// coroutine's, a signal handler's) only the page of that frame is sure to be: the kernel is
    /// asked about each further one.
    #[inline]
    pub(super) fn above(stack_pointer: usize) -> Self {
        let end = get(Word::StackTop);
        if stack_pointer < end && stack_pointer >= get(Word::StackBottom) {
            return Self {
                start: stack_pointer,
                end,
                limit: end,
            };
        }
        Self::of_other_stack(stack_pointer)
    }

    #[cold]
    fn of_other_stack(stack_pointer: usize) -> Self {
        let start = stack_pointer & !(PAGE - 1);
        let mut window = Self {
            start,
            end: start,
            limit: start.saturating_add(OTHER_STACK_BYTE_MAX),
        };
        window.extend();
        window.start = stack_pointer;
        window
    }

    /// The word at `address`; `None` where it cannot be read.
    #[inline]
    pub(super) fn read(&mut self, address: usize) -> Option<usize> {
        if address < self.start || !address.is_multiple_of(WORD) {
            return None;
        }
        while address >= self.end {
            if !self.extend() {
                return None;
            }
        }
        let place = std::ptr::with_exposed_provenance::<usize>(address);
        // SAFETY: the window holds only mapped pages of a stack with a frame of this thread below,
        // which cannot go away while this thread is in here; the address is aligned, so the whole
        // word lies in one page. Volatile, because a neighbouring frame may be written meanwhile.
        Some(unsafe { place.read_volatile() })
    }

    /// Goes on in another stack, where a signal interrupted this one.
    pub(super) fn move_to(&mut self, stack_pointer: usize) {
        if stack_pointer < self.start || stack_pointer >= self.end {
            *self = Self::above(stack_pointer);
        }
    }

    #[cold]
    fn extend(&mut self) -> bool {
        let is_open = self.end < self.limit && peek::peek(Address::new(self.end), &mut [0]);
        if is_open {
            self.end += PAGE;
        }
        is_open
    }
}

/// How much of its own stack the calling thread has left; all there can be on a stack that is not
/// known.
pub(super) fn remaining_byte_count() -> usize {
    let place = 0_u8;
    let here = Address::of(&raw const place).get();
    let (bottom, top) = (get(Word::StackBottom), get(Word::StackTop));
    if (bottom..top).contains(&here) {
        here - bottom
    } else {
        usize::MAX
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_stack_are_read_and_others_refused() {
        let words = [17_usize, 18, 19];
        let place = words.as_ptr().expose_provenance();
        let mut window = StackWindow::above(place);
        assert_eq!(window.read(place), Some(17));
        assert_eq!(window.read(place + 16), Some(19));
        assert_eq!(window.read(place + 3), None, "not aligned");
        assert_eq!(window.read(place - 8), None, "below");
        assert_eq!(window.read(usize::MAX - 7), None);
        let mut nowhere = StackWindow::above(0x10);
        assert_eq!(nowhere.read(0x10), None);
    }
}
