//! What unwinding begins with.

/// The registers of a frame that will go on: what its caller's frame is found from.
///
/// Rules name other registers only in code that never calls (prologues) and in a few functions
/// written by hand; a stack ends there.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Registers {
    /// Where it will go on. For a frame that was interrupted in the middle: one past the
    /// instruction, where a return address would be.
    pub return_address: usize,
    /// `rsp` at that moment.
    pub stack_pointer: usize,
    /// `rbp` at that moment.
    pub frame_pointer: usize,
}

impl Registers {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        return_address: 0,
        stack_pointer: 0,
        frame_pointer: 0,
    };

    /// Whether there is anything to begin with.
    #[inline]
    pub(in crate::capture) const fn is_known(self) -> bool {
        self.return_address != 0
    }
}
