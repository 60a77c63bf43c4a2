//! What is known of an event before its stack is looked at.

use super::foreign::ForeignFunctionId;
use super::hash::Hash;
use super::location::LocationId;
use super::native::Registers;
use crate::memory::FrameAddress;

/// What the caller of an exported function knows about the place of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventPlace {
    /// The return address into the native code that called us, or [`FrameAddress::UNKNOWN`].
    pub caller: FrameAddress,
    /// Where unwinding begins, or [`Registers::UNKNOWN`]: then `caller` is the only native frame.
    pub registers: Registers,
    /// What a C caller said, or [`LocationId::NONE`]. Stands for all native frames.
    pub location: LocationId,
}

impl EventPlace {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        caller: FrameAddress::UNKNOWN,
        registers: Registers::UNKNOWN,
        location: LocationId::NONE,
    };
}

/// What an event brings along besides the Python stack.
#[derive(Clone, Copy)]
pub(super) struct Event {
    pub(super) place: EventPlace,
    pub(super) foreign: ForeignFunctionId,
    /// Of the memory of stacks ([`super::python::lifetime`]).
    pub(super) generation: u64,
}

impl Event {
    pub(super) fn new(place: EventPlace, foreign: ForeignFunctionId, generation: u64) -> Self {
        Self {
            place,
            foreign,
            generation,
        }
    }

    /// What its stack is recognised by, together with the numbers of the Python stack and of the
    /// native one.
    pub(super) fn key(self, python: u64, native: u64) -> u64 {
        const FOREIGN_SHIFT: u32 = 40;
        let foreign = u64::from(self.foreign.0.0) << FOREIGN_SHIFT;
        Hash::seeded(python)
            .with(native)
            .with(foreign ^ self.generation)
            .get()
    }
}
