//! What a walk along a stack depends on: the words that it read.

use super::registers::Registers;
use super::rule::Rule;
use super::unwind::NATIVE_FRAME_COUNT_MAX;

/// Words that a remembered walk has read: a full walk's return addresses, and some saved `rbp`.
pub(super) const READ_COUNT_MAX: usize = NATIVE_FRAME_COUNT_MAX + 16;

/// A word of the stack: where it is, and what it is.
pub(super) type Read = (usize, usize);

/// What a walk depends on, in the order of reading.
///
/// Compilers use `rbp` for anything. So its values count only where a frame is found by them.
#[derive(Debug)]
pub(super) struct Reads {
    pub(super) words: [Read; READ_COUNT_MAX],
    pub(super) count: usize,
    frame_pointer: FramePointer,
    pub(super) needs_first_frame_pointer: bool,
}

/// Where the present value of `rbp` came from.
#[derive(Clone, Copy, Debug)]
enum FramePointer {
    /// The walk began with it.
    Given,
    /// It was read, and nothing depends on it yet.
    Read(Read),
    /// It is noted.
    Noted,
}

impl Reads {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            words: [(0, 0); READ_COUNT_MAX],
            count: 0,
            frame_pointer: FramePointer::Given,
            needs_first_frame_pointer: false,
        }
    }

    /// Notes one step to `caller`, and the words it read.
    pub(super) fn note_step(&mut self, rule: Rule, reads: &[Read], caller: Registers) {
        if rule.needs_frame_pointer() {
            match std::mem::replace(&mut self.frame_pointer, FramePointer::Noted) {
                FramePointer::Given => self.needs_first_frame_pointer = true,
                FramePointer::Read(read) => self.note(read),
                FramePointer::Noted => {}
            }
        }
        for &read in reads {
            if rule.reads_frame_pointer_at(read.0, caller) {
                self.frame_pointer = FramePointer::Read(read);
            } else {
                self.note(read);
            }
        }
    }

    /// Notes a word that the walk depends on; one too many makes it too long to be remembered.
    pub(super) fn note(&mut self, read: Read) {
        if let Some(place) = self.words.get_mut(self.count) {
            *place = read;
        }
        self.count += 1;
    }
}
