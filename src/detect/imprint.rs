//! What a forbidden write left: the bytes that are found, and between which two moments it came.

use crate::ledger::StackId;

/// Bytes of an imprint that are kept, from the first damaged one on.
pub const FOUND_BYTE_MAX: usize = 16;

/// The bytes found where a pattern of ours was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imprint {
    bytes: [u8; FOUND_BYTE_MAX],
    length: u32,
}

impl Imprint {
    /// `found` begins with the first damaged byte; each byte should be what `intact` says of its
    /// position. What is intact behind the last damaged byte is left out.
    #[cold]
    #[must_use]
    pub fn of(found: &[u8], intact: impl Fn(usize) -> u8) -> Self {
        let is_damaged = |&(position, byte): &(usize, &u8)| *byte != intact(position);
        let last = found.iter().enumerate().rfind(is_damaged);
        let length = last.map_or(0, |(position, _)| position + 1);
        let mut bytes = [0; FOUND_BYTE_MAX];
        for (place, byte) in bytes.iter_mut().zip(found.iter().take(length)) {
            *place = *byte;
        }
        Self {
            bytes,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        }
    }

    /// The first bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let length = (self.length as usize).min(FOUND_BYTE_MAX);
        self.bytes.get(..length).unwrap_or_default()
    }

    /// From the first damaged byte to the last, as far as was looked.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }
}

/// What happened at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MomentKind {
    /// The block was allocated.
    Allocation,
    /// It was released.
    Release,
    /// It was resized.
    Resize,
    /// Everything was looked at.
    Check,
    /// The block left the quarantine.
    Eviction,
    /// The block behind it was looked at.
    Neighbour,
    /// The process ended, or the session.
    End,
}

impl MomentKind {
    /// The name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocation => "allocation",
            Self::Release => "release",
            Self::Resize => "resize",
            Self::Check => "check",
            Self::Eviction => "eviction",
            Self::Neighbour => "neighbour",
            Self::End => "end",
        }
    }
}

/// A moment at which a block was known to be intact, or found not to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// What happened.
    pub kind: MomentKind,
    /// Where; unknown where nobody called.
    pub stack: StackId,
}

/// Damage that was found later than it was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// What was found.
    pub imprint: Imprint,
    /// The last moment at which it was not there.
    pub after: Moment,
    /// When it was found.
    pub before: Moment,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_intact_behind_the_damage_is_left_out() {
        let imprint = Imprint::of(&[1, 0xdd, 2, 0xdd, 0xdd], |_| 0xdd);
        assert_eq!(imprint.bytes(), [1, 0xdd, 2]);
        assert_eq!(imprint.length(), 3);
    }

    #[test]
    fn of_a_long_one_the_first_bytes_are_kept_and_the_length() {
        let imprint = Imprint::of(&[7; 100], |_| 0xdd);
        assert_eq!(imprint.bytes(), [7; FOUND_BYTE_MAX]);
        assert_eq!(imprint.length(), 100);
    }
}
