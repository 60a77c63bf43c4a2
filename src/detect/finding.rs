//! One detected error, as plain data.

use super::imprint::{MomentKind, Written};
use super::reach::Holding;
use crate::ledger::{BlockState, FamilyId, StackId, ThreadNumber};
use crate::memory::{Address, ByteCount};

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FindingKind {
    /// A block nobody released.
    Leak,
    /// A block released twice.
    DoubleFree,
    /// A release of something that is not the start of a block.
    InvalidFree,
    /// A release by a function of another family.
    MismatchedFree,
    /// An access to a released block.
    UseAfterFree,
    /// A write or read past the end of a block.
    HeapOverflow,
    /// A write or read before the start of a block.
    HeapUnderflow,
    /// `realloc` of a block that was released before.
    ReallocAfterFree,
    /// A requested size that no block can have, usually a negative number or an overflowed product.
    SizeOverflow,
    /// A pointer cut to 32 bits by a missing `restype`.
    TruncatedPointer,
}

impl FindingKind {
    /// Every kind, in the order of their numbers in the C interface.
    pub const ALL: [Self; 10] = [
        Self::Leak,
        Self::DoubleFree,
        Self::InvalidFree,
        Self::MismatchedFree,
        Self::UseAfterFree,
        Self::HeapOverflow,
        Self::HeapUnderflow,
        Self::ReallocAfterFree,
        Self::SizeOverflow,
        Self::TruncatedPointer,
    ];

    /// The name used in reports, options and suppressions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::DoubleFree => "double-free",
            Self::InvalidFree => "invalid-free",
            Self::MismatchedFree => "mismatched-free",
            Self::UseAfterFree => "use-after-free",
            Self::HeapOverflow => "heap-overflow",
            Self::HeapUnderflow => "heap-underflow",
            Self::ReallocAfterFree => "realloc-after-free",
            Self::SizeOverflow => "size-overflow",
            Self::TruncatedPointer => "truncated-pointer",
        }
    }
}

/// What a pointer that is no recorded block points at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum PointerPlace {
    /// The start of a recorded block, or a place that was not looked up.
    #[default]
    Block,
    /// Inside a recorded block; `Finding::offset` says how far.
    Interior,
    /// On a thread's stack.
    Stack,
    /// In the code or data of a loaded image (a static or constant).
    Image,
    /// Mapped memory of which the ledger knows nothing.
    Unknown,
    /// Not mapped at all.
    Unmapped,
}

/// How memory was accessed that must not be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Access {
    /// Not seen happening, or not an access.
    #[default]
    Unknown,
    /// It was read.
    Read,
    /// It was written.
    Write,
    /// It was read, and what was read was taken for an address: the process died there.
    Followed,
}

/// What was known of the block when the error was detected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockFacts {
    /// Where it starts.
    pub address: Address,
    /// The size the program asked for.
    pub size: ByteCount,
    /// What it was doing.
    pub state: BlockState,
    /// Who may release it.
    pub family: FamilyId,
    /// Who allocated it.
    pub allocated_by: ThreadNumber,
    /// Who released it, if anybody did.
    pub released_by: ThreadNumber,
    /// Where it was allocated.
    pub allocated: StackId,
    /// Where it was released, if it was.
    pub released: StackId,
    /// Whether a foreign call returned it, or stored it through an out-parameter, to Python.
    pub handed_to_python: bool,
}

/// The block behind the one that a finding is about, when the damage lies nearer to that one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextBlock {
    /// How far the first damaged byte lies before its start.
    pub distance: ByteCount,
    /// Its size.
    pub size: ByteCount,
    /// Where it was allocated.
    pub allocated: StackId,
}

/// One detected error. Two with the same fingerprint (kind and stacks) are one, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What went wrong.
    pub kind: FindingKind,
    /// The pointer that was given, or the first wrong address.
    pub address: Address,
    /// What the pointer points at.
    pub place: PointerPlace,
    /// The block concerned, if one is known.
    pub block: Option<BlockFacts>,
    /// How far `address` lies from the start of `block`; negative before it.
    pub offset: i64,
    /// The family of the function that was called (for a mismatched release).
    pub used_family: FamilyId,
    /// The size that was asked for (for a size overflow; saturated).
    pub requested: ByteCount,
    /// Where the error was detected. Leaks have none.
    pub here: StackId,
    /// On which thread.
    pub thread: ThreadNumber,
    /// How the memory was accessed, when that was seen happening.
    pub access: Access,
    /// The views of a released block that dangle: how many, and where the first was made.
    pub views: Option<(u32, StackId)>,
    /// What was written, when that was found afterwards.
    pub written: Option<Written>,
    /// The block that an overflow may have been meant for: it may be a write before that one's start.
    pub next: Option<NextBlock>,
    /// What still holds the blocks of a leak.
    pub holding: Holding,
    /// How often it occurred. For a leak: in how many blocks.
    pub count: u64,
    /// Bytes concerned, over all occurrences. For a leak: bytes still allocated.
    pub bytes: u64,
    /// Blocks concerned, over all occurrences.
    pub blocks: u64,
    /// The number of its latest occurrence among all, so that "since" can be asked. Zero for leaks,
    /// which are computed when asked for.
    pub sequence: u64,
}

impl Finding {
    /// Whether `here` is where other memory came or went, which has nothing to do with the error: it is
    /// no part of what makes two findings the same.
    #[must_use]
    pub fn is_noticed_by_chance(&self) -> bool {
        self.written.is_some_and(|written| {
            matches!(
                written.before.kind,
                MomentKind::Eviction | MomentKind::Neighbour
            )
        })
    }
}
