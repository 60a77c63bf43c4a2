//! The two packed words of a record, taken apart.
//!
//! The deciding word holds state, address and generation, so that one compare-and-swap checks all
//! three. A vacant word with an address is being filled for a block there. The generation
//! distinguishes the lives of a record; it comes round after 16,384 lives, so a ticket that slept
//! through exactly so many of them at one address is taken for the living. By then the program has
//! released the block twice: which of its two releases counts is all that changes.

use super::{BlockState, FamilyId};
use crate::memory::{Address, ByteCount};

const ADDRESS_BITS: u32 = 47;
const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;
const STATE_BITS: u32 = 3;
const STATE_MASK: u64 = (1 << STATE_BITS) - 1;
const GENERATION_SHIFT: u32 = ADDRESS_BITS + STATE_BITS;
const SIZE_BITS: u32 = 48;
const SIZE_MASK: u64 = (1 << SIZE_BITS) - 1;

/// The deciding word, taken apart by its methods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word(u64);

impl Word {
    /// The bits, for keeping a word in an atomic.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// A word from bits that [`Word::to_bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The address the record is about.
    #[must_use]
    pub const fn address(self) -> Address {
        Address::new((self.0 & ADDRESS_MASK) as usize)
    }

    /// The record's state; `None` when vacant.
    #[must_use]
    pub const fn state(self) -> Option<BlockState> {
        match (self.0 >> ADDRESS_BITS) & STATE_MASK {
            1 => Some(BlockState::Live),
            2 => Some(BlockState::Quarantined),
            3 => Some(BlockState::Freed),
            4 => Some(BlockState::Forgotten),
            _ => None,
        }
    }

    /// Whether the record is in this state at this address.
    #[inline]
    pub(super) const fn is(self, state: BlockState, address: Address) -> bool {
        let wanted = bits_of(Some(state)) << ADDRESS_BITS ^ address.get() as u64;
        // The shift takes the generation away.
        (self.0 ^ wanted) << (u64::BITS - GENERATION_SHIFT) == 0
    }

    /// Names the life, address and generation, with a small number (less than 8) in the place of the state.
    #[must_use]
    pub const fn life_with(self, number: u64) -> u64 {
        self.with_state(None).0 | (number & STATE_MASK) << ADDRESS_BITS
    }

    /// Whether the record is being filled.
    pub(super) fn is_being_filled(self) -> bool {
        self.state().is_none() && !self.address().is_null()
    }

    /// Whether both words are of one life of a record: one block, in whatever state.
    pub(super) fn is_same_life(self, other: Self) -> bool {
        self.with_state(None) == other.with_state(None)
    }

    pub(super) const fn with_state(self, state: Option<BlockState>) -> Self {
        Self(self.0 & !(STATE_MASK << ADDRESS_BITS) | bits_of(state) << ADDRESS_BITS)
    }

    /// The same record one life later, vacant and without an address.
    pub(super) const fn next_life(self) -> Self {
        let generation = (self.0 >> GENERATION_SHIFT).wrapping_add(1);
        Self(generation << GENERATION_SHIFT)
    }

    /// The word of a record freed at an address, claimed for a new block there: what
    /// `next_life().at(address())` gives, in one addition.
    #[inline]
    pub(super) const fn freed_to_claimed(self) -> Self {
        const FREED: u64 = bits_of(Some(BlockState::Freed)) << ADDRESS_BITS;
        const STEP: u64 = (1 << GENERATION_SHIFT) - FREED;
        Self(self.0.wrapping_add(STEP))
    }

    /// A claimed word, live: what `with_state` gives, in one addition.
    #[inline]
    pub(super) const fn claimed_to_live(self) -> Self {
        Self(
            self.0
                .wrapping_add(bits_of(Some(BlockState::Live)) << ADDRESS_BITS),
        )
    }

    pub(super) const fn at(self, address: Address) -> Self {
        Self(self.0 & !ADDRESS_MASK | address.get() as u64 & ADDRESS_MASK)
    }
}

const fn bits_of(state: Option<BlockState>) -> u64 {
    match state {
        None => 0,
        Some(BlockState::Live) => 1,
        Some(BlockState::Quarantined) => 2,
        Some(BlockState::Freed) => 3,
        Some(BlockState::Forgotten) => 4,
    }
}

/// The size the program asked for and the family, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent(u64);

impl Extent {
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) const fn new(size: ByteCount, family: FamilyId) -> Self {
        let size = size.get() as u64;
        let kept = if size < SIZE_MASK { size } else { SIZE_MASK };
        Self((family.0 as u64) << SIZE_BITS | kept)
    }

    /// The size the program asked for.
    #[inline]
    #[must_use]
    pub const fn size(self) -> ByteCount {
        ByteCount::new((self.0 & SIZE_MASK) as usize)
    }

    /// Who may release the block.
    #[inline]
    #[must_use]
    pub const fn family(self) -> FamilyId {
        FamilyId((self.0 >> SIZE_BITS) as u16)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const HIGHEST: Address = Address::new((1 << ADDRESS_BITS) - 1);

    #[test]
    fn the_parts_of_a_word_do_not_touch_each_other() {
        let mut word = Word(0);
        for state in [
            BlockState::Live,
            BlockState::Quarantined,
            BlockState::Freed,
            BlockState::Forgotten,
        ] {
            word = word.next_life().at(HIGHEST);
            assert!(word.is_being_filled());
            let filled = word.with_state(Some(state));
            assert_eq!((filled.state(), filled.address()), (Some(state), HIGHEST));
            assert!(filled.is(state, HIGHEST) && filled.is_same_life(word));
            assert!(!filled.is(state, Address::new(16)));
            assert!(!filled.is_same_life(word.next_life().at(HIGHEST)));
            let freed = filled.with_state(Some(BlockState::Freed));
            let claimed = freed.freed_to_claimed();
            assert_eq!(claimed, freed.next_life().at(HIGHEST));
            let live = claimed.with_state(Some(BlockState::Live));
            assert_eq!(claimed.claimed_to_live(), live);
        }
    }

    #[test]
    fn the_generation_comes_round_without_spilling() {
        let last = Word(u64::MAX);
        assert_eq!(last.next_life(), Word(0));
        assert_eq!(last.with_state(None).state(), None);
        let freed = last.with_state(Some(BlockState::Freed));
        assert_eq!(freed.freed_to_claimed(), Word(0).at(last.address()));
    }

    #[test]
    fn a_size_beyond_the_field_saturates_and_leaves_the_family() {
        let extent = Extent::new(ByteCount::new(usize::MAX), FamilyId(7));
        assert_eq!(extent.family(), FamilyId(7));
        assert_eq!(extent.size().get() as u64, SIZE_MASK);
        let small = Extent::new(ByteCount::new(24), FamilyId(u16::MAX));
        assert_eq!((small.size().get(), small.family().0), (24, u16::MAX));
    }
}
