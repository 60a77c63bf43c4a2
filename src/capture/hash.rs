//! The 64-bit hash that keys every table of this layer.

/// A hash under construction.
///
/// Each step multiplies to 128 bits and folds the halves together, so every input bit reaches
/// every output bit: a stack is recognised by these 64 bits alone once it has been seen, and at
/// half a million stacks the chance that any two share them is below one in a hundred million.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hash(u64);

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hash {
    /// Starts a hash; different tables use different seeds so that their keys never meet.
    pub(super) const fn seeded(seed: u64) -> Self {
        Self(seed ^ 0x5851_F42D_4C95_7F2D)
    }

    /// The hash with one more value in it; the order of values matters.
    #[inline]
    pub(super) const fn with(self, value: u64) -> Self {
        let mixed = self.0 ^ value;
        let high = ((mixed as u128 * MULTIPLIER as u128) >> 64) as u64;
        let low = mixed.wrapping_mul(MULTIPLIER);
        // The rotation keeps zero inputs from sticking: a product of zero would stay zero.
        Self((high ^ low).rotate_left(23) ^ MULTIPLIER)
    }

    /// The hash with a text in it.
    #[inline]
    pub(super) fn with_bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks();
        let hash = words
            .iter()
            .fold(self, |hash, word| hash.with(u64::from_le_bytes(*word)));
        let mut last = [0; size_of::<u64>()];
        for (place, byte) in last.iter_mut().zip(rest) {
            *place = *byte;
        }
        // The length tells a text from the same one with zeroes behind it.
        hash.with(u64::from_le_bytes(last)).with(bytes.len() as u64)
    }

    /// The 64 bits.
    #[inline]
    pub(super) const fn get(self) -> u64 {
        self.0
    }
}

/// The lower and the upper 32 bits of a number.
pub(super) const fn halves(number: u64) -> (u32, u32) {
    let bytes = number.to_le_bytes();
    let low = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    (low, (number >> u32::BITS) as u32)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn neighbouring_values_in_any_order_give_different_hashes() {
        let mut seen = HashSet::new();
        for first in 0..300 {
            for second in 0..300 {
                seen.insert(Hash::seeded(1).with(first).with(second).get());
            }
        }
        assert_eq!(seen.len(), 300 * 300);
        assert_ne!(Hash::seeded(1), Hash::seeded(2));
    }

    #[test]
    fn texts_of_any_length_are_told_apart() {
        let text = [b'a'; 40];
        let lengths = (0..40).map(|length| Hash::seeded(1).with_bytes(&text[..length]).get());
        assert_eq!(lengths.collect::<HashSet<_>>().len(), 40);
        let hash = |text: &[u8]| Hash::seeded(1).with_bytes(text);
        assert_ne!(hash(b"ab"), hash(b"ab\0"));
        assert_ne!(hash(b"0123456789"), hash(b"0123456798"));
    }

    #[test]
    fn one_changed_input_bit_changes_about_half_of_the_output_bits() {
        let base = 0x7f12_3456_7890;
        for bit in 0..64 {
            let changed = Hash::seeded(1).with(base ^ (1 << bit)).with(7).get();
            let differing = (Hash::seeded(1).with(base).with(7).get() ^ changed).count_ones();
            assert!(
                (12..=52).contains(&differing),
                "bit {bit} changes {differing} bits"
            );
        }
    }
}
