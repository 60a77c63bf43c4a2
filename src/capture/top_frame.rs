//! Which Python frame is on top: whether Python code runs inside a foreign call.

use super::Capture;
use super::foreign::ThreadState;
use super::python::View;

impl Capture {
    /// What is remembered for a foreign call: the interpreter's state of the calling thread, and its
    /// innermost Python frame, as [`Self::top_python_frame`].
    #[inline]
    #[must_use]
    pub fn thread_state_and_top(&self) -> (ThreadState, usize) {
        let (state, top) = match self.python.view() {
            View::Off => (None, 0),
            View::Fresh(stack) | View::Remembering(stack) => stack.thread_and_top(),
        };
        (state.map_or(ThreadState::UNKNOWN, ThreadState), top)
    }

    /// The innermost Python frame of the calling thread, as an address that is only compared; zero
    /// when the thread runs no Python code or its frames cannot be read.
    #[inline]
    #[must_use]
    pub fn top_python_frame(&self) -> usize {
        match self.python.view() {
            View::Off => 0,
            View::Fresh(stack) | View::Remembering(stack) => stack.top(),
        }
    }

    /// The innermost Python frame and the address of the instruction it is executing.
    #[must_use]
    pub fn top_python_place(&self) -> Option<(usize, u64)> {
        match self.python.view() {
            View::Off => None,
            View::Fresh(stack) | View::Remembering(stack) => stack.top_place(),
        }
    }
}
