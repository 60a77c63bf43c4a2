//! How many guarded blocks there can be, where their places lie, and at which end of them the blocks.

#![expect(unsafe_code, reason = "opens pages that were set aside for slots")]

use super::closing::Method;
use super::disguise::WINDOW_BYTE_COUNT;
use crate::memory::pages::{self, PAGE};

/// Classes of slots: of one data page, of two, of four and so on.
pub(super) const CLASS_COUNT: usize = 5;
/// Slots of the smallest class; each next class has half as many. 16,384 blocks of up to one page
/// take 64 MiB when all are live.
const SLOT_COUNT: u32 = if cfg!(test) { 16 } else { 16_384 };
/// Where each open slot splits a mapping in three, the kernel's limit of 65,530 must be kept.
const SPLITTING_SLOT_COUNT: u32 = if cfg!(test) { 16 } else { 4_096 };
/// Slots of each class for first blocks: 14 MiB when all are live, 23 MiB of address space.
const FIRST_SLOT_COUNTS: [u32; CLASS_COUNT] = if cfg!(test) {
    [4, 2, 2, 2, 1]
} else {
    [2_048, 256, 128, 32, 16]
};
/// The same where each open slot splits a mapping: at most 1,000 mappings more.
const FIRST_SPLITTING_SLOT_COUNTS: [u32; CLASS_COUNT] = if cfg!(test) {
    [4, 2, 2, 2, 1]
} else {
    [384, 64, 32, 12, 8]
};

/// The data pages of a slot, and the closed page behind them.
pub(super) fn slot_byte_count(class: usize) -> usize {
    (PAGE << class) + PAGE
}

/// How many slots there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capacity {
    /// For all blocks, or one of so many.
    Full,
    /// For the first block of each stack.
    First,
}

impl Capacity {
    /// Slots of a class.
    pub(super) fn slot_count(self, class: usize, method: Method) -> usize {
        let first = |counts: [u32; CLASS_COUNT]| counts.get(class).copied().unwrap_or(1);
        let count = match (self, method) {
            (Self::Full, Method::Markers) => SLOT_COUNT >> class,
            (Self::Full, Method::Protection) => SPLITTING_SLOT_COUNT >> class,
            (Self::First, Method::Markers) => first(FIRST_SLOT_COUNTS),
            (Self::First, Method::Protection) => first(FIRST_SPLITTING_SLOT_COUNTS),
        };
        count as usize
    }

    /// Pages for `byte_count` bytes of slots: the closed page in front of disguised blocks, or zero, and
    /// where the slots begin.
    pub(super) fn place(self, byte_count: usize) -> Option<(usize, usize)> {
        if self == Self::Full {
            let front = pages::map(byte_count)?.expose_provenance().get();
            return Some((0, front));
        }
        let reserved = pages::set_aside(2 * WINDOW_BYTE_COUNT)?;
        let start = reserved.expose_provenance().get();
        let window = start.next_multiple_of(WINDOW_BYTE_COUNT);
        // SAFETY: the reservation reaches at least one window's length from here.
        let slots = unsafe { reserved.add(window - start + PAGE) };
        // SAFETY: set aside above, and `byte_count` is less than a window.
        let is_open = unsafe { pages::open(slots, byte_count) };
        is_open.then_some((window, window + PAGE))
    }
}

/// Which end of a block lies against a closed page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Side {
    /// Its end.
    Right = 0,
    /// Its start.
    Left = 1,
    /// Its end, of the next block its start, and so on.
    Alternate = 2,
}

impl Side {
    /// The side of the block of this turn: right or left.
    #[must_use]
    pub fn at(self, turn: u32) -> Self {
        match self {
            Self::Right | Self::Left => self,
            Self::Alternate if turn.is_multiple_of(2) => Self::Right,
            Self::Alternate => Self::Left,
        }
    }
}
