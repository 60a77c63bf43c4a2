//! The small numbers a record is made of, each a type of its own.

/// The number of a stored stack (`capture` owns the table). Zero: not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct StackId(pub u32);

impl StackId {
    /// No stack is known.
    pub const UNKNOWN: Self = Self(0);

    /// Whether a stack is known.
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0 != 0
    }
}

/// The group of functions that may release a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct FamilyId(pub u16);

impl FamilyId {
    /// `malloc`, `calloc`, `realloc`, `posix_memalign` …; released by `free`.
    pub const MALLOC: Self = Self(0);
    /// `operator new`; released by `operator delete`.
    pub const NEW: Self = Self(1);
    /// `operator new[]`; released by `operator delete[]`.
    pub const NEW_ARRAY: Self = Self(2);
    /// `hl_malloc` and its kin; released by `hl_free`.
    pub const HEAPLEDGER: Self = Self(3);
    /// Adopted without saying which function releases it: any declared release will do.
    pub const ADOPTED: Self = Self(4);
    /// The first number of families that users declare with `pair`.
    pub const FIRST_DECLARED: Self = Self(16);
}

/// What a recorded block is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BlockState {
    /// In the program's hands.
    Live,
    /// Released by the program, its memory withheld from reuse.
    Quarantined,
    /// Released, and its memory given back.
    Freed,
    /// It was in the program's hands when releases were last seen, and may have gone unseen since:
    /// nobody knows what is at the address now. Looking up an address never gives one.
    Forgotten,
}

impl BlockState {
    /// Whether a record in this state stands in nobody's way: its block was released, or is
    /// forgotten.
    #[must_use]
    pub const fn is_gone(self) -> bool {
        matches!(self, Self::Freed | Self::Forgotten)
    }

    /// The name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Quarantined => "quarantined",
            Self::Freed => "freed",
            Self::Forgotten => "forgotten",
        }
    }
}

/// A stretch of time between two marks. A block allocated in epoch `e` is newer than every mark
/// below `e`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Epoch(pub u32);

/// A thread's number in the ledger, counted from 1 in the order of first use. Zero: nobody yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ThreadNumber(pub u16);

impl ThreadNumber {
    /// A thread without a number of its own: it came after 65,534 others, is being torn down, or
    /// was not seen.
    pub const OTHER: Self = Self(u16::MAX);
}
