//! Which Python frame is on top: whether Python code runs inside a foreign call.

use super::Capture;
use super::foreign::ThreadState;
use super::python::View;

impl Capture {
    /// The interpreter's state of the calling thread, to be remembered for a foreign call.
    #[inline]
    #[must_use]
    pub fn thread_state(&self) -> ThreadState {
        let state = match self.python.view() {
            View::Off => None,
            View::Fresh(stack) | View::Remembering(stack) => stack.thread_state(),
        };
        state.map_or(ThreadState::UNKNOWN, ThreadState)
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
