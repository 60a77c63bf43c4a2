//! The moment in which a library exchanges the C stack under the interpreter's frames.
//!
//! greenlet copies the stack of the coroutine it leaves to the heap and that of the one it enters
//! back, and only then tells the interpreter. In between, what the thread's state points to (to 3.12
//! the innermost frame's holder, later the frames between C and Python) is somebody else's bytes.

use crate::memory::thread_local::{Word, get, set};

/// Whether the calling thread's frames must not be looked at.
#[inline]
pub(super) fn is_in_progress() -> bool {
    get(Word::StackSwitch) != 0
}

/// Runs `work`, during which the calling thread has no Python frames as far as we are concerned.
pub fn without_python_frames<T>(work: impl FnOnce() -> T) -> T {
    let before = get(Word::StackSwitch);
    set(Word::StackSwitch, 1);
    let result = work();
    set(Word::StackSwitch, before);
    result
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn frames_are_out_of_reach_exactly_while_the_work_runs() {
        assert!(!is_in_progress());
        let inside = without_python_frames(|| {
            without_python_frames(|| ());
            is_in_progress()
        });
        assert!(inside, "also after a switch inside it has ended");
        assert!(!is_in_progress());
    }
}
