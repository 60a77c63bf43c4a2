//! What is wrong around a block and inside a released one.

#![expect(
    unsafe_code,
    reason = "looks at blocks whose memory the caller knows to be there"
)]

use super::imprint::Imprint;
use super::parts::{self, PART_BYTE_MAX, Part, PartKind};
use super::{disguise, front, pattern, poison, redzone, size_word};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, BlockState};
use crate::memory::ByteCount;
use crate::memory::{Address, peek::peek};
use poison::Broken;
use redzone::Behind;
use size_word::SizeWord;

/// What a look at a block found. Nothing by default.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Damage {
    /// What is damaged before the block.
    pub before: Option<Broken>,
    /// What is damaged behind it.
    pub behind: Option<Behind>,
    /// What was written to a released block.
    pub inside: Option<Broken>,
}

impl Damage {
    /// Whether anything is damaged.
    #[inline]
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.before.is_some() || self.behind.is_some() || self.inside.is_some()
    }

    /// Whether the words of glibc's around the block are damaged, or may be: it would abort the
    /// process over them, so the block must not go back.
    #[must_use]
    pub fn spreads(&self) -> bool {
        self.before.is_some() || self.behind.is_some_and(|behind| behind.reaches_end)
    }
}

/// Whether nothing around a block is damaged: the rule, found out in a few instructions.
///
/// # Safety
/// * As for [`around`].
#[inline]
#[must_use]
pub unsafe fn is_intact_around(block: Address, size: ByteCount, flags: u32) -> bool {
    if flags & flag::REDZONE == 0 {
        return true;
    }
    if SizeWord::is_fronted(flags) {
        // SAFETY: the caller's duties.
        return unsafe { is_intact_around_fronted(block, size, flags) };
    }
    let remembered = SizeWord::from_flags(flags, block);
    // SAFETY: only words that glibc wrote are remembered.
    let before = !remembered.is_known() || remembered.is_intact(unsafe { size_word::read(block) });
    // SAFETY: the flag says that the redzone was armed for this size.
    before && unsafe { redzone::is_intact_behind(block, size, remembered) }
}

/// The same of a block with a margin in front. Apart, so that the usual path calls nothing.
///
/// # Safety
/// * As for [`around`].
#[cold]
#[inline(never)]
unsafe fn is_intact_around_fronted(block: Address, size: ByteCount, flags: u32) -> bool {
    // SAFETY: the caller's duties.
    !unsafe { around(block, size, flags) }.is_any()
}

/// The same, and nothing inside a released block that is filled.
///
/// # Safety
/// * As for [`around`].
#[inline]
#[must_use]
pub unsafe fn is_withheld_intact(block: Address, size: ByteCount, flags: u32) -> bool {
    // SAFETY: the caller's duties.
    let is_intact_around = unsafe { is_intact_around(block, size, flags) };
    is_intact_around
        && (flags & flag::POISONED == 0
            // SAFETY: the flag says that the block was filled for this size.
            || unsafe { poison::is_intact_inside(block, size) })
}

/// Looks around a block.
///
/// # Safety
/// * `flags` are those of the block's record, and `size` its size.
/// * The block's memory has not gone back to the allocator.
#[inline]
#[must_use]
pub unsafe fn around(block: Address, size: ByteCount, flags: u32) -> Damage {
    if flags & flag::REDZONE == 0 {
        return Damage::default();
    }
    let remembered = SizeWord::from_flags(flags, block);
    let before = if remembered.is_known() {
        // SAFETY: only words that glibc wrote are remembered.
        remembered.damage(unsafe { size_word::read(block) })
    } else {
        None
    };
    let before = if remembered.has_front() {
        // SAFETY: what is remembered says that the margin was armed for this size.
        unsafe { front::damage(block, size) }.or(before)
    } else {
        before
    };
    // SAFETY: the flag says that the redzone was armed for this size.
    let behind = unsafe { redzone::damage_behind(block, size, remembered) };
    Damage {
        before,
        behind,
        inside: None,
    }
}

/// Looks around and inside a released block that is filled.
///
/// # Safety
/// * As for [`around`].
#[inline]
#[must_use]
pub unsafe fn of_withheld(block: Address, size: ByteCount, flags: u32) -> Damage {
    // SAFETY: the caller's duties.
    let around = unsafe { around(block, size, flags) };
    if flags & flag::POISONED == 0 {
        return around;
    }
    // SAFETY: the flag says that the block was filled for this size.
    let inside = unsafe { poison::damage_inside(block, size) };
    Damage { inside, ..around }
}

/// Looks at a block whose memory another thread may give back at this moment: at copies that the
/// kernel makes. `None` when it cannot be read; nothing to see is no damage. Of a guarded block that was
/// released nothing is to be seen.
#[must_use]
pub fn by_copy(record: &BlockRecord) -> Option<Damage> {
    let parts = parts::of(record);
    let mut whole = [0; WHOLE_BYTE_MAX];
    let copy = Copied::of(parts.clone(), &mut whole);
    let mut bytes = [0; PART_BYTE_MAX];
    let mut damage = Damage::default();
    for part in parts {
        let bytes = bytes.get_mut(..part.byte_count)?;
        copy.read(part.start, bytes)?;
        judge(&part, bytes, record.size, &mut damage);
    }
    Some(damage)
}

/// Whether nothing is damaged in a copy of a part.
#[must_use]
pub fn is_part_intact(part: &Part, bytes: &[u8]) -> bool {
    let mut damage = Damage::default();
    judge(part, bytes, ByteCount::new(0), &mut damage);
    !damage.is_any()
}

/// Adds what is damaged in a copy of a part of a block of this size.
fn judge(part: &Part, bytes: &[u8], size: ByteCount, damage: &mut Damage) {
    match part.kind {
        PartKind::SizeWord(remembered) => {
            let word = bytes.first_chunk().copied().map(usize::from_ne_bytes);
            damage.before = word.and_then(|word| remembered.damage(word));
        }
        PartKind::Before => damage.before = broken_before(bytes),
        PartKind::Front => damage.before = front::broken(bytes).or(damage.before),
        PartKind::Behind => damage.behind = redzone::broken_redzone(bytes, size),
        PartKind::Inside(start) => {
            damage.inside = damage.inside.or(poison::broken_poison(bytes, start));
        }
    }
}

/// Bytes of a block and of what lies around it that are copied together.
const WHOLE_BYTE_MAX: usize = 1_024;

/// A block that was copied whole, with what lies around it: one question to the kernel where its
/// parts would be three. Empty when the block is too large, or not readable as a whole.
struct Copied<'bytes> {
    start: Address,
    bytes: &'bytes [u8],
}

impl<'bytes> Copied<'bytes> {
    fn of(parts: impl Iterator<Item = Part> + Clone, bytes: &'bytes mut [u8]) -> Self {
        let start = parts.clone().map(|part| part.start).min();
        let start = start.unwrap_or(Address::new(0));
        let end = parts
            .map(|part| part.start.offset_by(part.byte_count))
            .max();
        let wanted = end.and_then(|end| end.get().checked_sub(start.get()));
        let bytes = wanted.and_then(|byte_count| bytes.get_mut(..byte_count));
        let read = bytes.and_then(|bytes| read(start, bytes).map(|()| &*bytes));
        Self {
            start,
            bytes: read.unwrap_or_default(),
        }
    }

    /// Reads from the copy, or from where the bytes are.
    fn read(&self, from: Address, into: &mut [u8]) -> Option<()> {
        let offset = from.get().checked_sub(self.start.get());
        let end = offset.and_then(|offset| offset.checked_add(into.len()));
        let part = offset
            .zip(end)
            .and_then(|(offset, end)| self.bytes.get(offset..end));
        match part {
            Some(part) => {
                into.copy_from_slice(part);
                Some(())
            }
            None => read(from, into),
        }
    }
}

/// Looks at the checked bytes around a guarded block whose pages are open.
///
/// # Safety
/// * `record` is of a guarded block, whose release the caller has won and whose pages it has not closed.
#[must_use]
pub unsafe fn around_guarded(record: &BlockRecord) -> Damage {
    let [before, behind] = redzone::guarded_parts(record.address, record.size);
    // SAFETY: the caller's duties.
    let before_bytes = unsafe { pattern::bytes(before) };
    // SAFETY: the caller's duties.
    let behind_bytes = unsafe { pattern::bytes(behind) };
    Damage {
        before: broken_before(before_bytes),
        behind: redzone::broken_redzone(behind_bytes, record.size),
        inside: None,
    }
}

/// What is damaged in the bytes that end where a guarded block begins.
fn broken_before(bytes: &[u8]) -> Option<Broken> {
    let [pattern, ..] = pattern::Around::word().to_ne_bytes();
    let word = disguise::worn_by(bytes, pattern);
    let word = word.as_ref().map_or(&[][..], |word| &word[..]);
    let filled_byte_count = bytes.len() - word.len();
    let intact = |position: usize| {
        let in_word = position.checked_sub(filled_byte_count);
        let byte = in_word.and_then(|position| word.get(position));
        byte.copied().unwrap_or(pattern)
    };
    let (filled, rest) = bytes.split_at(filled_byte_count);
    let in_rest = || {
        let position = rest
            .iter()
            .zip(word)
            .position(|(byte, intact)| byte != intact);
        position.map(|position| filled_byte_count + position)
    };
    let position = pattern::Around::first_damaged(filled).or_else(in_rest)?;
    let damaged = bytes.get(position..)?;
    Some(Broken {
        distance: damaged.len(),
        imprint: Imprint::of(damaged, |at| intact(position + at)),
    })
}

/// Whether the block's memory has not gone back, as far as the record says.
#[must_use]
pub fn is_held(record: &BlockRecord) -> bool {
    matches!(record.state, BlockState::Live | BlockState::Quarantined)
}

fn read(from: Address, into: &mut [u8]) -> Option<()> {
    peek(from, into).then_some(())
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::ledger::{Epoch, FamilyId, StackId, ThreadNumber};

    const SIZE: ByteCount = ByteCount::new(40);
    /// What stands in front of a chunk of 80 bytes, of which its block may use words 1 to 9.
    const CHUNK: usize = 0x51;

    fn record(words: &mut [usize; 12], state: BlockState) -> BlockRecord {
        let address = Address::of(words.as_ptr()).offset_by(size_of::<usize>());
        words[0] = CHUNK;
        let chunk = SizeWord::of(CHUNK, address, SIZE);
        // SAFETY: the array has the words of such a chunk and more, and belongs to the test.
        unsafe { redzone::arm(address, SIZE, chunk) };
        // SAFETY: as above.
        unsafe { poison::poison(address, SIZE) };
        BlockRecord {
            address,
            size: SIZE,
            state,
            family: FamilyId::MALLOC,
            allocated: StackId(1),
            released: StackId(0),
            epoch: Epoch(1),
            allocated_by: ThreadNumber(1),
            released_by: ThreadNumber(0),
            flags: flag::REDZONE | flag::POISONED | chunk.to_flags(address),
        }
    }

    fn look(state: BlockState, word: usize, value: usize) -> Damage {
        let mut words = [0; 12];
        let record = record(&mut words, state);
        std::hint::black_box(&mut words)[word] = value;
        // SAFETY: the record describes the array.
        let direct = unsafe { of_withheld(record.address, record.size, record.flags) };
        let copied = by_copy(&record).expect("readable");
        if state == BlockState::Quarantined {
            assert_eq!(direct, copied);
        }
        copied
    }

    #[test]
    fn one_byte_of_the_word_in_front_is_damaged_by_itself() {
        let mut bytes = [0xbb; 32];
        assert_eq!(broken_before(&bytes), None);
        bytes[30] = 7;
        assert_eq!(broken_before(&bytes).map(|broken| broken.distance), Some(2));
        let mut bytes = [0xbb; 32];
        bytes[24..].copy_from_slice(&0x1_1005_usize.to_ne_bytes());
        assert_eq!(broken_before(&bytes), None);
        bytes[31] = 7;
        let broken = broken_before(&bytes).expect("damage");
        assert_eq!((broken.distance, broken.imprint.bytes()), (1, &[7][..]));
        bytes[20] = 8;
        let broken = broken_before(&bytes).expect("damage");
        assert_eq!(broken.distance, 12);
        assert_eq!(broken_before(&[]), None);
    }

    #[test]
    fn an_intact_block_has_no_damage() {
        assert_eq!(look(BlockState::Live, 10, 1), Damage::default());
        assert_eq!(look(BlockState::Quarantined, 10, 1), Damage::default());
    }

    #[test]
    fn what_is_written_before_the_block_spreads() {
        let damage = look(BlockState::Live, 0, CHUNK | 1 << 56);
        assert_eq!(damage.before.map(|broken| broken.distance), Some(1));
        assert!(damage.spreads());
    }

    #[test]
    fn what_stays_inside_the_redzone_does_not_spread() {
        for (word, offset) in [(6, 40), (8, 56)] {
            let damage = look(BlockState::Live, word, 0);
            assert_eq!(damage.behind.map(|behind| behind.offset), Some(offset));
            assert!(!damage.spreads());
        }
        assert!(look(BlockState::Live, 9, 0).spreads());
    }

    #[test]
    fn what_is_written_inside_counts_only_after_the_release() {
        assert_eq!(look(BlockState::Live, 3, 0), Damage::default());
        let damage = look(BlockState::Quarantined, 3, 0);
        assert_eq!(damage.inside.map(|broken| broken.distance), Some(16));
        assert!(!damage.spreads());
    }
}
