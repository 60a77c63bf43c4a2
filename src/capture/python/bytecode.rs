//! What becomes of a call's result: whether the instruction behind the call throws it away.
//!
//! The numbers are those of `opcode.opmap`, with the variants that the interpreter puts in place of a
//! call of something other than a Python function; `tests/python/test_cut_pointers.py` asks every
//! interpreter it finds. Any other instruction is taken for one that keeps the result: calls with
//! unpacked arguments, those of a program that is being measured, calls made by C code.

use super::PythonVersion;

/// The instructions of one minor version that matter here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CallCodes {
    /// Calls: the general one and its variant.
    calls: [u8; 2],
    /// Code units behind a call that hold the interpreter's notes.
    pub(super) note_count: usize,
    /// The instruction that drops the topmost value.
    drop: u8,
}

impl CallCodes {
    /// Those of a version; `None` for one that is not known.
    pub(super) const fn of(version: PythonVersion) -> Option<Self> {
        let (calls, note_count, drop) = match version.minor {
            11 => ([171, 22], 4, 1),
            12 => ([171, 171], 3, 1),
            13 => ([53, 176], 3, 32),
            14 => ([52, 160], 3, 31),
            15 => ([50, 163], 3, 29),
            _ => return None,
        };
        Some(Self {
            calls,
            note_count,
            drop,
        })
    }

    /// Whether an instruction is a call. The code then goes on behind its notes.
    pub(super) fn is_call(&self, instruction: u8) -> bool {
        self.calls.contains(&instruction)
    }

    /// Whether an instruction behind a call throws its result away.
    pub(super) fn is_drop(&self, instruction: u8) -> bool {
        instruction == self.drop
    }
}
